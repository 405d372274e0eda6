"""What must not change a task's identity, and what must."""

import csv
import io
import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen import manifest, models, tasks

KLING = models.catalog()[models.DEFAULT_MODEL]
FEW = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

LETTERS = st.sampled_from(string.ascii_letters + "äß茶日本é ,;:|\"'#-")
TEXTS = st.text(LETTERS, min_size=1, max_size=30).filter(
    lambda text: text.strip() == text and not text.startswith("#")
)
FIELDS = {
    "negative_prompt": TEXTS,
    "duration": st.integers(3, 15),
    "aspect_ratio": st.sampled_from(["16:9", "9:16", "1:1"]),
    "cfg_scale": st.sampled_from([0, 0.25, 0.5, 0.75, 1]),
    "sound": st.booleans(),
}
REQUESTS = st.lists(
    st.fixed_dictionaries({"prompt": TEXTS}, optional=FIELDS),
    min_size=1,
    max_size=4,
    unique_by=lambda fields: fields["prompt"],
)
DEFAULTS = {
    "duration": 5,
    "aspect_ratio": "16:9",
    "cfg_scale": 0.5,
    "sound": False,
    "negative_prompt": "",
}

# The same sheet, as eight programs would save it.
ROWS = [
    ["id", "prompt", "duration", "Aspect Ratio", "sound"],
    ["mug-de", "Die Tasse dampft, früh; am | Fenster", "5", "9:16", "true"],
    ["mug-ja", '静かな朝の「湯気」 "still"', "7", "1:1", ""],
    ["mug-fr", "La tasse fume\nprès de la fenêtre", "", "16:9", "false"],
]


def hashes(folder: Path, text: str | bytes, name: str = "m.yaml") -> dict[str, str]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    catalog = models.catalog()
    read = manifest.load(path, environ={}, catalog=catalog, live=False)
    return {task.slug: task.id for task in tasks.expand(read, catalog, live=False)}


def sheet(mark: str = ",", end: str = "\n", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark, lineterminator=end, quoting=quoting).writerows(
        ROWS
    )
    return text.getvalue()


def prompts(requests: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    rows = [{"id": f"r{index}", **row} for index, row in enumerate(requests)]
    return {"prompts": rows, **more}


def dumped(document: Mapping[str, Any], **style: Any) -> str:
    return str(yaml.safe_dump(document, allow_unicode=True, **style))


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [reversed_keys(inner) for inner in value]
    return value


@pytest.mark.parametrize(
    "raw",
    [
        sheet().encode(),
        sheet().encode("utf-8-sig"),
        b"\xff\xfe" + sheet("\t").encode("utf-16-le"),
        b"\xfe\xff" + sheet(";").encode("utf-16-be"),
        sheet(";").encode(),
        sheet("\t").encode(),
        sheet("|").encode(),
        ("sep=;\n" + sheet(";")).encode(),
        ("sep=|\r\n" + sheet("|", "\r\n")).encode("utf-8-sig"),
        sheet(",", "\r\n").encode(),
        sheet(",", "\n", csv.QUOTE_ALL).encode(),
    ],
)
def test_one_sheet_has_the_same_hashes_in_every_dialect(
    tmp_path: Path, raw: bytes
) -> None:
    rows = [dict(zip(ROWS[0], row, strict=True)) for row in ROWS[1:]]
    expected = {
        row["id"]: KLING.identity(
            {
                "prompt": row["prompt"],
                "duration": int(row["duration"] or 5),
                "aspect_ratio": row["Aspect Ratio"],
                "sound": row["sound"] == "true",
            }
        )
        for row in rows
    }
    assert hashes(tmp_path, raw, "t.csv") == expected


@FEW
@given(REQUESTS)
def test_the_order_of_keys_and_their_style_change_no_hash(
    tmp_path: Path, requests: list[dict[str, Any]]
) -> None:
    document = prompts(requests, budget=5, name="spring")
    first = hashes(tmp_path, dumped(document, sort_keys=False))
    turned = reversed_keys(document)
    for style in (
        {"sort_keys": False},
        {"default_flow_style": True, "width": 9999},
        {"default_style": None, "indent": 7, "width": 20},
    ):
        assert hashes(tmp_path, dumped(turned, **style)) == first
    assert hashes(tmp_path, json.dumps(turned), "m.json") == first


@FEW
@given(REQUESTS)
def test_quotes_change_no_hash_of_text(
    tmp_path: Path, requests: list[dict[str, Any]]
) -> None:
    texts = [{"prompt": row["prompt"]} for row in requests]
    first = hashes(tmp_path, dumped(prompts(texts)))
    for style in ("'", '"', "|", ">"):
        assert hashes(tmp_path, dumped(prompts(texts), default_style=style)) == first


@FEW
@given(REQUESTS)
def test_defaults_that_are_written_out_change_no_hash(
    tmp_path: Path, requests: list[dict[str, Any]]
) -> None:
    plain = hashes(tmp_path, dumped(prompts(requests)))
    whole = [{**DEFAULTS, **row} for row in requests]
    assert hashes(tmp_path, dumped(prompts(whole))) == plain
    assert hashes(tmp_path, dumped(prompts(requests, settings=DEFAULTS))) == plain


@FEW
@given(REQUESTS)
def test_yaml_sheets_and_lines_say_the_same(
    tmp_path: Path, requests: list[dict[str, Any]]
) -> None:
    document = prompts(requests)
    first = hashes(tmp_path, dumped(document))
    names = ["id", "prompt", *FIELDS]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names[::-1], delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(document["prompts"])
    assert hashes(tmp_path, text.getvalue(), "t.csv") == first
    lines = "\n".join(json.dumps(row) for row in document["prompts"])
    assert hashes(tmp_path, lines, "t.jsonl") == first


@FEW
@given(REQUESTS, st.data())
def test_a_changed_value_changes_exactly_the_hash_it_touches(
    tmp_path: Path, requests: list[dict[str, Any]], data: st.DataObject
) -> None:
    before = hashes(tmp_path, dumped(prompts(requests)))
    index = data.draw(st.integers(0, len(requests) - 1))
    field = data.draw(st.sampled_from([*FIELDS, "prompt"]))
    value = data.draw(
        {**FIELDS, "prompt": TEXTS.map(lambda text: f"new {text}")}[field]
    )
    changed = [dict(row) for row in requests]
    changed[index][field] = value
    after = hashes(tmp_path, dumped(prompts(changed)))
    was = requests[index].get(field, DEFAULTS.get(field))
    touched = {name for name in before if before[name] != after[name]}
    assert touched == ({f"r{index}"} if value != was else set())


@FEW
@given(st.integers(3, 15), st.integers(3, 15))
def test_a_changed_setting_changes_exactly_those_who_do_not_set_it(
    tmp_path: Path, one: int, other: int
) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "a"},
        {"prompt": "b", "duration": 9},
        {"prompt": "c"},
    ]
    first = hashes(tmp_path, dumped(prompts(rows, settings={"duration": one})))
    second = hashes(tmp_path, dumped(prompts(rows, settings={"duration": other})))
    touched = {name for name in first if first[name] != second[name]}
    assert touched == ({"r0", "r2"} if one != other else set())
