"""Where an event becomes a fact: tally, journal and observers, in one breath."""

import traceback
from pathlib import Path
from typing import Protocol

from batchgen.errors import JournalError, StoreError
from batchgen.events import AttemptAccepted, Event, TaskPlanned
from batchgen.journal import Journal
from batchgen.tally import Tally
from batchgen.task import Task


class Observer(Protocol):
    """Told of everything that happens; it decides nothing."""

    def event(self, event: Event, tally: Tally) -> None:
        """An event was taken into the tally."""

    def notice(self, text: str) -> None:
        """Something a person wants to know that is not an event."""

    def received(self, count: int) -> None:
        """Bytes of a download arrived; called from any thread."""

    def alive(self, tally: Tally) -> None:
        """A second has passed, and the run is alive."""

    def close(self) -> None:
        """The session is over."""


class Nobody:
    """An observer that hears nothing."""

    def event(self, event: Event, tally: Tally) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def received(self, count: int) -> None:
        """Nothing."""

    def alive(self, tally: Tally) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Recorder:
    """The runner's pen: nothing else appends to the journal.

    `faults` are the tracebacks of an observer that failed, `rescued` the paid ids that
    the journal did not take.
    """

    def __init__(self, journal: Journal, tally: Tally, observer: Observer) -> None:
        self.tally = tally
        self.observer = observer
        self.faults: list[str] = []
        self.rescued: list[AttemptAccepted] = []
        self._journal = journal

    def record(self, event: Event) -> int:
        """Take an event in and queue its line; its number, for `durable`.

        There is no await in here: between a check of the ledger and the reservation
        nothing can happen.

        Raises:
            JournalError: the event cannot follow what was recorded before.
            StoreError: an earlier write failed; nothing is taken in any more.
        """
        line = self._journal.line(event)
        self.tally.apply(event)
        number = self._journal.put(line)
        try:
            self.observer.event(event, self.tally)
        except Exception:  # noqa: BLE001 - whoever only watches must not end a purchase
            self.faults.append(traceback.format_exc())
        return number

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self._journal.folder

    def plan(self, task: Task) -> None:
        """Say what a task is, unless the journal says the same already."""
        event = TaskPlanned(
            task=task.id,
            slug=task.slug,
            labels=dict(task.labels),
            model=task.model,
            input=dict(task.input),
            take=task.take,
            price=task.price,
            seconds=task.seconds,
            output=task.output,
        )
        state = self.tally.states.get(task.id)
        if state is None or state.planned != event:
            self.record(event)

    async def durable(self, number: int) -> None:
        """Come back once that line is on the platter."""
        await self._journal.durable(number)

    @property
    def full(self) -> bool:
        """Whether the disk was full, and nothing may be bought until `room`."""
        return self._journal.full

    async def room(self) -> None:
        """Come back when the disk may take new purchases.

        Raises:
            StoreError: no room came back for as long as patience lasts.
        """
        await self._journal.room()

    async def keep(self, outcome: Event) -> None:
        """Write down what came of a purchase; a paid id goes somewhere in any case.

        Raises:
            StoreError: the journal took it no more.
            JournalError: it is not to be written to, or the event does not fit.
        """
        try:
            await self.write(outcome)
        except (StoreError, JournalError):
            if isinstance(outcome, AttemptAccepted):
                self.rescued.append(outcome)
                self._journal.rescue.save(outcome)
            raise

    async def write(self, event: Event) -> None:
        """Take an event in and wait until it is durable."""
        await self.durable(self.record(event))
