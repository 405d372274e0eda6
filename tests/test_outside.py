"""Models that are not in the catalog."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchgen import manifest, models, tasks
from batchgen.errors import ManifestError

NAME = "vendor/film-9/text-to-video"


def planned(folder: Path, text: str, name: str = "m.yaml") -> tasks.Expansion:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    found = manifest.load(path, environ={}, catalog=models.catalog(), live=True)
    expansion = tasks.check(found, models.catalog(), live=True)
    list(expansion)
    expansion.verify()
    return expansion


def made(folder: Path, text: str, name: str = "m.yaml") -> list[tasks.Task]:
    return list(planned(folder, text, name))


def test_with_a_price_its_input_passes_unchecked(tmp_path: Path) -> None:
    text = f"""
model: {NAME}
price: {{per_second: 0.1}}
prompt: A {{{{ hook }}}} fox
settings: {{duration: "7", seed: 5, resolution: {{w: 1}}, cfg_scale: 99}}
matrix: {{hook: [red, grey]}}
overrides: [{{when: {{hook: red}}, set: {{seed: 6}}}}]
"""
    first, second = made(tmp_path, text)
    common = {"duration": "7", "resolution": {"w": 1}, "cfg_scale": 99}
    assert first.input == {"prompt": "A red fox", "seed": 6, **common}
    assert second.input["seed"] == 5
    assert (first.price, first.seconds, first.model) == (700_000, 7, NAME)
    (warning,) = planned(tmp_path, text).findings
    assert (warning.severity, warning.rule) == ("warning", "unknown-model")
    assert warning.place.line == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"model: {NAME}", "unknown-model"),
        ("model: kling-4kk\nprice: {per_task: 1}", "unknown-model"),
        (f"model: {NAME}\nprice: {{per_second: 1}}", "no-price"),
    ],
)
def test_without_a_price_or_a_full_id_it_does_not(
    tmp_path: Path, text: str, rule: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(tmp_path, f"{text}\nprompts: [A fox]")
    errors = [one for one in caught.value.findings if one.severity == "error"]
    assert [one.rule for one in errors] == [rule]


def test_its_tasks_are_a_manifest_of_the_same_tasks(tmp_path: Path) -> None:
    text = f"model: {NAME}\nprice: {{per_task: 0.05}}\nprompts: [{{prompt: A, s: 7}}]"
    first = made(tmp_path, text)
    lines = [json.dumps(tasks.to_json(task)) for task in first]
    again = made(tmp_path, "\n".join(lines), "m.jsonl")
    told = [(task.id, task.slug, task.input, task.price) for task in first]
    assert [(task.id, task.slug, task.input, task.price) for task in again] == told
    assert told[0][3] == 50_000
    line: dict[str, Any] = json.loads(lines[0])
    del line["price"]
    with pytest.raises(ManifestError):
        made(tmp_path, json.dumps(line), "m.jsonl")


def test_a_sheet_gives_it_the_fields_that_batchgen_knows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("prompt,duration,look\nA fox,20,grey\n")
    text = f"model: {NAME}\nprice: {{per_second: 1}}\nprompts: {{from: t.csv}}"
    (task,) = made(tmp_path, text)
    assert task.input == {"prompt": "A fox", "duration": 20}
    assert (task.labels, task.price) == ({"look": "grey"}, 20_000_000)


def test_a_price_replaces_the_catalogs(tmp_path: Path) -> None:
    (task,) = made(tmp_path, "price: {per_second: 0.5}\nprompts: [A fox]")
    assert task.price == 2_500_000
    (task,) = made(tmp_path, "price: {per_task: 0.05}\nprompts: [A fox]")
    assert task.price == 50_000
