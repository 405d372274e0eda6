"""What only a person may do to a state file, and the taking in of rescued ids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zlib import crc32

from batchgen.disk import read_all
from batchgen.errors import UsageError
from batchgen.events import AttemptAccepted, Event, Imported, Resealed
from batchgen.journal import refuse_rollback
from batchgen.recorder import Recorder
from batchgen.records import Record, encode
from batchgen.replay import Edited, Replay, replay, reseal
from batchgen.rescue import found, put_away, waiting
from batchgen.state import Stage
from batchgen.statefile import StateFile
from batchgen.tally import Tally
from batchgen.world import World


class Repair:
    """A locked state file that may be one which no session would open.

    Use as a context; nothing is changed but by `reseal` and `accept`.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self._world = world
        self._file = StateFile.open(folder, world)
        self._data = b""

    def __enter__(self) -> Self:
        self._data = self._file.read_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def edits(self) -> list[Edited]:
        """The lines whose checksums do not fit.

        Raises:
            JournalDamaged: more is wrong than that; resealing would hide it.
        """
        return reseal(self._data)[1]

    def reseal(self, by: str) -> Resealed:
        """Take the file as it reads now; what it was is kept beside it.

        An older copy stays one: the high-water mark moves along with the record.

        Raises:
            JournalDamaged: more is wrong than checksums.
            StoreError: it cannot be written; the old file stands.
        """
        mended, edits = reseal(self._data)
        event = Resealed(
            what="edited", by=by, lines=tuple(edit.number for edit in edits)
        )
        mark = self._file.mark()
        last = replay(mended).last
        kept = f"edited-{last}-{crc32(self._data):08x}"
        self._file.keep(kept, self._data)
        if mark is not None and mark[0] > last:
            self._file.set_mark(mark[0] + 1, mark[1])
        self._file.exchange(self._with(mended, event))
        return event

    def lost(self) -> int:
        """How many records were once written and are not in this copy.

        Raises:
            JournalDamaged: it is edited or damaged besides.
        """
        mark = self._file.mark()
        last = replay(self._data).last
        return max(0, mark[0] - last) if mark is not None else 0

    def accept_rollback(self, by: str, *, audited: bool) -> Resealed:
        """Go on with an older copy.

        Raises:
            StoreError: it cannot be written; the old file stands.
        """
        event = Resealed(what="rollback", by=by, lost=self.lost(), audited=audited)
        self._write(event)
        return event

    def accept_endpoint(self, endpoint: str, by: str) -> Resealed:
        """Say that the run belongs to another endpoint.

        Raises:
            JournalDamaged: the file is not sound.
            StoreError: it cannot be written; the old file stands.
        """
        refuse_rollback(self._file.mark(), replay(self._data))
        event = Resealed(what="endpoint", by=by, endpoint=endpoint)
        self._write(event)
        return event

    def records(self) -> tuple[Record, ...]:
        """What this copy holds."""
        return replay(self._data).records

    def tally(self) -> Tally:
        """Where the run stands by this copy."""
        return Tally.of(self.records())

    def _write(self, event: Event) -> None:
        """The whole file anew with one record more, and its mark."""
        data = self._with(self._data, event)
        self._file.exchange(data)
        self._file.set_mark(replay(data).last, len(data))

    def _with(self, data: bytes, event: Event) -> bytes:
        whole: Replay = replay(data)
        kept = data[: whole.keep] + (b"\n" if whole.unended else b"")
        if whole.torn:
            self._file.keep(
                f"torn-{whole.last + 1}-{crc32(whole.torn):08x}", whole.torn
            )
        return kept + encode(Record(whole.last + 1, self._world.stamp(), event))


@dataclass(frozen=True, slots=True)
class Import:
    """What a text of rescued ids means for a run.

    Attributes:
        new: to be written down.
        known: how many the journal has already.
        problems: sentences about ids that do not fit.
    """

    new: tuple[AttemptAccepted, ...]
    known: int
    problems: tuple[str, ...]


def judge(tally: Tally, events: Iterable[AttemptAccepted]) -> Import:
    """Hold rescued ids against the journal; nothing is changed."""
    new: dict[tuple[str, int], AttemptAccepted] = {}
    known, problems = 0, []
    for event in events:
        state = tally.states.get(event.task)
        attempts = state.attempts if state else ()
        key = event.task, event.attempt
        one = attempts[event.attempt - 1] if event.attempt <= len(attempts) else None
        what = f"{event.prediction} of task {event.task[:8]}, attempt {event.attempt}"
        if one is not None and one.prediction == event.prediction:
            known += 1
        elif key in new:
            if new[key].prediction != event.prediction:
                problems.append(f"{what}: the same attempt has two ids")
        elif one is None:
            problems.append(f"{what}: this run never began that attempt")
        elif one.stage not in (Stage.OPEN, Stage.UNCERTAIN):
            problems.append(f"{what}: the journal says it is {one.stage}")
        elif event.prediction in tally.owned:
            problems.append(f"{what}: the prediction belongs to another attempt")
        else:
            new[key] = event
    return Import(tuple(new.values()), known, tuple(problems))


async def take_in(recorder: Recorder, run: Path, world: World) -> None:
    """Import what an earlier session of this run could not write down.

    Raises:
        StoreError: the journal takes it still not.
    """
    for path in waiting(run, world):
        try:
            text = read_all(world.disk, path).decode("utf-8", "replace")
        except OSError as error:
            recorder.observer.notice(f"cannot read {path}: {error.strerror}")
            continue
        verdict = judge(recorder.tally, (line.event for line in found(text)))
        await write_import(recorder, verdict, path.name, by="")
        for problem in verdict.problems:
            recorder.observer.notice(f"{path.name}: {problem}")
        if not verdict.problems:
            put_away(path, world.disk)


async def write_import(
    recorder: Recorder, verdict: Import, source: str, *, by: str
) -> None:
    """Write rescued ids down, and where they came from.

    Raises:
        StoreError: the journal does not take it.
    """
    for event in verdict.new:
        await recorder.write(event)
    if verdict.new:
        accepted = len(verdict.new)
        await recorder.write(Imported(source=source, accepted=accepted, by=by))


def rescued(text: str, run: str) -> Sequence[AttemptAccepted]:
    """The ids of one run in a text.

    Raises:
        UsageError: there is none, or they are of another run.
    """
    lines = list(found(text))
    mine = [line.event for line in lines if line.run == run]
    if mine:
        return mine
    others = ", ".join(sorted({line.run for line in lines}))
    raise UsageError(
        f"these lines are of another run: {others}" if lines else "no whole line in it",
        rule="nothing-to-import",
        advice="A line begins with BATCHGEN-RECOVER and ends with its checksum; paste "
        "it whole. Nothing was changed.",
    )
