"""Every example manifest plans."""

from pathlib import Path

import pytest

from batchgen import manifest, models, tasks

FOLDER = Path(__file__).parents[1] / "manifests"
COSTS = {
    "briefs.csv": (3, 7_560_000),
    "minimal.yaml": (2, 4_200_000),
    "nightly.yaml": (3, 7_560_000),
    "spring-launch.yaml": (25, 52_080_000),
}


@pytest.mark.parametrize("name", COSTS)
def test_an_example_costs_what_the_page_says(name: str) -> None:
    read = manifest.load(FOLDER / name, environ={}, catalog=models.catalog(), live=True)
    expansion = tasks.check(read, models.catalog(), live=True)
    assert (len(list(expansion)), expansion.price) == COSTS[name]
    assert expansion.findings == []


def test_no_example_is_forgotten() -> None:
    parts = {"products.csv"}
    found = {path.name for path in FOLDER.iterdir() if path.suffix in (".yaml", ".csv")}
    assert found - parts >= {*COSTS}
