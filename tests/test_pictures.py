"""Pictures of a request, as a manifest names them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from batchgen import manifest, models, report, tasks
from batchgen.tasks import Expansion, Task, to_json
from conftest import Story

FEW = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
START = "model: kling-4k-i2v\n"


def picture(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (400, 300), (shade, 120, 60)).save(path)
    return path


def walked(folder: Path, text: str, name: str = "m.yaml") -> tuple[Expansion, Any]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    found = manifest.load(path, environ={}, catalog=models.catalog(), live=True)
    expansion = tasks.check(found, models.catalog(), live=True)
    return expansion, list(expansion)


def made(folder: Path, text: str, name: str = "m.yaml") -> list[Task]:
    expansion, found = walked(folder, text, name)
    expansion.verify()
    return [*expansion.elements, *found]


def said(folder: Path, image: str, key: str = "image") -> list[tuple[str, int]]:
    first = "" if key == "image" else "image: https://a.example/a.jpg, "
    text = f"{START}prompts: [{{{first}{key}: '{image}', prompt: A fox}}]"
    expansion, _ = walked(folder, text)
    return [(one.rule, one.place.line) for one in expansion.findings]


@pytest.mark.parametrize("key", ["image", "end_image"])
def test_a_path_never_goes_out_as_it_is(tmp_path: Path, key: str) -> None:
    picture(tmp_path / "fox.jpg")
    picture(tmp_path / "fox.gif")
    (tmp_path / "torn.jpg").write_bytes(b"x")
    assert said(tmp_path, "https://a.example/fox.jpg", key) == []
    assert said(tmp_path, "fox.jpg", key) == []
    assert said(tmp_path, "fxo.jpg", key) == [("no-file", 2)]
    assert said(tmp_path, "fox.gif", key) == [("bad-image", 2)]
    assert said(tmp_path, "torn.jpg", key) == [("bad-image", 2)]
    for scheme in (
        "http://a.example/",
        "file:///tmp/",
        "data:image/png;base64,",
        "s3:",
    ):
        assert said(tmp_path, f"{scheme}fox.jpg", key) == [("bad-url", 2)]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("prompts: [{prompt: A, image: a/fox.png}]", ["image"]),
        ("settings: {image: a/fox.png}\nprompts: [A]", ["image"]),
        (
            "vars: {which: fox}\nsettings: {image: 'a/{{ which }}.png'}\nprompts: [A]",
            ["image"],
        ),
        ("prompts: [A]\nmatrix: {image: [{id: fox, image: a/fox.png}]}", ["image"]),
        (
            "prompts: [A]\nmatrix: {view: [{id: fox, set: {image: a/fox.png}}]}",
            ["image"],
        ),
        (
            """settings: {image: https://a.example/b.jpg}
prompts: [A]
matrix: {view: [x]}
overrides: [{when: {view: x}, set: {end_image: a/fox.png}}]
""",
            ["end_image"],
        ),
        ("include: [{prompt: A, image: a/fox.png}]", ["image"]),
        ("prompts: {from: b.csv}", ["image"]),
        ("prompts: {from: b.jsonl}", ["image"]),
    ],
)
def test_a_picture_is_found_wherever_it_is_named(
    tmp_path: Path, text: str, fields: list[str]
) -> None:
    path = picture(tmp_path / "a" / "fox.png")
    (tmp_path / "b.csv").write_text("prompt,image\nA,a/fox.png\n")
    (tmp_path / "b.jsonl").write_text('{"prompt": "A", "image": "a/fox.png"}\n')
    for task in made(tmp_path, START + text):
        for field in fields:
            assert task.files == {task.input[field]: str(path)}


def test_a_sheet_in_a_folder_of_its_own_names_its_neighbours(tmp_path: Path) -> None:
    path = picture(tmp_path / "inbox" / "fox.png")
    (tmp_path / "inbox" / "b.csv").write_text("prompt,image\nA,fox.png\n")
    [task] = made(tmp_path, f"{START}prompts: {{from: inbox/b.csv}}")
    assert list(task.files.values()) == [str(path)]


def test_a_list_of_pictures(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png", 20)
    text = (
        "model: kling-o3-4k-ref\nprompts:\n"
        "- {prompt: A, images: [1.png, https://a.example/x.jpg, 2.png]}"
    )
    [task] = made(tmp_path, text)
    assert list(task.files.values()) == [str(one), str(two)]
    assert task.input["images"][::2] == list(task.files)
    (tmp_path / "b.csv").write_text("prompt,images\nA,1.png | 2.png\n")
    [task] = made(tmp_path, "model: kling-o3-4k-ref\nprompts: {from: b.csv}")
    assert list(task.files.values()) == [str(one), str(two)]


def test_a_spreadsheet_may_name_its_model(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png")
    text = "model,prompt,image\nkling-4k-i2v,A,fox.png\n,B,\n"
    with_picture, without = made(tmp_path, text, "b.csv")
    assert with_picture.files
    assert "image" not in without.input


def test_a_column_of_another_models_field_is_no_label(tmp_path: Path) -> None:
    expansion, _ = walked(tmp_path, "prompt,image\nA,fox.png\n", "b.csv")
    assert [one.rule for one in expansion.findings] == ["unknown-key"]


def lines(found: list[Task]) -> str:
    return "".join(json.dumps(to_json(task)) + "\n" for task in found)


def as_they_are(found: list[Task]) -> list[Mapping[str, Any]]:
    return [
        {
            name: getattr(task, name)
            for name in task.__struct_fields__
            if name != "place"
        }
        for task in found
    ]


def test_lines_of_tasks_are_a_manifest_again(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png")
    text = f"{START}prompts: [{{prompt: A, image: fox.png}}]"
    found = made(tmp_path, text)
    again = made(tmp_path / "elsewhere", lines(found), "t.jsonl")
    assert as_they_are(again) == as_they_are(found)


@FEW
@given(st.text("abcäß日 -_", min_size=1, max_size=8), st.integers(0, 255), st.data())
def test_a_picture_is_its_content_not_its_name(
    tmp_path: Path, name: str, shade: int, data: st.DataObject
) -> None:
    other = data.draw(st.integers(0, 255).filter(lambda one: one != shade))
    picture(tmp_path / "fox.png", shade)
    picture(tmp_path / "deep" / f"x{name}.png", shade)
    picture(tmp_path / "other.png", other)
    text = START + "prompts: [{{prompt: A, image: '{0}'}}]"
    [first] = made(tmp_path, text.format("fox.png"))
    [same] = made(tmp_path, text.format(f"deep/x{name}.png"))
    [edited] = made(tmp_path, text.format("other.png"))
    assert first.id == same.id != edited.id


def test_a_model_outside_the_catalog_takes_pictures_too(tmp_path: Path) -> None:
    picture(tmp_path / "fox.gif")
    text = (
        "model: vendor/other/image-to-video\nprice: { per_task: 1 }\n"
        "prompts: [{ prompt: A, image: fox.gif, images: [fox.gif] }]"
    )
    [task] = made(tmp_path, text)
    assert [task.input["image"]] == task.input["images"] == list(task.files)


def test_an_edited_picture_is_a_changed_clip(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "pictured.yaml"
    one, two = picture(tmp_path / "1.png", 1), picture(tmp_path / "2.png", 2)
    path.write_text(
        f"{START}budget: 9\nsettings: {{duration: 3}}\nprompts:\n"
        "- {id: one, prompt: pictured one, image: 1.png}\n"
        "- {id: two, prompt: pictured two, image: 2.png}\n"
    )
    assert story.command("run", str(path), "--yes").returncode == 0
    assert counts(story, path) == {"done": 2}
    picture(one, 200)
    two.rename(tmp_path / "3.png")
    path.write_text(path.read_text().replace("2.png", "3.png"))
    assert counts(story, path) == {"changed": 1, "done": 1, "to_buy": 1}
    # What was ordered is done, wherever its pictures are by now.
    status = json.loads(story.command("status", "pictured", "--json").stdout)
    assert [row["status"] for row in status["tasks"]] == ["done", "done"]
    known = {task.id[:8] for task in as_bought(story, path)}
    assert {row["hash"] for row in status["tasks"]} == known


def counts(story: Story, path: Path) -> dict[str, int]:
    found = json.loads(story.command("plan", str(path), "--json").stdout)
    return {name: count for name, count in found["counts"].items() if count}


def as_bought(story: Story, path: Path) -> list[Task]:
    return list(report.known(story.replay(path)[1]))
