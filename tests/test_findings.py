"""Messages, drawn as people see them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import goldens
import pytest

import batchgen
from batchgen.findings import Finding, Place, as_json, render

THIRTY = """\
version: 2 #!
name: Spring Launch #!
description: 5 #!
budget: 60 USD #!
price: { per_second: -1 } #!
prompt: "A mug, {{ hook }}"
takes: 99 #!
concurrency: 5001 #!
rate: 5/day #!
reads: fast #!
retry: { attempts: 2, backoff: 10 } #!
uncertain: forget #!
promts: [] #!
labels: { week: [1] } #!
vars:
  slug: a #!
  look: [1] #!
settings:
  durration: 5 #!
  cfg_scale: 5 #!
  duration: 4.5 #!
  sound: "yes" #!
  aspect_ratio: 4:5 #!
  seed: 5 #!
  extra: { sound: true } #!
  multi_prompt: [{ prompt: a, x: 5 }] #!
  sound: true #!
matrix:
  hook: [] #!
  take: [1] #!
  product: { from: nothing.csv } #!
overrides:
  - { when: {}, set: { sound: true } } #!
  - { when: { hook: steam }, set: { sond: true } } #!
output: { ascii: 1 } #!
"""
CODE = Path(batchgen.__file__).parent
# Which argument of a call names the rule.
NAMES_A_RULE = {
    "Finding": 1,
    "Mistake": 1,
    "error": 0,
    "BadImage": 0,
    "CellError": 0,
    "TemplateFault": 0,
    "PydanticCustomError": 0,
    "_stop": 1,
    "_wrong": 0,
    "_stop_prose": 1,
    "fail": 2,
}
LANGUAGE = """
findings keys scalars wording inspection manifest tables matching variants axes rows
inclusion outside pictures drafts variables templates rendering clashes tasks
names spelling pictures elements images
"""


def rules_in(file: Path) -> Iterator[str]:
    """Every rule that a file of the language names where it complains."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            place = NAMES_A_RULE.get(name, 99)
            for argument in node.args[place : place + 1]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)


def all_rules() -> set[str]:
    files = [CODE / f"{name}.py" for name in LANGUAGE.split()]
    files += [*CODE.glob("readers/*.py"), *CODE.glob("models/*.py")]
    return {rule for file in files for rule in rules_in(file)}


@pytest.mark.parametrize("kind", ["samples", "rules"])
def test_every_golden_text_is_what_is_said(tmp_path: Path, kind: str) -> None:
    wrong = {}
    for path in goldens.goldens(kind):
        text = path.read_text(encoding="utf-8")
        folder = tmp_path / path.stem
        folder.mkdir()
        said = goldens.drawn_in(folder, text)
        if said != goldens.expected(text):
            wrong[path.stem] = said
    assert wrong == {}


def test_every_rule_has_a_golden_text_and_every_golden_text_a_rule() -> None:
    assert {path.stem for path in goldens.goldens("rules")} == all_rules()
    assert len(all_rules()) > 60


def test_every_golden_text_shows_its_rule() -> None:
    silent = [
        path.stem
        for path in goldens.goldens("rules")
        if f"[{path.stem}]" not in path.read_text(encoding="utf-8")
    ]
    assert silent == ["spreadsheet"]  # a note; those have no rule in brackets


def test_thirty_mistakes_are_thirty_findings(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(THIRTY, encoding="utf-8")
    findings, _ = goldens.found_in(path)
    assert [item.place.line for item in findings] == sorted(
        item.place.line for item in findings
    )
    assert len(findings) == len({item.place for item in findings}) == 30
    lines = {
        number for number, line in enumerate(THIRTY.splitlines(), 1) if "#!" in line
    }
    assert {item.place.line for item in findings} == lines
    text = render(findings, {})
    assert "and 10 more\n\n30 errors. Nothing was submitted" in text


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
