"""A damaged state file stops spending, or nothing of it is lost (campaign/fuzz.py)."""

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from campaign.fuzz import (
    GOLDEN,
    Damage,
    Judge,
    campaign,
    cuts,
    everything,
    flips,
    heaps,
    lines,
    zeros,
)

DATA = GOLDEN.read_bytes()
STRIDE = 7  # of what is tried by the fast tests; all of it is tried by the slow one


def unseen(*damages: Damage, marked: bool = True) -> list[str]:
    _, losses = campaign(DATA, damages, marked=marked)
    return [f"{damage.how}: {verdict.why}" for damage, verdict in losses]


def test_an_unharmed_file_is_whole() -> None:
    assert Judge(DATA)(DATA).word == "whole"


def test_the_judge_sees_a_loss() -> None:
    """Or it would find every reader sound."""
    short = DATA[: DATA.rindex(b"\n", 0, -1) + 1]
    assert Judge(short)(DATA).word == "whole"
    assert Judge(DATA, marked=False)(short).word == "shorter"
    other = DATA.replace(b"golden boat 1", b"golden boat 7")
    assert Judge(DATA)(other).word == "refused"


def test_no_cut_loses_a_record_unseen() -> None:
    counts, losses = campaign(DATA, cuts(DATA))
    assert losses == []
    assert counts["whole"] == 1  # only the last line feed is missing
    assert counts["refused"] == len(DATA) - 1


def test_no_line_is_dropped_or_swapped_unseen() -> None:
    counts, losses = campaign(DATA, lines(DATA))
    assert losses == []
    rows = DATA.count(b"\n")
    # A line that comes twice counts once, where it does not come before its time.
    assert counts["whole"] == sum(rows - number + 1 for number in range(rows))


@pytest.mark.parametrize("kind", [flips, zeros])
def test_no_bit_and_no_zeros_lose_a_record_unseen(
    kind: Callable[[bytes], Iterator[Damage]],
) -> None:
    assert unseen(*islice(kind(DATA), 0, None, STRIDE)) == []


def test_no_heap_of_damage_loses_a_record_unseen() -> None:
    assert unseen(*heaps(DATA, 3000, seed=7)) == []


def test_without_the_mark_only_the_end_gets_shorter() -> None:
    assert unseen(*lines(DATA), marked=False) == []
    assert unseen(*islice(flips(DATA), 0, None, 97), marked=False) == []


@pytest.mark.slow
@pytest.mark.parametrize("marked", [True, False])
def test_nothing_of_all_that_can_happen_loses_a_record_unseen(*, marked: bool) -> None:
    counts, losses = campaign(DATA, everything(DATA, 60_000, 1), marked=marked)
    assert losses == []
    assert sum(counts.values()) > 150_000
