"""Buying: the only code that spends. Check, reserve, write down, ask, write down."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from msgspec.structs import replace

from batchgen.courier import Courier
from batchgen.events import (
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    TaskEvent,
    Window,
)
from batchgen.money import Micros, dollars
from batchgen.pace import Pace
from batchgen.perform import Local
from batchgen.plan import Submit
from batchgen.profile import Limits, Profile
from batchgen.recorder import Recorder
from batchgen.settle import Fingerprint
from batchgen.slots import Groups, Slots
from batchgen.tasks import Task

_BREAKER = 3  # uncertain submissions in a row


class Buyer:
    """Submits, one intent at a time on the platter before each request.

    Attributes:
        short_of_money: the cap did not cover a task.
        lacking: the least that it did not cover.
        slots: how many submissions may be under way.
        groups: keeps submissions and the settling of equal ones apart.
        first: what this session bought first; set with `has_bought`.
    """

    def __init__(
        self,
        recorder: Recorder,
        perform: Local,
        *,
        profile: Profile,
        limits: Limits,
        service_time: Callable[[], str],
        stop: Callable[[str, str], None],
        fingerprint: Fingerprint,
        groups: Groups,
    ) -> None:
        self.short_of_money = False
        self.lacking: Micros = 0
        self.slots = Slots()
        self.groups = groups
        self.first: AttemptAccepted | None = None
        self.has_bought = anyio.Event()
        self._fingerprint = fingerprint
        self._recorder = recorder
        self._tally = recorder.tally
        self._observer = recorder.observer
        self._perform = perform
        self._courier = Courier(recorder, perform)
        self._profile = profile
        self._limits = limits
        self._service_time = service_time
        self._stop = stop
        self._closed = False
        self._starts = Pace(limits.starts, limits.seconds)
        self._queueing: set[anyio.CancelScope] = set()
        self._uncertain_in_a_row = 0
        self._told_full = False

    def close(self) -> None:
        """Buy nothing more; whoever waits for a turn waits no longer."""
        self._closed = True
        for scope in tuple(self._queueing):
            scope.cancel()

    async def buy(self, step: Submit) -> bool:
        """Buy, if that is still wanted and the cap allows it.

        Returns whether the task stands elsewhere than before, so that what is next
        must be decided anew; False if it is not bought.

        Raises:
            StoreError: the state file cannot be written.
        """
        group = self._fingerprint(step.task.model, step.task.input)
        decided_on = self._tally.states.get(step.task.id)
        while await self._ready(step.task):
            async with self.slots.hold(step.task.model):
                if self._closed or not self._affordable(step.task):
                    return False
                await self._turn()
                async with self.groups.sending(group):
                    # From this look to the reservation there is no await.
                    if self._tally.states.get(step.task.id) != decided_on:
                        return True  # its doubt was cleared up while it waited
                    if self._closed or not self._affordable(step.task):
                        return False
                    body = self._courier.sent(step.task, self._service_time())
                    if body is None:
                        continue  # a picture went out of date meanwhile
                    outcome = await self._send(step, body)
            self._learn(outcome)
            return True
        return False

    async def _ready(self, task: Task) -> bool:
        """Bring the pictures first, which is free; False if that is of no use."""
        if self._closed or not self._affordable(task):
            return False
        ready = False
        with self._waiting():
            ready = await self._courier.bring(task, self._service_time())
        return ready and not self._closed

    async def _send(self, step: Submit, body: dict[str, object]) -> TaskEvent:
        self._recorder.plan(step.task)
        event = AttemptStarted(
            task=step.task.id, attempt=step.attempt, reserve=self._bound(step.task)
        )
        since = self._service_time()
        intent = self._recorder.record(event)
        # A request that may cost money is never abandoned half way.
        with anyio.CancelScope(shield=True):
            await self._recorder.durable(intent)
            if self._recorder.full:
                outcome: TaskEvent = _held_back(event)
            else:
                # Only here are references exchanged for what the service knows.
                request = replace(step, task=replace(step.task, input=body))
                outcome = self._unowned(await self._perform(request), since)
            await self._recorder.keep(outcome)
        return outcome

    def open_slots(self, *, by_body: bool) -> None:
        """Let more than one submission be under way.

        `by_body`: the history shows what was asked for, so that equal bodies tell
        whose a lost one is. Else no two of a model may be in doubt at once.
        """
        self.slots.open(self._limits.submits, one_each=not by_body)
        if not by_body:
            self._observer.notice(
                "the account's history does not show what was asked for, so clips of a "
                "model are started one after the other: about 60 starts a minute"
            )

    def money_is_back(self) -> bool:
        """Whether what was too dear is covered by now; asked once each time."""
        if not self.short_of_money or not self._tally.ledger.covers(self.lacking):
            return False
        self.short_of_money = False
        return True

    def _bound(self, task: Task) -> Micros:
        return self._tally.bound(task.model, task.price)

    def _affordable(self, task: Task) -> bool:
        ledger, bound = self._tally.ledger, self._bound(task)
        if ledger.covers(bound):
            return True
        new = not self.short_of_money
        self.lacking = bound if new else min(self.lacking, bound)
        if new:
            which = "budget" if ledger.life_left == ledger.left else "session budget"
            self._observer.notice(
                f"{which}: the {dollars(max(0, ledger.left or 0))} left do not cover "
                f"{task.slug} ({dollars(bound)}); no new clips"
            )
        self.short_of_money = True
        return False

    async def _turn(self) -> None:
        """Wait for the rate limit and for room on disk, or for the end of buying."""
        if self._closed:
            return
        with self._waiting():
            await self._room()
            await self._starts.turn()
            await self._room()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What is done in here ends when buying ends."""
        with anyio.CancelScope() as scope:
            self._queueing.add(scope)
            try:
                yield
            finally:
                self._queueing.discard(scope)

    async def _room(self) -> None:
        """Wait for room for the state file and for the clips."""
        if self._recorder.full and not self._told_full:
            self._told_full = True
            self._observer.notice(
                f"{self._recorder.folder}: the disk is full. Nothing is bought until "
                "there was room for a while; what is paid is still collected."
            )
        await self._recorder.room()
        self._told_full = False
        await self._perform.fetcher.space.calm()
        await self._perform.fetcher.backlog.in_time(self._rendering)
        await self._perform.fetcher.engine.ready()

    def _rendering(self) -> int:
        return self._tally.everything["rendering"]

    def _unowned(self, event: TaskEvent, since: str) -> TaskEvent:
        """A prediction has one owner; an id that is somebody's proves nothing."""
        if not isinstance(event, AttemptAccepted):
            return event
        if event.prediction not in self._tally.owned:
            return event
        return AttemptUncertain(
            task=event.task,
            attempt=event.attempt,
            phase="answered",
            error=f"answered with {event.prediction}, which is another clip's",
            window=Window(since=since, until=self._service_time()),
            taken=True,
        )

    def _learn(self, event: TaskEvent) -> None:
        """What one answer says about all submissions to come."""
        match event:
            case AttemptAccepted():
                self._uncertain_in_a_row = 0
                self.first = self.first or event
                self.has_bought.set()
            case AttemptRefused(kind="key" | "credit" as kind):
                self._stop(kind, f"{event.message} (HTTP {event.http})")
            case AttemptRefused(kind="rate"):
                self._slow_down(event)
            case AttemptUncertain():
                self._uncertain_in_a_row += 1
                if self._uncertain_in_a_row >= _BREAKER:
                    self._stop(
                        "breaker",
                        f"{_BREAKER} submissions in a row got no usable answer; "
                        "buying stops here",
                    )
            case _:
                pass

    def _slow_down(self, event: AttemptRefused) -> None:
        """The account as a whole is too fast: everybody waits."""
        wait = self._profile.rate_pause
        if event.retry_after_ms is not None:
            wait = event.retry_after_ms / 1000
        rate = self._starts.halve()
        if self._starts.pause(wait):
            slower = f", slowing to {rate:.0f}/min" if rate else ""
            text = f"waiting for the account's rate limit, {wait:.0f} s{slower}"
            self._observer.notice(text)


def _held_back(intent: AttemptStarted) -> AttemptNotSent:
    """An intent that was just about written: its outcome might find no room."""
    return AttemptNotSent(
        task=intent.task,
        attempt=intent.attempt,
        phase="disk",
        error="the disk ran full before it was sent",
    )
