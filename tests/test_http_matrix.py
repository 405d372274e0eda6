"""What comes of a submission, whatever the wire does."""

import asyncio
import itertools

import pytest

from campaign.http_matrix import (
    BODIES,
    FAULTS,
    PHASES,
    STATUSES,
    Cell,
    expected,
    full,
    pairwise,
    play,
    quick,
)


def test_every_pair_of_two_values_is_among_the_quick_cells() -> None:
    cells = list(pairwise())
    sizes = [len(PHASES), len(STATUSES), len(BODIES), len(FAULTS)]
    for a, b in itertools.combinations(range(4), 2):
        assert len({(cell[a], cell[b]) for cell in cells}) == sizes[a] * sizes[b]
    assert sum(1 for _ in full()) == 43_200


def test_every_quick_cell_comes_to_what_the_protocol_says_and_is_sent_once() -> None:
    counts, wrong = asyncio.run(play(quick()))
    assert wrong == []
    assert set(counts) == {"accepted", "refused", "uncertain", "not sent"}


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [
        (Cell(PHASES[0], 200, "a prediction", "none"), "not sent"),
        (Cell(PHASES[2], 200, "a prediction", "none"), "accepted"),
        (Cell(PHASES[2], 200, "a prediction", "cut half-way"), "uncertain"),
        (Cell(PHASES[2], 200, "no id", "none"), "uncertain"),
        (Cell(PHASES[2], 400, "an error", "none"), "refused"),
        (Cell(PHASES[2], 409, "an error", "none"), "uncertain"),
        (Cell(PHASES[2], 503, "an error", "none"), "uncertain"),
        (Cell(PHASES[2], 302, "a page", "none"), "uncertain"),
    ],
)
def test_the_table_says_what_section_seven_says(cell: Cell, verdict: str) -> None:
    assert expected(cell)[0] == verdict


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_43_200_cells() -> None:
    counts, wrong = asyncio.run(play(full()))
    print(counts)  # noqa: T201
    assert wrong == []
