"""Messages, drawn as people see them."""

# ruff: noqa: E501 - the samples are as wide as they are printed

from pathlib import Path
from textwrap import dedent

import pytest

from batchgen import manifest, models, readers, tasks
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Place, as_json, render

HEAD = "name: spring-launch\nbudget: 60\nprompt: '{{ locale }} {{ hook }}'\n"
MATRIX = "matrix:\n  locale: [en-US, de-DE]\n  hook: [steam, unbox]\n"

SAMPLES = {
    "several slips": (
        """\
        name: spring-launch
        budget: 60 USD
        settings:
          durration: 5
          cfg_scale: 5
        prompt: A mug



        matrix:
          aspect_ratio: [9:16, 4:5]
        """,
        """\
        m.yaml:2:9: error: budget must be a number of US dollars [bad-money]
            1 | name: spring-launch
            2 | budget: 60 USD
              |         ^^^^^^
          fix: budget: 60

        m.yaml:4:3: error: unknown setting `durration` [unknown-key]
            3 | settings:
            4 |   durration: 5
              |   ^^^^^^^^^ did you mean `duration`?

        m.yaml:5:14: error: cfg_scale is 5, but it runs from 0 to 1 [out-of-range]
            4 |   durration: 5
            5 |   cfg_scale: 5
              |              ^ did you mean 0.5?

        m.yaml:11:24: error: Kling V3.0 4K has no aspect ratio 4:5 [not-allowed]
           10 | matrix:
           11 |   aspect_ratio: [9:16, 4:5]
              |                        ^^^ choose 16:9, 9:16 or 1:1

        4 errors. Nothing was submitted, nothing was charged.""",
    ),
    "a key given twice": (
        HEAD
        + MATRIX
        + "#\n" * 10
        + "overrides:\n  - when: { hook: unbox }\n"
        + "    set: { negative_prompt: blur }\n    set: { duration: 4 }\n",
        """\
        m.yaml:20:5: error: `set` appears twice in this rule [duplicate-key]
           19 |     set: { negative_prompt: blur }
           20 |     set: { duration: 4 }
              |     ^^^ first one is on line 19; plain YAML would quietly drop it
          fix: set: { negative_prompt: blur, duration: 4 }

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "a rule that does nothing": (
        HEAD + MATRIX + "exclude:\n  - { locale: de-AT, hook: unbox }\n",
        """\
        m.yaml:8:15: error: no task has locale `de-AT`, so this rule does nothing [matches-nothing]
            7 | exclude:
            8 |   - { locale: de-AT, hook: unbox }
              |               ^^^^^ this matrix has en-US and de-DE

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "prose that YAML misreads": (
        "name: spring-launch\nprompt: Weekend sale: the mug that keeps its cool\n",
        """\
        m.yaml:2:21: error: YAML reads a colon followed by a space as a new key [yaml-prose]
            1 | name: spring-launch
            2 | prompt: Weekend sale: the mug that keeps its cool
              |                     ^
          fix: put prose under `>-`, where no character is special
                 prompt: >-
                   Weekend sale: the mug that keeps its cool

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "half a prompt": (
        "prompts:\n  - Rain on glass, take #3 of the window, slow push in\n",
        """\
        m.yaml:2:25: error: YAML treats ` #` as a comment, so this prompt ends at "take" [cut-by-comment]
            1 | prompts:
            2 |   - Rain on glass, take #3 of the window, slow push in
              |                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this half would never reach the model
          fix: quote the line, or write the prompt under `>-`

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "a template name that is not there": (
        ("name: x\nmatrix:\n  hook: [steam, unbox]\n"
        'prompt: "{{ hook.scene }}, slow dolly in"\n'),
        """\
        m.yaml:4:13: error: `hook` is plain text here, so it has no `scene` [undefined-variable]
            3 |   hook: [steam, unbox]
            4 | prompt: "{{ hook.scene }}, slow dolly in"
              |             ^^^^^^^^^^ use {{ hook }}, or give every hook a scene
          the hooks are on line 3:  hook: [steam, unbox]
          e.g.  - { id: steam, scene: … }

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "paying twice for one idea": (
        ("name: x\nprompt: A {{ hook }}\nmatrix:\n  hook: [cup, mug]\n"
        "  aspect_ratio: [9:16, 1:1]\n  locale: [en-US, de-DE]\n"),
        """\
        m.yaml:6:3: error: 2 locales, one and the same request [identical-requests]
            5 |   aspect_ratio: [9:16, 1:1]
            6 |   locale: [en-US, de-DE]
              |   ^^^^^^ `locale` is never used
          4 requests would each be bought twice: $8.40 for nothing new
          use {{ locale }} in the prompt, remove the axis, or say `takes: 2` if you want two

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "files that would overwrite each other": (
        ('name: x\nprompt: "{{ hook }} {{ locale }}"\nmatrix:\n  hook: [steam]\n'
        "  aspect_ratio: [9:16, 1:1]\n  locale: [en-US, de-DE]\n\n"
        'output: "{{ hook }}.mp4"\n'),
        """\
        m.yaml:8:9: error: 4 tasks would be saved as steam.mp4 [name-clash]
            8 | output: "{{ hook }}.mp4"
              |         ^^^^^^^^^^^^^^^^
          steam_9x16_en-US, steam_9x16_de-DE and 2 more
          fix: output: "{{ hook }}/{{ slug }}.mp4"

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "scenes that do not add up": (
        ("prompts:\n  -\n    id: a\n    multi_prompt:\n"
        "      - { prompt: a, duration: 3 }\n      - { prompt: b, duration: 4 }\n"),
        """\
        m.yaml:4:5: error: scenes add up to 7 s, but duration is 5 [scene-length]
            3 |     id: a
            4 |     multi_prompt:
              |     ^^^^^^^^^^^^ 3 + 4
          fix: duration: 7, or shorten a scene. Scene lengths are optional: drop them to let the model cut.

        1 error. Nothing was submitted, nothing was charged.""",
    ),
    "environment": (
        'prompts: [a]\ndescription: "${SLACK_URL}"\n',
        """\
        m.yaml:2:15: error: environment variable SLACK_URL is not set [unset-variable]
            1 | prompts: [a]
            2 | description: "${SLACK_URL}"
              |               ^^^^^^^^^^^^
          set it, give a default with ${SLACK_URL:-…}, or write $${ for a literal ${

        1 error. Nothing was submitted, nothing was charged.""",
    ),
}  # fmt: skip

SHEET = """\
id;Prompt;Duration;Aspect Ratio;Element List
mug-de;Die Tasse dampft;5;09:16;
mug-fr;La tasse fume près de la fenêtre;4,5;16:9;
mug-es;La taza humea; cámara lenta;5;1:1;
mug-it;#REF!;5;1:1;
mug-nl;De mok dampt;5;1:1;[“829301”]
"""
SHEET_DRAWN = """\
briefs.csv:3:41: error: duration is whole seconds, got 4,5 [not-whole]
    3 | mug-fr;La tasse fume près de la fenêtre;4,5;16:9;
      |                                         ^^^ column Duration, id mug-fr
  fix: 4 or 5

briefs.csv:4:8: error: this row has 6 cells, the header has 5 [extra-cell]
    4 | mug-es;La taza humea; cámara lenta;5;1:1;
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^ the `;` inside the prompt split it
  fix: put the prompt in double quotes, or re-save from the spreadsheet app, which does it for you

briefs.csv:5:8: error: a broken spreadsheet formula was saved as the prompt [sheet-error]
    5 | mug-it;#REF!;5;1:1;
      |        ^^^^^ column Prompt, id mug-it

briefs.csv:6:27: error: not JSON: the sheet turned straight quotes into curly ones [bad-json]
    6 | mug-nl;De mok dampt;5;1:1;[“829301”]
      |                           ^^^^^^^^^^ column Element List, id mug-nl
  fix: ["829301"]   or simply   829301

note: read `;` as the delimiter and 09:16 in row 2 as 9:16 (spreadsheets turn ratios into times).
4 errors in 5 rows. Nothing was submitted, nothing was charged."""


def drawn(path: Path) -> str:
    """Everything wrong with a manifest, as `validate` prints it."""
    rows = None
    try:
        read = manifest.load(path, environ={}, catalog=models.catalog(), live=True)
        expansion = tasks.check(read, models.catalog(), live=True)
        list(expansion)
        findings, rows = expansion.findings, expansion.rows
    except ManifestError as error:
        findings = list(error.findings)
    return render(findings, readers.sources(findings), rows=rows)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    text, expected = SAMPLES[name]
    Path("m.yaml").write_text(dedent(text), encoding="utf-8")
    assert drawn(Path("m.yaml")) == dedent(expected)


def test_a_spreadsheet_on_a_monday(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("briefs.csv").write_text(SHEET, encoding="utf-8")
    assert drawn(Path("briefs.csv")) == SHEET_DRAWN


def test_the_caret_knows_wide_letters() -> None:
    finding = Finding(Place("a.yaml", 1, 4, 6), "rule", "no", "here")
    assert render([finding], {"a.yaml": "a: 日本語"}).splitlines()[1:3] == [
        "    1 | a: 日本語",
        "      |    ^^^^ here",
    ]


def test_after_twenty_findings_there_is_a_count() -> None:
    findings = [Finding(Place("a", line, 1, 2), "rule", "no") for line in range(1, 24)]
    text = render(findings, {})
    assert "a:20:1" in text
    assert "a:21:1" not in text
    assert "and 3 more\n\n23 errors. " in text


def test_warnings_alone_promise_nothing() -> None:
    finding = Finding(Place("a", 1, 1, 2), "rule", "hm", severity="warning")
    assert render([finding], {}) == "a:1:1: warning: hm [rule]"


def test_a_terminal_is_not_obeyed() -> None:
    finding = Finding(Place("a", 1, 1, 2), "rule", "no \x1b[31m\u202e")
    text = render([finding], {"a": "\x1b]0;x\x07"})
    assert not any(letter in text for letter in "\x1b\x07\u202e")


def test_a_long_line_is_shown_around_its_mistake() -> None:
    line = "x" * 500 + "!" + "y" * 500
    text = render([Finding(Place("a", 1, 501, 502), "rule", "no")], {"a": line})
    shown, caret = text.splitlines()[1:3]
    assert shown[caret.index("^")] == "!"
    assert len(shown) < 200


def test_findings_as_data() -> None:
    place = Place("a.yaml", 1, 2, 3)
    finding = Finding(place, "rule", "no", "label", "fix", path=("a", 0))
    assert as_json(finding) == {
        "rule": "rule",
        "severity": "error",
        "file": "a.yaml",
        "line": 1,
        "column": 2,
        "end_column": 3,
        "message": "no",
        "label": "label",
        "fix": "fix",
        "path": ["a", 0],
    }
