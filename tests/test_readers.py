"""Files to values: what is typed is what is meant."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen import manifest, models, tasks
from batchgen.errors import ManifestError
from batchgen.findings import Place
from batchgen.readers import cells, jsonl, yaml
from batchgen.readers.csv import Table
from batchgen.readers.nodes import Document


def document(text: str, **environ: str) -> Document:
    found, findings = yaml.read(text, "m.yaml", environ)
    assert findings == []
    assert found is not None
    return found


def rules(text: str) -> list[str]:
    _, findings = yaml.read(text, "m.yaml", {})
    return [finding.rule for finding in findings]


def table(raw: bytes | str, encoding: str | None = None) -> Table:
    data = raw.encode() if isinstance(raw, str) else raw
    return Table(lambda: io.BytesIO(data), "t.csv", encoding)


def sheet_rules(tmp_path: Path, raw: bytes | str) -> list[str]:
    path = tmp_path / "t.csv"
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    try:
        read = manifest.load(path, environ={}, catalog=models.catalog(), live=False)
        expansion = tasks.check(read, models.catalog(), live=False)
        list(expansion)
    except ManifestError as error:
        return [finding.rule for finding in error.findings]
    return [finding.rule for finding in expansion.findings]


@pytest.mark.parametrize(
    "word",
    [
        "9:16",
        "no",
        "yes",
        "on",
        "007",
        "06:30",
        "2026-11-22",
        "1_000",
        "0x1F",
        "0o7",
        "True",
        "NO",
        ".inf",
        ".nan",
        "190:20:30",
        "e5",
        "=",
        "1.2.3",
    ],
)
def test_words_stay_what_was_typed(word: str) -> None:
    assert document(f"a: {word}").data == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_few_words_are_more_than_text(word: str, value: object) -> None:
    found = document(f"a: {word}").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_everything_keeps_its_place() -> None:
    found = document("a:\n  - b: 12\n    c: x\n")
    assert found.place(("a", 0, "b")) == Place("m.yaml", 2, 8, 10)
    assert found.place(("a", 0, "b"), key=True) == Place("m.yaml", 2, 5, 6)
    assert found.place(("a", 0, "missing")) == found.place(("a", 0))


def test_aliases_and_merges_work_and_keep_their_place() -> None:
    found = document("x: &h { a: 1, b: 2 }\ny:\n  <<: *h\n  b: 3\n")
    assert found.data["y"] == {"a": 1, "b": 3}
    assert found.place(("y", "a")).line == 1
    assert found.place(("y", "b")).line == 4


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: 1\na: 2", "duplicate-key"),
        ("a: !!python/object:os.system x", "custom-tag"),
        ("a: !x 1", "yaml-prose"),
        ("a: 1\n---\nb: 2", "yaml-documents"),
        ("a: &a [*a]", "cyclic-alias"),
        ("a: *b", "unknown-alias"),
        ("a: " + "[" * 40 + "]" * 40, "too-deep"),
        ("a:\n\tb: 1", "yaml-tab"),
        ("a: 'x\nb: 1", "yaml-quote"),
        ("a: [1,\nb: c: d", "yaml-bracket"),
        ("prompt: {{ x }} fox", "yaml-prose"),
        ("prompt: {{ x }}", "yaml-prose"),
        ("prompt: [wide] fox", "yaml-prose"),
        ("prompt: *bold* fox", "yaml-prose"),
        ("prompt: @home fox", "yaml-prose"),
        ("prompt: %5 fox", "yaml-prose"),
        ('prompt: "A" fox', "yaml-prose"),
        ("prompts:\n- Sale: the: mug", "yaml-prose"),
        ("prompt: A fox #1", "cut-by-comment"),
        ("prompts: [{ prompt: Rain, wind and snow }]", "flow-comma"),
        ("a: 1\n b: 2", "yaml-indent"),
        ("a: \x01", "yaml-character"),
        ("a: ${nope}", "unset-variable"),
        ("a: ${no pe}", "bad-variable"),
    ],
)
def test_yaml_mistakes_have_our_words(text: str, rule: str) -> None:
    assert rules(text) == [rule]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 9):
        items = ", ".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} [{items}]")
    assert rules("\n".join(lines)) == ["alias-bomb"]


@given(st.text(alphabet=" \n\t:-#[]{}&*!|>'\"%@`,?abc0$~<", max_size=60))
def test_no_text_breaks_the_yaml_reader(text: str) -> None:
    found, findings = yaml.read(text, "m.yaml", {})
    assert found is not None or findings


@given(st.text(max_size=60))
def test_no_text_breaks_the_json_reader(text: str) -> None:
    found, findings = jsonl.read(text, "m.json", {})
    assert found is not None or findings


def test_a_comment_after_other_keys_is_only_a_comment() -> None:
    assert document("name: x  # the run\nprompt: 'A #1'").data["prompt"] == "A #1"


def test_environment_variables_need_braces() -> None:
    text = 'a: ${N}\nb: "${N}"\nc: $5 off\nd: "$${N}"\ne: ${X:-7}\nf: ${N:?why}'
    assert document(text, N="60").data == {
        "a": 60,
        "b": "60",
        "c": "$5 off",
        "d": "${N}",
        "e": 7,
        "f": 60,
    }


def test_json_with_places() -> None:
    text = '{"a": [1, {"b": "\\ud83d\\ude00"}]}'
    found, findings = jsonl.read(text, "m.json", {})
    assert findings == []
    assert found is not None
    assert found.data == {"a": [1, {"b": "😀"}]}
    assert found.place(("a", 0)) == Place("m.json", 1, 8, 9)
    assert found.place(("a", 1, "b"), key=True).column == 12


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_header_decides_the_delimiter(mark: str) -> None:
    found = table(mark.join(["id", "Aspect Ratio", "x"]) + "\n" + mark.join("a,b,c"))
    assert found.delimiter == mark
    assert [column.name for column in found.columns] == ["id", "aspect_ratio", "x"]


def test_excels_first_line_is_honoured() -> None:
    found = table("sep=|\nid|a,b\nx|y\n")
    assert found.delimiter == "|"
    (row,) = found
    assert (row.line, row.cells) == (3, ["x", "y"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read(encoding: str) -> None:
    (row,) = table("id,prompt\nä,日本\n".encode(encoding))
    assert row.cells == ["ä", "日本"]


def test_another_encoding_is_named_but_never_guessed() -> None:
    raw = "id,prompt\na,hä\n".encode("cp1252")
    with pytest.raises(ManifestError) as caught:
        list(table(raw))
    (finding,) = caught.value.findings
    assert (finding.rule, finding.place.line) == ("encoding", 2)
    assert "0xe4" in finding.message
    assert "--encoding" in finding.fix
    assert next(iter(table(raw, "cp1252"))).cells == ["a", "hä"]


def test_rows_know_their_cells_through_quotes_and_line_breaks() -> None:
    found = table('id,prompt,x\n\n"a ""q""","two\nlines",z\n\n b ,\u200bc\xa0,\n')
    first, second = found
    assert first.cells == ['a "q"', "two\nlines", "z"]
    assert first.place(("x",)) == Place("t.csv", 4, 8, 9)
    assert (second.line, second.cells) == (6, ["b", "c", ""])


def test_an_open_quote_is_blamed_where_it_opened() -> None:
    with pytest.raises(ManifestError) as caught:
        list(table('id,prompt\na,ok\nb,"open\nc,d\n'))
    (finding,) = caught.value.findings
    assert (finding.rule, finding.place.line, finding.place.column) == (
        "open-quote",
        3,
        3,
    )


@pytest.mark.parametrize(
    ("cell", "ratio"),
    [
        ("9:16", "9:16"),
        ("09:16", "9:16"),
        ("09:16:00", "9:16"),
        ("9:16 AM", "9:16"),
        ("4:09 PM", "16:9"),
        ("01:01", "1:1"),
        ("9x16", "9x16"),
    ],
)
def test_a_ratio_may_have_become_a_time(cell: str, ratio: str) -> None:
    assert cells.ratio(cell) == ratio


@pytest.mark.parametrize("cell", ["16. Sep", "16-Sep", "Sep 16", "01.01.2026", "16/9"])
def test_a_ratio_that_became_a_date_is_an_error(cell: str) -> None:
    with pytest.raises(cells.CellError) as caught:
        cells.ratio(cell)
    assert caught.value.rule == "ratio-date"


@pytest.mark.parametrize(
    "word", ["true", "YES", "On", "1", "WAHR", "vrai", "VERO", "prawda"]
)
def test_yes_in_many_languages(word: str) -> None:
    assert cells.boolean(word, "sound") is True


@pytest.mark.parametrize("word", ["false", "No", "0", "FALSCH", "faux", "FAŁSZ"])
def test_no_in_many_languages(word: str) -> None:
    assert cells.boolean(word, "sound") is False


@pytest.mark.parametrize(
    ("cell", "rule", "fix"),
    [
        ("1.000", "not-number", "1000"),
        ("5s", "not-number", "5"),
        ("5,5", "not-whole", "5 or 6"),
        ("many", "not-number", ""),
        ("#N/A", "sheet-error", ""),
    ],
)
def test_numbers_that_are_none(cell: str, rule: str, fix: str) -> None:
    with pytest.raises(cells.CellError) as caught:
        cells.whole(cell, "duration")
    assert (caught.value.rule, caught.value.fix) == (rule, fix)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("a | b", ["a", "b"]), ('["a"]', ["a"]), ("a", ["a"]), ("<empty>", [])],
)
def test_lists_in_cells(cell: str, value: Any) -> None:
    assert cells.structure(cell, "array") == value


def test_decimal_comma() -> None:
    assert cells.number("0,6", "cfg_scale") == 0.6


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("id,prompt,Durration\na,x,5\n", ["unknown-key"]),
        ("id,prompt,ratio\na,x,9:16\n", ["unknown-key"]),
        ("id,prompt,campaign\na,x,spring\n", []),
        ("id,prompt,\na,x,y\n", ["blank-header"]),
        ("id,prompt,\na,x,\n", []),
        ("id,prompt,id\na,x,y\n", ["duplicate-header"]),
        ("id,prompt\na,x,y\n", ["extra-cell"]),
        ("id,prompt\na\n", ["no-prompt"]),
        ("id,prompt,aspect_ratio\na,x,16. Sep\n", ["ratio-date"]),
        ("id,prompt\na,{{ x }}\n", []),
        ("id,prompt\na,x\na,y\n", ["duplicate-id"]),
        ("id,prompt\na,x\nb,x\n", ["identical-requests"]),
        ("", ["no-header"]),
        ("id\0,prompt\n", ["encoding"]),
    ],
)
def test_rules_of_sheets(tmp_path: Path, raw: str, found: list[str]) -> None:
    assert sheet_rules(tmp_path, raw) == found


def test_equal_mistakes_of_a_column_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"r{number},fox {number},99\n" for number in range(6))
    path.write_text(f"id,prompt,duration\n{rows}", encoding="utf-8")
    read = manifest.load(path, environ={}, catalog=models.catalog(), live=False)
    expansion = tasks.check(read, models.catalog(), live=False)
    assert list(expansion) == []
    (finding,) = expansion.findings
    assert (finding.rule, finding.place.line) == ("out-of-range", 2)
    assert finding.advice == "and 5 more rows: 3, 4, 5 …"


def test_scene_columns_make_scenes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,duration,scene_1,scene_1_duration,scene_2,scene_2_duration\n"
        "a,8,Kettle,3,Sip,5\n",
        encoding="utf-8",
    )
    read = manifest.load(path, environ={}, catalog=models.catalog(), live=False)
    (task,) = tasks.expand(read, models.catalog(), live=False)
    assert task.input["multi_prompt"] == [
        {"prompt": "Kettle", "duration": 3},
        {"prompt": "Sip", "duration": 5},
    ]
