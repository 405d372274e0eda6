"""The keys of a manifest, and what is said when they are wrong."""

from pathlib import Path
from typing import Any, get_args

import goldens
import pytest
from pydantic_core._pydantic_core import list_all_errors
from pydantic_core.core_schema import ErrorType

from batchgen import manifest, models, wording
from batchgen.errors import ManifestError
from batchgen.manifest import Manifest, Rate, Retry


def load(folder: Path, text: str, name: str = "m.yaml", **environ: str) -> Manifest:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return manifest.load(path, environ=environ, catalog=models.catalog(), live=True)


def rules(folder: Path, text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load(folder, text)
    return [finding.rule for finding in caught.value.findings]


def test_what_others_rely_on(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
name: nightly
model: kling-4k
prompts: [A fox]
budget: {total: 12.5}
concurrency: 60
rate: 60/min
reads: 5/s
retry: {attempts: 3, backoff: 10s, max_backoff: 5m}
uncertain: rebuy-absent
""",
    )
    assert (found.name, found.model) == ("nightly", models.DEFAULT_MODEL)
    assert (found.budget, found.concurrency) == (12_500_000, 60)
    assert (found.rate, found.reads) == (Rate(60, 60.0), Rate(5, 1.0))
    assert found.retry == Retry(attempts=3, backoff=10.0, max_backoff=300.0)
    assert found.uncertain == "rebuy-absent"
    assert len(found.digest) == 64


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, "prompts: [A fox]", "Frühling 2027.yaml")
    assert (found.name, found.budget, found.rate) == ("fruhling-2027", None, None)
    assert (found.retry.attempts, found.retry.backoff) == (1, 5.0)
    assert found.retry.max_backoff == 300.0
    assert found.uncertain == "hold"


def test_json_is_the_same_document(tmp_path: Path) -> None:
    found = load(tmp_path, '{"prompts": ["A fox"], "budget": 5}', "m.json")
    assert found.budget == 5_000_000


def test_variables_come_from_the_environment_that_is_passed(tmp_path: Path) -> None:
    assert load(tmp_path, "prompts: [a]\nbudget: ${CAP}", CAP="7").budget == 7_000_000


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("version: 2", "newer-version"),
        ("version: one", "not-allowed"),
        ("name: Spring Launch", "bad-name"),
        ("name: [a]", "wrong-type"),
        ("description: 5", "wrong-type"),
        ("model: kling", "unknown-model"),
        ("price: 5", "wrong-type"),
        ("price: {per_second: -1}", "bad-money"),
        ("price: {per_minute: 1}", "unknown-key"),
        ("prompt: Another", "two-sources"),
        ("settings: 5", "wrong-type"),
        ("settings: {durration: 5}", "unknown-key"),
        ("settings: {duration: 5s}", "wrong-type"),
        ("vars: {a: [1]}", "wrong-type"),
        ("vars: {slug: a}", "name-taken"),
        ("vars: {a: 1}\nmatrix: {a: [1]}", "name-taken"),
        ("matrix: {a: []}", "empty-axis"),
        ("matrix: {a: x}", "wrong-type"),
        ("matrix: {slug: [x]}", "name-taken"),
        ("matrix: {a: [{b: 1}]}", "missing-key"),
        ("matrix: {a: [[1]]}", "wrong-type"),
        ("matrix: {aspect_ratio: [4:5]}", "not-allowed"),
        ("matrix: {a: {from: nothing.csv}}", "no-file"),
        ("matrix: {a: [{id: x, set: {sound: 1}}]}", "wrong-type"),
        (
            "matrix: {sound: [true], a: [{id: x, set: {sound: true}}]}",
            "two-axes",
        ),
        ("exclude: {a: 1}", "wrong-type"),
        ("exclude: [{a: {b: 1}}]", "wrong-type"),
        ("overrides: [{when: {a: 1}}]", "missing-key"),
        ("overrides: [{when: {}, set: {sound: true}}]", "empty-rule"),
        ("overrides: [{when: {a: 1}, set: {}}]", "empty-rule"),
        ("overrides: [{when: {a: 1}, set: {sond: true}}]", "unknown-key"),
        ("include: [{id: a, prompt: b, takes: 99}]", "out-of-range"),
        ("include: [5]", "wrong-type"),
        ("takes: 0", "out-of-range"),
        ("takes: 2.5", "not-whole"),
        ("labels: {a: [1]}", "wrong-type"),
        ("budget: 60 USD", "bad-money"),
        ("budget: 0", "bad-money"),
        ("budget: true", "bad-money"),
        ("budget: {total: x}", "bad-money"),
        ("budget: {session: 1}", "missing-key"),
        ("budget: {total: 5, session: x}", "bad-money"),
        ("concurrency: 5001", "out-of-range"),
        ("concurrency: many", "wrong-type"),
        ("rate: 5", "bad-rate"),
        ("rate: 5/day", "bad-rate"),
        ("reads: fast", "bad-rate"),
        ("retry: 0", "out-of-range"),
        ("retry: {backoff: 10}", "bad-duration"),
        ("uncertain: forget", "not-allowed"),
        ("output: 5", "wrong-type"),
        ("output: {ascii: 1}", "wrong-type"),
        ("output: {flagged: x}", "not-allowed"),
        ("output: {sidecar: 1}", "wrong-type"),
        ("output: {store: /mnt/clips}", "bad-store"),
        ("output: {store: ftp://bucket/here}", "bad-store"),
        ("output: {store: s3://key:secret@bucket/here}", "bad-store"),
        ("output: {store: s3://bucket/here?region=x}", "bad-store"),
        ("output: {store: s3://Bucket/here}", "bad-store"),
        ("output: {store: s3://bucket/a/../b}", "bad-store"),
        ("output: {store: s3://}", "bad-store"),
        ("output: {store: 5}", "bad-store"),
        ("output: {links: 7d}", "missing-key"),
        ("output: {store: s3://bucket/here, links: 8d}", "bad-links"),
        ("output: {store: s3://bucket/here, links: 90}", "bad-links"),
        ("output: {store: s3://bucket/here, links: http://x.com}", "bad-links"),
        ("elements: {Mug: 8293.5}", "wrong-type"),
        ("elements: {Mug: {image: a.jpg}}", "missing-key"),
        ("elements: {Mug: {image: a.jpg, description: b, ref: []}}", "unknown-key"),
        ("elements: {AMugWithAVeryLongName: '1'}", "too-long"),
        ("elements: {Mug: {image: a.jpg, description: ''}}", "empty-text"),
        ("tier: platinum", "not-allowed"),
        ("deadline: 25:00", "bad-time"),
        ("deadline: 06:30 Europe/Berlim", "bad-time"),
        ("deadline: 2026-11-23T06:30:00", "bad-time"),
        ("deadline: 8", "bad-time"),
        ("task_timeout: 45", "bad-duration"),
        ("task_timeout: 0s", "bad-duration"),
        ("stop_after_failures: -1", "out-of-range"),
        ("notify: [{on: [done]}]", "missing-key"),
        ("notify: [{on: [dnoe], command: [a]}]", "not-allowed"),
        ("notify: [{on: [], command: [a]}]", "empty-rule"),
        ("notify: [{on: [done], webhook: 'http://a.example'}]", "bad-url"),
        (
            "notify: [{on: [done], webhook: 'https://a.example', command: [a]}]",
            "not-together",
        ),
        ("price: {}", "missing-key"),
        ("price: {per_second: 1, per_task: 1}", "not-together"),
        ("promts: []", "unknown-key"),
        ("prompts: []", "duplicate-key"),
    ],
)
def test_rules_of_keys(tmp_path: Path, text: str, rule: str) -> None:
    assert rules(tmp_path, f"prompts: [A fox]\n{text}\n") == [rule]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "no-prompts"),
        ("[]", "wrong-type"),
        ("prompts: []", "no-prompts"),
        ("prompts: [5]", "wrong-type"),
        ("prompts: [{prompt: a, foo: 1}]", "unknown-key"),
        ("prompts:\n- Sale: the mug", "yaml-prose"),
        ("matrix: {a: [1]}", "no-prompts"),
    ],
)
def test_rules_of_prompts(tmp_path: Path, text: str, rule: str) -> None:
    assert rules(tmp_path, text) == [rule]


def test_a_file_is_looked_for_although_its_keys_are_wrong(tmp_path: Path) -> None:
    text = "prompts: [A]\nmatrix: {a: {from: nothing.csv, key: b}}"
    assert rules(tmp_path, text) == ["no-file", "unknown-key"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prompt: a: b\nprompts: { from: t.csv }", ["yaml-prose"]),
        ("prompt: a: b\nprompts:\n  from: t.csv\n", ["yaml-prose"]),
        ("budget: x\nprompts: { from: t.csv }", ["bad-money"]),
        ("budget: x\nprompts: { from: t.csv, key: a }", ["bad-money", "unknown-key"]),
        ("model: nothing\nbudget: x\nprompts: { from: 5 }", None),
    ],
)
def test_sheets_of_a_broken_manifest_are_checked(
    tmp_path: Path, text: str, found: list[str] | None
) -> None:
    raw = "id,prompt,duration\na,Fox,5\nb,Fox,99\nc,,4,5\n"
    (tmp_path / "t.csv").write_text(raw, encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text)
    there = [finding.rule for finding in caught.value.findings]
    places = {finding.place.line for finding in caught.value.findings}
    if found is None:
        assert {"unknown-model", "bad-money", "wrong-type"} == {*there}
    else:
        assert there == [*found, "out-of-range", "extra-cell"]
        assert places >= {3, 4}


LONG = "x" * 81


@pytest.mark.parametrize(
    "text",
    [
        f"prompts: [{{id: {LONG}, prompt: a}}]",
        "prompts: [{id: '', prompt: a}]",
        "prompts: [{id: '...', prompt: a}]",
        f"prompts: [a]\ninclude: [{{id: {LONG}, prompt: a}}]",
        f"prompt: a\nmatrix: {{x: [{LONG}]}}",
        f"prompt: a\nmatrix: {{x: [{{id: {LONG}}}]}}",
    ],
)
def test_an_id_has_one_to_eighty_characters(tmp_path: Path, text: str) -> None:
    assert rules(tmp_path, text) == ["bad-id"]


def test_x_keys_are_ignored(tmp_path: Path) -> None:
    assert load(tmp_path, "prompts: [A fox]\nx-anything: {a: [1]}").warnings == ()


def test_a_missing_file_and_an_unknown_ending(tmp_path: Path) -> None:
    for name, rule in (("no.yaml", "no-file"), ("no.txt", "format")):
        path = tmp_path / name
        with pytest.raises(ManifestError) as caught:
            manifest.load(path, environ={}, catalog=models.catalog(), live=True)
        assert [finding.rule for finding in caught.value.findings] == [rule]


def test_every_wording_is_for_an_error_that_exists() -> None:
    kinds = {*get_args(ErrorType)}
    assert {*wording.WORDS} <= kinds
    assert {*wording.FAMILIES} <= {kind.split("_")[0] for kind in kinds}


@pytest.mark.parametrize("error", list_all_errors(), ids=lambda error: error["type"])
def test_every_error_of_pydantic_has_a_rule_and_words_of_ours(
    error: dict[str, Any],
) -> None:
    assert wording.word_of(error["type"]) is not None
    theirs = error["example_message_python"]
    detail = {"type": error["type"], "msg": theirs, "input": "x"}
    detail["ctx"] = error["example_context"]
    mistake, _ = wording.mistake_of(detail, ("settings", "here"))
    assert mistake.rule in {path.stem for path in goldens.goldens("rules")}
    assert mistake.message != theirs


def test_mistakes_of_one_place_are_told_in_the_order_of_the_keys(
    tmp_path: Path,
) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, "prompts: [A fox]\nelements: {Mug: {}}\n")
    told = [finding.message for finding in caught.value.findings]
    assert told == ["`image` is missing here", "`description` is missing here"]
