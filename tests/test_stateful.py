"""Any steps in any order break no law, and broken money code is noticed by them."""

import pytest
from test_simulation import give_doubts_back

from batchgen import billing, journal
from batchgen.ledger import Ledger
from campaign.disk import SimulatedDisk
from campaign.oracle import Violation
from campaign.replay import Broken
from campaign.stateful import operate


def test_no_steps_break_a_law() -> None:
    operate(15, 12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_long_story_breaks_a_law() -> None:
    operate(60, 40)


def seen(examples: int, steps: int = 12) -> str:
    """The law that so many stories see broken."""
    try:
        operate(examples, steps, shrink=False)
    except (Violation, Broken) as error:
        return str(error)
    return ""


def test_a_sync_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "sync", lambda _disk, _handle: None)
    assert seen(10).startswith("I1")


def test_a_rollback_that_opens_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "refuse_rollback", lambda *_: None)
    assert seen(40).startswith("I8")


def test_money_of_a_doubt_that_is_given_back_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_doubts_back(monkeypatch)
    assert seen(40).startswith(("I6", "I13"))


@pytest.mark.slow
def test_again_after_a_crash_that_buys_twice_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Ledger, "is_of_this_start", lambda *_: False)
    assert "bought again by the start" in seen(80, 20)


@pytest.mark.slow
def test_a_refund_that_is_not_taken_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billing, "settled", lambda _one, _bill: None)
    assert seen(80, 20).startswith("I6")
