"""Real kills of real sessions, counted by the provider's till."""

import os
import signal
from pathlib import Path

import pytest

from campaign.kills import Batch, Campaign, MortalDisk, campaign, forked, was_killed


@pytest.mark.slow
def test_kills_cost_no_clip_twice_and_the_harness_sees_who_pays_twice(
    tmp_path: Path,
) -> None:
    figures, ordinary = campaign(tmp_path, 16, 8, seed=3)
    assert figures.clean, f"{figures}\n{figures.wrong}"
    assert figures.kills.total() == 16
    assert figures.charges == figures.tasks > 0
    assert not ordinary.endswith(" 0 paid twice")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hundred_kills(tmp_path: Path) -> None:
    figures, ordinary = campaign(tmp_path, 300, 60, seed=7)
    print(f"{figures}\n{ordinary}")  # noqa: T201
    assert figures.clean, f"{figures}\n{figures.wrong}"
    assert figures.charges == figures.tasks > 0
    assert figures.most_in_doubt <= 4
    assert figures.adopted > 0


@pytest.mark.parametrize("how", ["before", "half-way", "after"])
def test_a_mortal_disk_dies_at_its_call_and_no_other(tmp_path: Path, how: str) -> None:
    def work() -> None:
        disk = MortalDisk(2, how)  # type: ignore[arg-type] # the test's own words
        handle = disk.open(tmp_path / how, os.O_WRONLY | os.O_CREAT)
        disk.write(handle, b"1234")
        os.kill(os.getpid(), signal.SIGTERM)

    assert was_killed(forked(work, tmp_path / "log", None))
    left = {"before": b"", "half-way": b"12", "after": b"1234"}
    assert (tmp_path / how).read_bytes() == left[how]


def test_the_oracle_sees_a_charge_that_the_books_do_not_have(tmp_path: Path) -> None:
    found = Campaign(tmp_path, "http://127.0.0.1:9", tmp_path, 1)
    batch = Batch(tmp_path, found.api, "b1")
    prompt, price = "b1 boat 0", batch.tasks[0].price
    found.figures.check(batch, [])
    assert found.figures.clean
    found.figures.check(batch, [(f"p{n}", prompt, price) for n in range(3)])
    assert (found.figures.doubles, found.figures.uncovered) == (1, 3)
    dear = [(f"p{n}", f"b1 boat {n % 6}", price) for n in range(13)]
    found.figures.check(batch, dear)
    assert found.figures.breaches == 1
