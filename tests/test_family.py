"""Every model of the family is bought from a manifest, for the catalog's price."""

import json
import sqlite3
from contextlib import closing

from batchgen.models import catalog
from batchgen.money import Micros, usd
from conftest import Story

FILMS = [model for model in catalog() if model.resolution]


def charged(story: Story) -> dict[str, Micros]:
    """What the till has taken for each model."""
    with closing(sqlite3.connect(story.data / "sandbox.db")) as till:
        query = "SELECT model, sum(price) FROM predictions GROUP BY model"
        return dict(till.execute(query).fetchall())


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
