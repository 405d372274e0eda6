"""Refunds and charges as billing shows them, and what nobody's attempt owns."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from msgspec.structs import replace
from test_reconcile import LOST, row
from test_strays import TASK, opened

from batchgen.audit import Orphan, orphans, spans
from batchgen.billing import Billing, overdue
from batchgen.client import Client
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    CostSettled,
    PredictionCompleted,
    PredictionFailed,
    SessionClosed,
    SessionOpened,
)
from batchgen.journal import Journal
from batchgen.listings import Bill
from batchgen.pace import Pace
from batchgen.profile import Limits
from batchgen.recorder import Nobody, Recorder
from batchgen.records import Record
from batchgen.tally import Tally
from batchgen.world import World
from conftest import Silent, Story, sandboxed

pytestmark = pytest.mark.anyio
PRICE = 1_260_000


@contextmanager
def world(folder: Path, refund_delay: str, *rules: str) -> Iterator[Story]:
    """A sandbox of its own, with these faults and this delay of refunds."""
    plan = folder / "faults.yaml"
    plan.write_text(f"rules: [{', '.join(rules)}]\n", encoding="utf-8")
    more = ("--faults", str(plan), "--refund-delay", refund_delay)
    with sandboxed(folder, *more) as addresses:
        yield Story(folder, addresses.api, folder / "sandbox")


def bills(story: Story, manifest: Path) -> list[int]:
    records, _ = story.replay(manifest)
    return [r.event.amount for r in records if isinstance(r.event, CostSettled)]


async def test_money_comes_back_when_billing_shows_it_and_not_before(
    tmp_path: Path,
) -> None:
    with world(tmp_path, "40000", "{fault: fail_provider, at: [1]}") as story:
        manifest = story.manifest(["back boat 0"])
        await story.session(manifest)
        _, tally = story.replay(manifest)
        assert (tally.ledger.refundable, bills(story, manifest)) == (PRICE, [])
        await anyio.sleep(2.1)  # the refund is due two seconds after the failure
        # The task failed before: this session buys it again and sees the refund.
        await story.session(manifest)
        _, tally = story.replay(manifest)
        assert bills(story, manifest) == [0]
        assert (tally.ledger.refundable, tally.ledger.committed) == (0, PRICE)
        charged = sum(charge.price for charge in story.till())
        assert charged - PRICE == tally.ledger.committed


async def test_money_that_came_back_buys_what_waits_in_the_same_session(
    tmp_path: Path,
) -> None:
    plan = "{fault: fail_provider, at: [1]}, {fault: slow_answer=6, at: [2]}"
    with world(tmp_path, "40000", plan) as story:
        manifest = story.manifest([f"freed boat {n}" for n in range(4)])
        limits = Limits(4, None)
        await story.session(manifest, cap=2 * PRICE, limits=limits)
        assert len(story.till()) == 3  # the fourth is above the cap still
        _, tally = story.replay(manifest)
        assert (tally.counts["done"], tally.counts["failed"]) == (2, 1)
        assert bills(story, manifest) == [0]
        assert tally.ledger.committed == 2 * PRICE
        told = [text for text in story.notices if "do not cover" in text]
        assert len(told) == 2


def committed(story: Story, manifest: Path) -> float:
    """In dollars, as `status` tells it."""
    found = story.command("status", story.folder(manifest).name, "--json")
    return float(json.loads(found.stdout)["committed_usd"])


@pytest.mark.slow
def test_the_cap_waits_for_the_refund_and_no_longer(tmp_path: Path) -> None:
    """The program three times: before, too early, and after the service paid back."""
    late = ("--refund-delay", "20000000")  # a thousand seconds at this speed
    plan = tmp_path / "faults.yaml"
    plan.write_text("rules: [{fault: fail_provider, at: [1]}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan), *late) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest([f"wait boat {n}" for n in range(3)])
        for _ in range(2):
            found = story.command("run", str(manifest), "--budget", "2.52")
            assert found.returncode == 3, found.stderr
            assert (len(story.till()), committed(story, manifest)) == (2, 2.52)
        assert bills(story, manifest) == []
    with sandboxed(tmp_path, "--offset", "2000") as addresses:
        story.api = addresses.api
        found = story.command("run", str(manifest), "--budget", "2.52")
        assert found.returncode == 3, found.stderr
        assert bills(story, manifest) == [0]
        assert (len(story.till()), committed(story, manifest)) == (3, 2.52)
        assert story.kept() == 2 * PRICE


@pytest.mark.slow
def test_a_clip_that_was_charged_twice_is_told_and_counted(tmp_path: Path) -> None:
    """The second charge comes seconds after the clip was fetched."""
    plan = tmp_path / "faults.yaml"
    plan.write_text("rules: [{fault: charge_twice, at: [1]}]\n", encoding="utf-8")
    with sandboxed(tmp_path, "--faults", str(plan), speed=100) as addresses:
        story = Story(tmp_path, addresses.api, tmp_path / "sandbox")
        manifest = story.manifest(["twice boat"])
        said = story.command("run", str(manifest)).stderr
    with sandboxed(tmp_path, "--offset", "2000") as addresses:
        story.api = addresses.api
        more = story.manifest(["twice boat", "once boat"])
        found = story.command("run", str(more))
        assert found.returncode == 3, found.stderr  # nothing more is bought now
        said += found.stderr
        assert said.count("was charged $2.52, over its bound of $1.26") == 1
        assert bills(story, manifest) == [2 * PRICE]
        assert committed(story, manifest) == 2.52
        assert story.kept() == 2 * PRICE


class Slow(Client):
    """Billing that shows one charge bit by bit."""

    shown = 0

    async def bills(self, predictions: Sequence[str]) -> dict[str, Bill]:
        return {one: Bill(charged=self.shown) for one in predictions}


async def test_a_charge_in_two_rows_is_summed_when_the_second_comes_late(
    tmp_path: Path,
) -> None:
    stops: list[str] = []
    planned, started, _ = LOST
    accepted = AttemptAccepted(task=TASK, attempt=1, prediction="p", via="answer")
    pace = Pace(None, 1)
    async with Slow.connect(
        "http://127.0.0.1:9", "k", pace=pace, now=World().now
    ) as client:
        with Journal.open(tmp_path, World()) as journal:
            recorder = Recorder(journal, Tally(), Nobody())
            for event in (planned, started, accepted):
                await recorder.write(event)
            billing = Billing(recorder, client, lambda why, _: stops.append(why))
            client.shown = 60
            await billing.look()
            assert recorder.tally.ledger.committed == 100
            client.shown = 160
            await billing.look()
            assert recorder.tally.ledger.committed == 160
    assert stops == ["breaker"]


@asynccontextmanager
async def completed(
    folder: Path, stops: list[str]
) -> AsyncIterator[tuple[Slow, Recorder, Callable[[], Billing]]]:
    """A clip that is there, and fresh eyes for its bill."""
    planned, started, _ = LOST
    accepted = AttemptAccepted(task=TASK, attempt=1, prediction="p", via="answer")
    done = PredictionCompleted(task=TASK, attempt=1, outputs=())
    pace = Pace(None, 1)
    async with Slow.connect(
        "http://127.0.0.1:9", "k", pace=pace, now=World().now
    ) as client:
        with Journal.open(folder, World()) as journal:
            recorder = Recorder(journal, Tally(), Silent())
            for event in (planned, started, accepted, done):
                await recorder.write(event)
            yield (
                client,
                recorder,
                lambda: Billing(recorder, client, lambda why, _: stops.append(why)),
            )


async def test_a_second_charge_for_a_clip_that_is_there_is_counted_and_told(
    tmp_path: Path,
) -> None:
    stops: list[str] = []
    async with completed(tmp_path, stops) as (client, recorder, fresh):
        billing = fresh()
        client.shown = 100
        await billing.look()
        assert (recorder.tally.ledger.committed, stops) == (100, [])
        client.shown = 200
        await billing.look()
        assert (recorder.tally.ledger.committed, stops) == (200, ["breaker"])
        assert isinstance(recorder.observer, Silent)
        (told,) = recorder.observer.notices
        assert "p was charged" in told


async def test_the_next_start_sees_a_second_charge_that_came_after_the_last(
    tmp_path: Path,
) -> None:
    stops: list[str] = []
    async with completed(tmp_path, stops) as (client, recorder, fresh):
        client.shown = 100
        await fresh().look()
        await recorder.write(opened())
        client.shown = 200
        billing = fresh()
        for _ in range(3):
            await billing.look()
        assert (recorder.tally.ledger.committed, stops) == (200, ["breaker"])


async def test_a_charge_below_its_bound_counts_once_the_clip_is_there(
    tmp_path: Path,
) -> None:
    planned, started, _ = LOST
    accepted = AttemptAccepted(task=TASK, attempt=1, prediction="p", via="answer")
    done = PredictionCompleted(task=TASK, attempt=1, outputs=())
    pace = Pace(None, 1)
    async with Slow.connect(
        "http://127.0.0.1:9", "k", pace=pace, now=World().now
    ) as client:
        with Journal.open(tmp_path, World()) as journal:
            recorder = Recorder(journal, Tally(), Nobody())
            for event in (planned, started, accepted, done):
                await recorder.write(event)
            client.shown = 60
            await Billing(recorder, client, lambda *_: None).look()
            assert recorder.tally.ledger.committed == 60


async def test_no_clock_releases_money(tmp_path: Path) -> None:
    with world(tmp_path, "99999999", "{fault: fail_provider, at: [1]}") as story:
        manifest = story.manifest(["held boat 0"])
        for _ in range(2):
            await story.session(manifest)
        _, tally = story.replay(manifest)
        assert (tally.ledger.refundable, tally.ledger.spent) == (PRICE, PRICE)


async def test_a_charge_above_its_bound_is_kept_and_stops_the_buying(
    tmp_path: Path,
) -> None:
    dear = "{fault: charge_more, at: [1]}"
    with world(tmp_path, "1", dear, "{fault: stuck, at: [3]}") as story:
        manifest = story.manifest(["dear boat 0"])
        runner, tally = await story.session(manifest)
        assert bills(story, manifest) == [PRICE * 3 // 2]
        assert tally.ledger.committed == PRICE * 3 // 2
        assert runner.stopped is not None
        assert runner.stopped.reason == "breaker"
        more = story.manifest(["dear boat 0", "dear boat 1"])
        await story.session(more)
        records, _ = story.replay(more)
        starts = [r.event for r in records if isinstance(r.event, AttemptStarted)]
        assert [event.reserve for event in starts] == [PRICE, PRICE * 3 // 2]


async def test_what_nobody_knows_is_told_with_its_cost(story: Story) -> None:
    manifest = story.manifest(["known boat 0"])
    await story.session(manifest)
    assert not [text for text in story.notices if "does not know" in text]
    (task,) = story.tasks(manifest)
    # Somebody else buys with this key while a later session is open.
    more = story.manifest(["known boat 0", "known boat 1"])
    key = {"Authorization": "Bearer story-key"}
    async with anyio.create_task_group() as group, httpx.AsyncClient() as other:
        group.start_soon(partial(story.session, more, faults="slow_answer=0.8"))
        await anyio.sleep(0.5)
        body = {**task.input, "prompt": "known to nobody"}
        url = f"{story.api}/api/v3/{task.model}"
        answer = await other.post(url, json=body, headers=key)
    orphan = answer.json()["data"]["id"]
    (warning,) = [text for text in story.notices if "does not know" in text][-1:]
    assert orphan in warning
    assert "$1.26" in warning


NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def at(hours: float) -> str:
    return (NOON + timedelta(hours=hours)).isoformat()


def test_sessions_are_spans_of_the_service_and_a_crash_ends_with_its_last_word() -> (
    None
):
    closed = SessionClosed(exit=0, reason="done", spent=0, committed=0)
    start = AttemptStarted(task=TASK, attempt=1, reserve=1)
    records = [
        Record(1, at(0), opened()),
        Record(2, at(1), closed),
        Record(3, at(2), replace(opened(), clock_offset_ms=3_600_000)),
        Record(4, at(3.5), start),
        Record(5, at(9), opened()),
    ]
    found = spans(records, NOON + timedelta(hours=10))
    assert [(a.isoformat(), b.isoformat()) for a, b in found] == [
        (at(0), at(1)),
        (at(3), at(4.5)),
        (at(9), at(10)),
    ]


def test_only_what_is_of_our_time_and_of_nobody_is_an_orphan() -> None:
    tally = Tally()
    tally.owned.add("mine")
    session = (NOON, NOON + timedelta(seconds=60))
    rows = [row("mine", 1), row("lost", 2), row("late", 72), row("other", 73)]
    found = list(orphans(rows, tally, [session], 10))
    assert [one.prediction for one in found] == ["lost", "late"]
    assert isinstance(found[0], Orphan)


@pytest.mark.parametrize(("hours", "late"), [(2.9, 0), (3.1, 100)])
def test_after_three_hours_a_refund_is_overdue_and_still_held(
    hours: float, late: int
) -> None:
    events: list[
        SessionOpened | AttemptStarted | AttemptAccepted | PredictionFailed
    ] = [
        opened(),
        AttemptStarted(task=TASK, attempt=1, reserve=100),
        AttemptAccepted(task=TASK, attempt=1, prediction="p"),
        PredictionFailed(task=TASK, attempt=1, kind="provider", message="no"),
    ]
    records = [Record(n, at(0), event) for n, event in enumerate(events, 1)]
    tally = Tally.of(records)
    assert overdue(tally, records, NOON + timedelta(hours=hours)) == late
    assert tally.ledger.refundable == 100
