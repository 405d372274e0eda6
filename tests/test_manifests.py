"""Every example manifest plans."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchgen import manifest, models, tasks
from conftest import Story

FOLDER = Path(__file__).parents[1] / "manifests"
COSTS = {
    "briefs.csv": (3, 0, 7_560_000),
    "elements.yaml": (3, 2, 5_900_000),
    "image-to-video.yaml": (5, 0, 8_400_000),
    "minimal.yaml": (2, 0, 4_200_000),
    "nightly.yaml": (3, 0, 7_560_000),
    "references.yaml": (4, 0, 8_400_000),
    "shots.csv": (3, 0, 5_040_000),
    "spring-launch.yaml": (25, 0, 52_080_000),
}


@pytest.mark.parametrize("name", COSTS)
def test_an_example_costs_what_the_page_says(name: str) -> None:
    read = manifest.load(FOLDER / name, environ={}, catalog=models.catalog(), live=True)
    expansion = tasks.check(read, models.catalog(), live=True)
    clips, elements = len(list(expansion)), expansion.elements
    price = expansion.price + sum(element.price for element in elements)
    assert (clips, len(elements), price) == COSTS[name]
    assert expansion.findings == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTS)
def test_an_example_runs_and_costs_that(story: Story, name: str) -> None:
    before = charged(story)
    path = str(FOLDER / name)
    found = story.command("run", path, "--yes", "--run", name.partition(".")[0])
    assert found.returncode == 0, found.stdout + found.stderr
    assert charged(story) - before == COSTS[name][2]


def charged(story: Story) -> int:
    """What the till took, in micro-dollars."""
    with closing(sqlite3.connect(story.data / "sandbox.db")) as till:
        found = till.execute("SELECT total(price) FROM predictions").fetchone()[0]
    return int(found)


def test_the_pictures_are_small_and_all_of_use() -> None:
    pictures = {path.name: path.stat().st_size for path in FOLDER.glob("assets/*")}
    texts = [path.read_text("utf-8") for path in FOLDER.iterdir() if path.is_file()]
    assert max(pictures.values()) < 60_000
    assert [name for name in pictures if not any(name in text for text in texts)] == []


def test_no_example_is_forgotten() -> None:
    parts = {"products.csv"}
    found = {path.name for path in FOLDER.iterdir() if path.suffix in (".yaml", ".csv")}
    assert found - parts >= {*COSTS}
