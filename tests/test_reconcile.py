"""What the history proves about attempts of unknown fate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs
from msgspec.structs import replace as changed

from batchgen.answers import Prediction, prediction
from batchgen.answers import when as moment
from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    AttemptUncertain,
    Event,
    MediaUploaded,
    SessionOpened,
    TaskPlanned,
    Window,
)
from batchgen.journal import Journal, read
from batchgen.listings import Bill
from batchgen.pace import Pace
from batchgen.plan import Policy, Retry
from batchgen.profile import SANDBOX, WAVESPEED, Profile
from batchgen.reconcile import Doubt, Verdict, judge, scan
from batchgen.recorder import Nobody, Recorder
from batchgen.settle import Settlement, left_open
from batchgen.tally import Tally
from batchgen.world import World, iso

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
MODEL = "acme/video"
PROFILE = WAVESPEED
CAT = {"prompt": "a cat"}
DOG = {"prompt": "a dog"}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def doubt(
    task: str,
    since: float = 0,
    until: float = 120,
    *,
    body: Mapping[str, Any] = CAT,
    model: str = MODEL,
) -> Doubt:
    return Doubt(task, 1, model, print_of_body(body), at(since), at(until))


def row(
    name: str,
    created: float | str = 1,
    body: Mapping[str, Any] | None = CAT,
    model: str = MODEL,
) -> Prediction:
    when = created if isinstance(created, str) else at(created).isoformat()
    return prediction({"id": name, "model": model, "created_at": when, "inputs": body})


def print_of_body(body: Mapping[str, Any]) -> str:
    return repr(sorted(body.items()))


def fingerprint(listed: Prediction) -> str | None:
    return None if listed.inputs is None else print_of_body(listed.inputs)


def judged(
    doubts: Sequence[Doubt],
    rows: Sequence[Prediction],
    owned: frozenset[str] = frozenset(),
    profile: Profile = PROFILE,
) -> Verdict:
    return judge(doubts, rows, owned, fingerprint, profile)


def pairs(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(one.doubt.task, one.prediction, one.note) for one in verdict.adopted]


def names(doubts: Sequence[Doubt]) -> list[str]:
    return [one.task for one in doubts]


A, B, C = doubt("a"), doubt("b", 1), doubt("c", 2)


@pytest.mark.parametrize(
    ("doubts", "rows", "owned", "adopted", "missing", "unclear"),
    [
        # One candidate for one doubt.
        ([A], [row("p")], (), [("a", "p", "")], [], []),
        # Fewer candidates than doubts: oldest to oldest, the surplus is missing.
        (
            [B, A, C],
            [row("late", 9), row("early", 3)],
            (),
            [("a", "early", ""), ("b", "late", "")],
            ["c"],
            [],
        ),
        # More candidates than doubts: adopt as many as needed, and say so.
        ([A], [row("q", 5), row("p", 1)], (), [("a", "p", "ambiguous")], [], []),
        # R1: what belongs to an attempt is nobody's candidate.
        ([A], [row("p")], ("p",), [], ["a"], []),
        ([A], [row("p"), row("q", 2)], ("p",), [("a", "q", "")], [], []),
        # Another body or another model is another clip.
        ([A], [row("p", 1, DOG)], (), [], ["a"], []),
        ([A], [row("p", 1, CAT, "acme/other")], (), [], ["a"], []),
        # Hidden inputs prove nothing in either direction.
        ([A], [row("p", 1, None)], (), [], [], ["a"]),
        ([A], [row("p", 1, None), row("q", 2)], (), [("a", "q", "")], [], []),
        ([A, B], [row("p", 1, None), row("q", 2)], (), [("a", "q", "")], [], ["b"]),
        ([A], [row("p", 1, None, "acme/other")], (), [], ["a"], []),
        ([A], [row("p", 1, None)], ("p",), [], ["a"], []),
        # An undated row cannot be ruled out.
        ([A], [row("p", "")], (), [("a", "p", "")], [], []),
        ([A], [row("p", "soon", None)], (), [], [], ["a"]),
        # Nothing at all.
        ([A], [], (), [], ["a"], []),
        ([], [row("p")], (), [], [], []),
    ],
)
def test_the_decision_table(
    doubts: Sequence[Doubt],
    rows: Sequence[Prediction],
    owned: Sequence[str],
    adopted: Sequence[tuple[str, str, str]],
    missing: Sequence[str],
    unclear: Sequence[str],
) -> None:
    verdict = judged(doubts, rows, frozenset(owned))
    assert sorted(pairs(verdict)) == adopted
    assert (names(verdict.missing), names(verdict.unclear)) == (missing, unclear)


@pytest.mark.parametrize(
    ("created", "near"),
    [
        (-PROFILE.window_before - 0.001, False),
        (-PROFILE.window_before, True),
        (0, True),
        (120 + PROFILE.accept_settle, True),
        (120 + PROFILE.accept_settle + 0.001, False),
    ],
)
def test_the_window_reaches_from_before_the_intent_to_the_last_possible_arrival(
    created: float, *, near: bool
) -> None:
    verdict = judged([A], [row("p", created)])
    assert bool(verdict.adopted) is near
    assert bool(verdict.missing) is not near


def test_times_of_the_service_may_have_nine_decimals_and_any_zone() -> None:
    first = row("p", "2026-10-01T12:00:01.123456789Z")
    second = row("q", "2026-10-01T14:00:02.5+02:00")
    assert pairs(judged([A, B], [second, first])) == [("a", "p", ""), ("b", "q", "")]


def test_equal_bodies_are_interchangeable_whatever_the_order_of_rows() -> None:
    rows = [row("p", 1), row("q", 2), row("r", 3)]
    for order in (rows, rows[::-1], rows[1:] + rows[:1]):
        verdict = judged([C, A, B], order)
        assert {name for _, name, _ in pairs(verdict)} == {"p", "q", "r"}
        assert len({task for task, _, _ in pairs(verdict)}) == 3


def test_bodies_do_not_take_each_others_rows() -> None:
    cat, dog = doubt("cat"), doubt("dog", body=DOG)
    verdict = judged([cat, dog], [row("d", 1, DOG), row("c", 2)])
    assert pairs(verdict) == [("cat", "c", ""), ("dog", "d", "")]


def test_no_row_is_adopted_twice() -> None:
    verdict = judged([A, B], [row("p"), row("p")])
    assert pairs(verdict) == [("a", "p", "")]
    assert names(verdict.missing) == ["b"]


def test_a_wide_window_does_not_take_the_only_row_of_a_narrow_one() -> None:
    """Two paid clips, two doubts of one body: nobody may seem missing."""
    crashed, answered = doubt("crashed", 0, 36_000), doubt("answered", 10, 20)
    rows = [row("p", 15), row("q", 20_000)]
    verdict = judged([crashed, answered], rows)
    assert names(verdict.missing) == []
    assert len(verdict.adopted) == 2


def test_a_listing_that_empties_its_inputs_hides_them() -> None:
    """After its retention a service may keep the row and drop the request."""
    listed = prediction(
        {"id": "p", "model": MODEL, "created_at": at(1).isoformat(), "inputs": {}}
    )
    assert names(judged([A], [listed]).missing) == []


def test_a_row_without_a_model_cannot_be_ruled_out() -> None:
    verdict = judged([A], [row("p", 1, CAT, model="")])
    assert names(verdict.missing) == []


def test_a_window_that_ends_before_it_begins_proves_nothing() -> None:
    """Our clock was set back between the intent and the end of the session."""
    verdict = judged([doubt("a", 86_400, 0)], [row("p", 1)])
    assert names(verdict.missing) == []


def test_an_empty_history_proves_something_only_after_both_settle_times() -> None:
    assert A.settled_at(WAVESPEED) == at(120 + 600 + 60)
    assert A.settled_at(SANDBOX) == at(120 + 2 + 1)


class Service:
    """A history that shows one page set after the other."""

    def __init__(self, *looks: Sequence[Prediction] | Unavailable) -> None:
        self.looks = list(looks)
        self.asked: list[tuple[str, datetime, datetime]] = []

    async def history(
        self, model: str, since: datetime, until: datetime
    ) -> list[Prediction]:
        self.asked.append((model, since, until))
        look = self.looks.pop(0)
        if isinstance(look, Unavailable):
            raise look
        return list(look)


P, Q = row("p"), row("q", 2)
BROKEN = Unavailable("502", http=502)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([[P], [P]], ["p"]),
        ([[], []], []),
        ([[P], [P, Q], [Q, P]], ["p", "q"]),
        ([[P], [Q], [P], [Q]], None),
        ([[], [P], [], [P]], None),
        ([BROKEN], None),
        ([[P], BROKEN], None),
    ],
)
async def test_a_scan_counts_only_when_two_passes_agree(
    looks: Sequence[Sequence[Prediction] | Unavailable], found: list[str] | None
) -> None:
    service = Service(*looks)
    rows = await scan(service.history, [A], PROFILE)
    assert (None if rows is None else sorted(one.id for one in rows)) == found
    assert service.looks == []


@pytest.mark.anyio
async def test_a_scan_asks_once_a_model_for_all_windows_of_it() -> None:
    doubts = [
        doubt("a", 0, 10),
        doubt("b", 500, 600),
        doubt("c", 90, 95, model="acme/other"),
    ]
    service = Service([P], [Q], [P], [Q])
    rows = await scan(service.history, doubts, PROFILE)
    assert rows is not None
    assert {one.id for one in rows} == {"p", "q"}
    first = [
        (MODEL, at(-180), at(600 + 600)),
        ("acme/other", at(90 - 180), at(95 + 600)),
    ]
    assert service.asked == first * 2


def test_a_short_settle_time_narrows_the_window() -> None:
    quick = changed(PROFILE, accept_settle=2)
    assert judged([A], [row("p", 123)], profile=quick).missing == (A,)


# The settlement: a real journal, a history that answers as the service would.


LOCKED = -1000
"""A number of looks: the history is shown to nobody."""


class Account(Client):
    """An account whose history is `rows`, filtered as the service filters it."""

    rows: tuple[Prediction, ...] = ()
    looks = 1000
    pause = 0.0
    bill: int | None = None  # of every prediction; None where billing is locked
    inputs: Mapping[str, Any] | None = None
    busy = 0  # looks at a prediction that fail before one succeeds

    async def result(self, prediction_id: str) -> Prediction:
        """The prediction itself, which may show what the history hides."""
        self.busy -= 1
        if self.busy >= 0:
            raise Unavailable("busy", http=503)
        shown = {one.id: one for one in self.rows}[prediction_id]
        return replace(shown, inputs=shown.inputs or self.inputs)

    async def bills(self, predictions: Sequence[str]) -> dict[str, Bill]:
        if self.bill is None:
            raise Unavailable("this key may not see billing", http=403)
        return {one: Bill(charged=self.bill) for one in predictions}

    async def history(
        self, model: str, since: datetime, until: datetime
    ) -> list[Prediction]:
        await anyio.sleep(self.pause)
        if self.looks == LOCKED:
            raise Unavailable("this key may not look", http=403)
        self.looks -= 1
        return [] if self.looks < 0 else self._within(model, since, until)

    async def newest(
        self, model: str, since: datetime, until: datetime, *, pages: int = 1
    ) -> list[Prediction]:
        del pages
        return self._within(model, since, until)

    def _within(self, model: str, since: datetime, until: datetime) -> list[Prediction]:
        dated = [(row, moment(row.created_at)) for row in self.rows]
        return [
            row
            for row, created in dated
            if model in (row.model, "") and created and since <= created <= until
        ]


TASK = "a" * 32
LOST: tuple[Event, ...] = (
    TaskPlanned(
        task=TASK,
        slug="cat",
        labels={},
        model=MODEL,
        input=CAT,
        take=1,
        price=100,
        seconds=5,
        output="cat.mp4",
    ),
    AttemptStarted(task=TASK, attempt=1, reserve=100),
    AttemptUncertain(
        task=TASK,
        attempt=1,
        phase="no answer",
        error="cut",
        window=Window(since=iso(at(0)), until=iso(at(1))),
    ),
)
STRANGER = row("stranger", -3600, DOG)
"""Somebody's clip of an hour ago: this history does show what was made."""
HASTY = changed(SANDBOX, accept_settle=0.05, list_settle=0.01)


async def settled(  # noqa: PLR0913 - what a history and a journal may hold, by name
    folder: Path,
    *rows: Prediction,
    clock: float = 60,
    offset: float = 0,
    retry: frozenset[Retry] = frozenset({"absent"}),
    stopped: bool = False,
    looks: int = 1000,
    beside: bool = False,
    events: Sequence[Event] = LOST,
    others: Sequence[Prediction] = (STRANGER,),
    shards: bool = False,
) -> list[str]:
    """What is written down about one lost submission, by the names of the events.

    `clock` is what our clock shows, in seconds after noon; `offset` is how far the
    service is ahead of it; after so many `looks` the history shows nothing; `beside`
    is another look that begins while the first one is at it; `events` are what the
    state file holds before; `others` stand in the history beside the rows; with
    `shards` others of the run may be buying on other machines.
    """
    world = World(now=lambda: at(clock))
    stopping = anyio.Event()
    if stopped:
        stopping.set()
    async with Account.connect(
        "http://127.0.0.1:9", "k", pace=Pace(None, 1), now=world.now
    ) as client:
        client.rows, client.looks = (*rows, *others), looks
        client.clock.offset = offset
        with Journal.open(folder, world) as journal:
            recorder = Recorder(journal, Tally(), Nobody())
            for event in events:
                await recorder.write(event)
            settlement = Settlement(
                recorder,
                client,
                HASTY,
                Policy(retry=retry),
                lambda _, body: print_of_body(body),
                world,
                alone=not shards,
            )
            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    if beside:
                        client.pause = 0.01
                        group.start_soon(settlement.look)
                        group.start_soon(settlement.wait_and_look, stopping)
                    await settlement.wait_and_look(stopping)
    return [record.event.t for record in read(folder)[len(events) :]]


OTHER = "b" * 32
OURS: tuple[Event, ...] = (
    structs.replace(LOST[0], task=OTHER, slug="cat-2", output="cat-2.mp4"),
    AttemptStarted(task=OTHER, attempt=1, reserve=100),
    AttemptAccepted(task=OTHER, attempt=1, prediction="p", via="answer"),
)
"""A clip of the same body that was bought and is known."""


@pytest.mark.anyio
async def test_what_another_task_owns_is_not_adopted(tmp_path: Path) -> None:
    found = await settled(tmp_path, row("p", 0.5), events=(*OURS, *LOST))
    assert "AttemptAccepted" not in found


@pytest.mark.anyio
async def test_a_history_that_does_not_show_what_is_ours_proves_nothing(
    tmp_path: Path,
) -> None:
    assert await settled(tmp_path, events=(*OURS, *LOST)) == []


@pytest.mark.anyio
@pytest.mark.parametrize("inputs", [None, {}])
async def test_a_history_that_never_showed_anything_proves_nothing(
    tmp_path: Path, inputs: Mapping[str, Any] | None
) -> None:
    """Nobody knows then whether it could: it may spell the model in another way."""
    old = row("stranger", -3600, inputs)
    assert await settled(tmp_path / "a", others=()) == []
    assert await settled(tmp_path / "b", others=(old,)) == []
    assert await settled(tmp_path / "c", others=(STRANGER,)) == ["AttemptAbsent"]


BESIDE = (
    structs.replace(OURS[0], model="acme/element"),
    *OURS[1:],
)
"""A task of another model that was bought and is known."""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ((row("p", 0.5, DOG, "acme/element"),), ["AttemptAbsent"]),
        ((row("p", -3600, DOG, "acme/element"),), []),  # not in that time
        ((row("p", 0.5, None, "acme/element"),), []),
        (
            # This may be the lost one, under another name of its model.
            (row("p", 0.5, DOG, "acme/element"), row("q", 0.5, CAT, "acme-video")),
            [],
        ),
    ],
    ids=["all", "another time", "hidden", "a stranger"],
)
async def test_the_first_of_a_model_is_absent_where_all_else_is_shown(
    tmp_path: Path, rows: tuple[Prediction, ...], found: list[str]
) -> None:
    events = (*BESIDE, *LOST)
    assert await settled(tmp_path, *rows, events=events, others=()) == found


@pytest.mark.anyio
async def test_ours_among_many_strangers_is_proof_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest page may show others alone; what was scanned shows ours."""

    async def strangers(*_: object, **__: object) -> list[Prediction]:
        return [STRANGER]

    both = (*OURS, *LOST)
    monkeypatch.setattr(Account, "newest", strangers)
    assert await settled(tmp_path / "a", events=both) == []
    found = await settled(tmp_path / "b", row("p", 0.5), events=both)
    assert found == ["AttemptAbsent"]


@pytest.mark.anyio
async def test_a_history_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    assert await settled(tmp_path, looks=LOCKED) == []


@pytest.mark.anyio
async def test_a_lost_submission_that_arrived_is_adopted(tmp_path: Path) -> None:
    assert await settled(tmp_path, row("p", 0.5)) == ["AttemptAccepted"]


@pytest.mark.anyio
async def test_what_the_service_took_is_never_absent(tmp_path: Path) -> None:
    """Its own row may hide behind the id that it shares with another clip."""
    taken = (*LOST[:-1], structs.replace(LOST[-1], taken=True))
    assert await settled(tmp_path / "a", events=taken) == []
    found = await settled(tmp_path / "b", row("p", 0.5), events=taken)
    assert found == ["AttemptAccepted"]


@pytest.mark.anyio
async def test_looks_that_meet_settle_it_once(tmp_path: Path) -> None:
    found = await settled(tmp_path / "a", row("p", 0.5), beside=True)
    assert found == ["AttemptAccepted"]
    assert await settled(tmp_path / "b", beside=True) == ["AttemptAbsent"]


@pytest.mark.anyio
async def test_one_that_did_not_is_absent_only_where_that_was_asked_for(
    tmp_path: Path,
) -> None:
    nothing: frozenset[Retry] = frozenset()
    assert await settled(tmp_path / "a") == ["AttemptAbsent"]
    assert await settled(tmp_path / "b", retry=nothing) == []
    assert await settled(tmp_path / "c", row("p", 1, None)) == []
    assert await settled(tmp_path / "d", clock=0, stopped=True) == []


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [600, 7200])
async def test_a_clock_that_is_set_does_not_make_a_paid_clip_absent(
    tmp_path: Path, wrong: float
) -> None:
    """Right when it was lost, wrong when it is looked for; the service tells both."""
    found = await settled(tmp_path, row("p", 0.5), clock=60 + wrong, offset=-wrong)
    assert "AttemptAbsent" not in found


@pytest.mark.anyio
async def test_a_service_that_dates_in_whole_seconds_may_be_a_second_ahead(
    tmp_path: Path,
) -> None:
    """The window ends at 1 s by an estimate that a `Date` of whole seconds gave."""
    assert await settled(tmp_path, row("p", 1.9)) == ["AttemptAccepted"]


@pytest.mark.anyio
async def test_one_look_that_finds_nothing_is_not_enough(tmp_path: Path) -> None:
    """What was there and cannot be seen any more proves nothing."""
    hidden = row("p", 0.5, None)
    assert await settled(tmp_path, hidden, looks=4) == []


SECOND = (
    *OURS[:2],
    structs.replace(LOST[-1], task=OTHER),
)
"""Another doubt of the same model."""
SENDING = OURS[:2]
"""Another submission of the same model, under way."""
HIDDEN = row("p", 0.5, None)


@pytest.mark.anyio
async def test_what_is_hidden_and_alone_is_adopted_if_its_bill_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "bill", 100)
    assert await settled(tmp_path, HIDDEN) == ["AttemptAccepted"]
    (event,) = (r.event for r in read(tmp_path) if r.event.t == "AttemptAccepted")
    assert isinstance(event, AttemptAccepted)
    assert (event.prediction, event.via, event.note) == ("p", "history", "billing")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rows", "bill", "inputs", "options"),
    [
        ((HIDDEN,), 99, None, {}),
        ((HIDDEN,), 101, None, {}),
        ((HIDDEN,), 0, None, {}),
        ((HIDDEN,), None, None, {}),
        ((HIDDEN, row("q", 0.7, None)), 100, None, {}),
        ((HIDDEN, row("q", 0.7, DOG)), 100, None, {}),
        ((HIDDEN,), 100, None, {"events": (*SECOND, *LOST)}),
        ((HIDDEN,), 100, None, {"events": (*SENDING, *LOST)}),
        ((HIDDEN,), 100, DOG, {}),
        ((HIDDEN,), 100, None, {"clock": 1, "stopped": True}),
        ((HIDDEN,), 100, None, {"shards": True}),
    ],
    ids=[
        "cheaper",
        "dearer",
        "free",
        "unreadable",
        "two-candidates",
        "other-traffic",
        "two-doubts",
        "under-way",
        "shown-by-itself",
        "too-early",
        "perhaps-another-shards",
    ],
)
async def test_else_what_is_hidden_stays_in_doubt(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: tuple[Prediction, ...],
    bill: int | None,
    inputs: Mapping[str, Any] | None,
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr(Account, "bill", bill)
    monkeypatch.setattr(Account, "inputs", inputs)
    found = await settled(tmp_path, *rows, **options)
    assert "AttemptAccepted" not in found


@pytest.mark.anyio
@pytest.mark.parametrize("busy", [1, 1000])
async def test_what_could_not_be_looked_at_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    monkeypatch.setattr(Account, "bill", 100)
    monkeypatch.setattr(Account, "inputs", DOG)
    monkeypatch.setattr(Account, "busy", busy)
    assert "AttemptAccepted" not in await settled(tmp_path, HIDDEN)


@pytest.mark.anyio
async def test_a_clock_set_in_a_session_that_died_does_not_move_its_window(
    tmp_path: Path,
) -> None:
    """It left at 12:10; our clock said 14:10 by then, and is right again now."""
    clock = [0.0, 7800.0]
    world = World(now=lambda: at(clock[0]))
    opened = SessionOpened(
        tool="batchgen",
        pid=1,
        host="here",
        cap=None,
        concurrency=1,
        manifest="m",
        endpoint="sandbox",
    )
    with Journal.open(tmp_path, world) as journal:
        await journal.durable(journal.append(opened))
        clock.pop(0)
        for event in LOST[:2]:
            await journal.durable(journal.append(event))
    with Journal.open(tmp_path, world) as journal:
        (event,) = left_open(journal, Tally.of(journal.records), iso(at(1800)))
    since, until = moment(event.window.since), moment(event.window.until)
    assert since is not None
    assert until is not None
    assert min(since, until) <= at(600) <= max(since, until)


@pytest.mark.anyio
async def test_what_the_history_no_longer_keeps_is_not_absent(tmp_path: Path) -> None:
    """The service forgets after seven days, though it shows what was made since."""
    late = 8 * 86_400
    new = row("stranger", late - 3600, DOG)
    assert await settled(tmp_path, clock=late, others=(new,)) == []


CAT_PICTURE = "sha256:" + "c" * 64
SHOWN = {**CAT, "image": "https://cdn.example/cat.jpg"}
WITH_PICTURE: tuple[Event, ...] = (
    MediaUploaded(ref=CAT_PICTURE, url=SHOWN["image"], until=iso(at(9))),
    structs.replace(LOST[0], input={**CAT, "image": CAT_PICTURE}),
    *LOST[1:],
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (SHOWN, ["AttemptAccepted"]),
        # The service may keep a picture under an address of its own: no proof.
        ({**CAT, "image": "https://elsewhere.example/1"}, []),
        ({**DOG, "image": "https://elsewhere.example/1"}, ["AttemptAbsent"]),
        (DOG, ["AttemptAbsent"]),
    ],
    ids=["ours", "perhaps ours", "another prompt", "without a picture"],
)
async def test_a_lost_clip_of_a_picture_is_found_by_our_address_alone(
    tmp_path: Path, body: Mapping[str, Any], found: list[str]
) -> None:
    listed = row("p", 0.5, body)
    assert await settled(tmp_path, listed, events=WITH_PICTURE) == found
