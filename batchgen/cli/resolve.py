"""`batchgen resolve`: settle one attempt that only a person can decide."""

import getpass
from collections.abc import Sequence
from datetime import timedelta

import anyio
import click

from batchgen.cli import exits, settings
from batchgen.cli.status import folder_of
from batchgen.errors import UsageError
from batchgen.events import AttemptAbsent, AttemptAccepted, Event, Window
from batchgen.journal import Journal
from batchgen.money import dollars
from batchgen.patterns import pattern
from batchgen.recorder import Nobody, Recorder
from batchgen.settle import left_open
from batchgen.state import Attempt, Stage, TaskState
from batchgen.tally import Tally
from batchgen.world import World, iso

_ID = pattern(r"[A-Za-z0-9_-]{1,128}")


def resolve(
    *,
    run_name: str,
    task: str,
    prediction: str | None,
    absent: bool,
    reason: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write down what a person found out; the exit code."""
    del verbose
    if bool(prediction) == absent:
        raise UsageError("say --prediction ID or --absent", rule="usage")
    if prediction and not _ID.fullmatch(prediction):
        raise UsageError(f"{prediction!r} is no id of a prediction", rule="bad-id")
    world = World()
    with Journal.open(folder_of(settings.read().outputs, run_name), world) as journal:
        tally = Tally.of(journal.records)
        ahead = tally.session.clock_offset_ms if tally.session else 0
        until = iso(world.now() + timedelta(milliseconds=ahead))
        news = left_open(journal, tally, until)
        for event in news:
            tally.apply(event)
        name, attempt = _doubt(tally, task)
        by = _who(world, reason)
        decision = _decision(tally, name, attempt, prediction, by)
        # Together with what it rests on: nothing of it is written if it is refused.
        anyio.run(
            _write,
            Recorder(journal, Tally.of(journal.records), Nobody()),
            [*news, decision],
        )
        tally.apply(decision)
    told = _told(tally.states[name], attempt, decision)
    if as_json:
        slug = _slug(tally.states[name])
        exits.answer("resolve", 0, "done", slug=slug, attempt=attempt.number, by=by)
    elif not quiet:
        click.echo(told)
    return 0


async def _write(recorder: Recorder, events: Sequence[Event]) -> None:
    for event in events:
        await recorder.write(event)


def _doubt(tally: Tally, wanted: str) -> tuple[str, Attempt]:
    """The oldest doubt of the task that is meant by slug or hash."""
    found = [
        task
        for task, state in tally.states.items()
        if wanted in (task, task[:8], _slug(state))
    ]
    if not found:
        raise UsageError(
            f"this run knows no task {wanted}",
            rule="no-task",
            advice=f"in doubt: {_list_of_doubts(tally)}",
        )
    doubts = [
        (task, attempt)
        for task in found
        for attempt in tally.states[task].attempts
        if attempt.stage is Stage.UNCERTAIN
    ]
    if not doubts:
        raise UsageError(
            f"nothing about {wanted} is in doubt",
            rule="not-in-doubt",
            advice=f"in doubt: {_list_of_doubts(tally)}",
        )
    if len({task for task, _ in doubts}) > 1:
        hashes = ", ".join(task[:8] for task, _ in doubts)
        raise UsageError(
            f"{wanted} is the name of several tasks",
            rule="ambiguous",
            advice=f"say which one: {hashes}",
        )
    return doubts[0]


def _decision(
    tally: Tally, task: str, attempt: Attempt, prediction: str | None, by: str
) -> AttemptAccepted | AttemptAbsent:
    if prediction is None:
        window = attempt.window or Window(since="", until="")
        return AttemptAbsent(
            task=task, attempt=attempt.number, scans=0, window=window, by=by
        )
    if prediction in tally.owned:
        raise UsageError(
            f"prediction {prediction} belongs to another attempt of this run",
            rule="owned",
            advice="Nothing was written.",
        )
    return AttemptAccepted(
        task=task, attempt=attempt.number, prediction=prediction, via="person", by=by
    )


def _told(
    state: TaskState, attempt: Attempt, decision: AttemptAccepted | AttemptAbsent
) -> str:
    name = f"{_slug(state)}, attempt {attempt.number}"
    if isinstance(decision, AttemptAccepted):
        return f"{name}: is prediction {decision.prediction}; the next run collects it."
    return (
        f"{name}: never arrived, its {dollars(attempt.reserve)} are free again; "
        "the next run buys the clip."
    )


def _who(world: World, reason: str) -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{world.host}: {reason}" if reason else f"{user}@{world.host}"


def _slug(state: TaskState) -> str:
    return state.planned.slug if state.planned else ""


def _list_of_doubts(tally: Tally) -> str:
    slugs = {_slug(tally.states[task]) for task, _, _ in tally.doubtful()}
    return ", ".join(sorted(slugs)) or "nothing"
