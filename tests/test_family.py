"""Every model of the family is bought from a manifest, for the catalog's price."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from batchgen.models import Model, catalog
from batchgen.money import Micros, usd
from batchgen.sandbox.checks import complaint
from conftest import Story

FILMS = [model for model in catalog() if model.resolution]


def charged(story: Story) -> dict[str, Micros]:
    """What the till has taken for each model."""
    with closing(sqlite3.connect(story.data / "sandbox.db")) as till:
        query = "SELECT model, sum(price) FROM predictions GROUP BY model"
        return dict(till.execute(query).fetchall())


@pytest.mark.slow
def test_every_model_of_clips_can_be_bought(story: Story) -> None:
    rows = [
        {"id": f"{model.alias}-{place}", "model": model.alias, **example["input"]}
        for model in FILMS
        for place, example in enumerate(model.examples)
    ]
    prices = {
        model.id: sum(usd(example["price"]) for example in model.examples)
        for model in FILMS
    }
    manifest = story.root / "family.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for _ in range(2):  # the second time buys nothing
        ended = story.command("run", str(manifest), "--yes", "--budget", "500")
        assert ended.returncode == 0, ended.stderr
        assert charged(story) == prices
    videos = story.folder(manifest) / "videos"
    assert {file.stem for file in videos.glob("*.mp4")} == {row["id"] for row in rows}


@pytest.mark.parametrize(
    ("alias", "given", "said"),
    [
        ("kling-4k-i2v", {"prompt": "a"}, 'field "image" is required'),
        ("kling-4k-i2v", {"image": "a.jpg"}, None),
        ("kling-o3-4k-ref", {"images": ["a.jpg"]}, 'field "prompt" is required'),
        ("kling-4k", {"prompt": "a", "image": "a.jpg"}, None),
        ("kling-o3-4k", {"prompt": "a", "sound": None}, 'field "sound" must be a bool'),
        (
            "kling-o3-4k",
            {"prompt": "a", "element_list": [{"element_id": 307212335131305}]},
            'field "element_list[0].element_id" must be a string',
        ),
        (
            "kling-o3-4k",
            {"prompt": "a", "element_list": [{"element_id": "1"}] * 4},
            'field "element_list" must have at most 3 items',
        ),
        (
            "kling-o3-4k-ref",
            {"prompt": "a", "images": ["a.jpg"] * 8},
            'field "images" must have at most 7 items',
        ),
        (
            "kling-elements",
            {"name": "a", "description": "b", "image": "c", "element_refer_list": []},
            'field "element_refer_list" is required and must not be empty',
        ),
        ("kling-elements", {"name": "a" * 21}, 'field "description" is required'),
    ],
)
def test_the_sandbox_refuses_what_the_vendor_would(
    alias: str, given: dict[str, Any], said: str | None
) -> None:
    found = complaint(catalog()[alias], given)
    assert found is None if said is None else said in str(found)


@pytest.mark.parametrize("model", list(catalog()), ids=lambda model: model.alias)
def test_the_sandbox_takes_every_example(model: Model) -> None:
    for example in model.examples:
        assert complaint(model, model.request(example["input"])) is None
