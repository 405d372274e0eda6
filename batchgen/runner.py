"""The loop: decide, do, write down."""

import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from batchgen.agenda import Agenda, Tasks
from batchgen.audit import Auditor
from batchgen.billing import Billing
from batchgen.buyer import Buyer
from batchgen.downloads import DownloadStopped
from batchgen.errors import EngineLost, JournalDamaged, StoreError
from batchgen.events import (
    ClockJumped,
    Event,
    OutputsSaved,
    PredictionFailed,
    SessionClosed,
    SessionOpened,
    TaskEvent,
)
from batchgen.feed import Feed
from batchgen.fetcher import made
from batchgen.parts import BadClip
from batchgen.perform import Local
from batchgen.plan import (
    Abandon,
    Await,
    Download,
    Policy,
    Submit,
    beside,
)
from batchgen.profile import NO_CREDIT_CODES, Limits, Profile
from batchgen.recorder import Recorder
from batchgen.settle import Settlement
from batchgen.state import Status
from batchgen.tasks import Task
from batchgen.trouble import KeyRejected


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a session buys nothing more; `signal` is the number of one, or 0."""

    reason: str
    message: str = ""
    signal: int = 0


T = TypeVar("T")

_SELDOM = 20  # times as long as a look at the bill takes, before the next one


class Runner:
    """One session of one run.

    Attributes:
        stopped: why nothing more is bought, if so.
        failure: the disk or the state file ended the session.
        bugs: what went wrong that nobody foresaw; the run ends with 70.
    """

    def __init__(
        self,
        recorder: Recorder,
        perform: Local,
        settlement: Settlement,
        *,
        profile: Profile,
        policy: Policy,
        limits: Limits,
        service_time: Callable[[], str],
        auditor: Auditor | None = None,
    ) -> None:
        self.stopped: Stop | None = None
        self.stopping = anyio.Event()
        self.failure: StoreError | JournalDamaged | None = None
        self.bugs: list[str] = []
        self._recorder = recorder
        self._tally = recorder.tally
        self._observer = recorder.observer
        self._perform = perform
        self._backlog = perform.fetcher.backlog
        self._settlement = settlement
        self._profile = profile
        self._policy = policy
        self._limits = limits
        self._buyer = Buyer(
            recorder,
            perform,
            profile=profile,
            limits=limits,
            service_time=service_time,
            stop=self.stop,
            fingerprint=settlement.fingerprint,
            groups=settlement.groups,
        )
        self._auditor = auditor
        self._billing = Billing(recorder, settlement.client, self.stop)
        self._scope = anyio.CancelScope()
        self._feed: Feed | None = None
        self._tasks: Tasks | None = None
        self._failures_in_a_row = 0
        self._found_late = False
        self._left = False
        self._agenda = Agenda(self._tally, policy)

    @property
    def short_of_money(self) -> bool:
        """Whether the cap did not cover a task."""
        return self._buyer.short_of_money

    async def run(
        self, opening: SessionOpened, news: Iterable[Event], tasks: Tasks
    ) -> None:
        """Do everything that is not done, and settle what is in doubt.

        Args:
            opening: how this session begins.
            news: what was found before anything is done: attempts that a dead
                session left open, files that are gone, elements that are known.
            tasks: the expansion.

        Raises:
            StoreError: the state file or a clip cannot be written.
        """
        await self._recorder.write(opening)
        for event in news:
            await self._recorder.write(event)
        with self._scope:
            try:
                await self._all(tasks)
            except* (StoreError, JournalDamaged) as errors:
                self._break(_first(errors))
        if isinstance(self.failure, StoreError) and not self._left:
            with anyio.CancelScope() as self._scope:
                await self._watch_on()
        self.bugs += self._recorder.faults

    async def _all(self, tasks: Tasks) -> None:
        await self._settlement.look()
        await self._billing.look()
        await self._audit(tasks)
        async with anyio.create_task_group() as beside_it:
            beside_it.start_soon(self._aside, self._open_slots)
            beside_it.start_soon(self._aside, self._settle_meanwhile, tasks)
            beside_it.start_soon(self._aside, self._mind_the_bill)
            await self._rounds(tasks)
            while not self.stopped and await self._settle_again():
                self._found_late = False
                await self._rounds(tasks)
            beside_it.cancel_scope.cancel()
        await self._billing.look()
        if self._auditor:
            await self._auditor.this_one()

    async def _audit(self, tasks: Tasks) -> None:
        """Look for what earlier sessions lost; after a repair that is a must."""
        if self._auditor is None:
            return
        if not self._tally.unaudited:
            await self._auditor.earlier()
            return
        states = self._tally.states.values()
        bought = {state.planned.model for state in states if state.planned}
        models = bought | {task.model for task in tasks()}
        await self._auditor.whole(models, self.stop)

    async def _aside(self, work: Callable[..., Awaitable[None]], *what: Any) -> None:
        """What goes on beside the buying must not end it."""
        try:
            await work(*what)
        except (StoreError, JournalDamaged) as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - it is reported as a bug
            self.bugs.append(traceback.format_exc())
            self._observer.notice(f"bug in batchgen: {error!r}")

    async def _open_slots(self) -> None:
        await self._buyer.has_bought.wait()
        assert self._buyer.first is not None  # noqa: S101 - it is set with the event
        by_body = await self._settlement.shows(self._buyer.first)
        self._buyer.open_slots(by_body=by_body)

    async def _settle_meanwhile(self, tasks: Tasks) -> None:
        """A history shows inputs for an hour only: doubts do not wait for the morning.

        What is found is paid, so it is collected in this session.
        """
        while True:
            await anyio.sleep(self._profile.settle_every)
            found = set(await self._settlement.look())
            if found and self._feed:
                self._found_late = True
                for task in self._found(tasks, found):
                    self._feed.found(task)

    async def _mind_the_bill(self) -> None:
        took = 0.0
        while True:
            # A look is as long as the run: it must not become what a run does.
            await anyio.sleep(max(self._profile.billing_every, took * _SELDOM))
            began = anyio.current_time()
            await self._billing.look()
            took = anyio.current_time() - began
            self._buy_on()

    def _buy_on(self) -> None:
        """Money that came back is for those that it did not cover before."""
        if self._feed is None or self._tasks is None or self.stopped:
            return
        if self._buyer.money_is_back():
            self._feed.renew(self._agenda.unfinished(self._tasks))

    def _found(self, tasks: Tasks, ids: AbstractSet[str]) -> Iterator[Task]:
        wanted = {task.id: task for task in tasks() if task.id in ids}
        for task in ids:
            yield wanted.get(task) or self._agenda.bought(task)

    async def _settle_again(self) -> bool:
        moved = await self._settlement.wait_and_look(self.stopping)
        if self.short_of_money:
            await self._billing.look()
        return moved or self._found_late or self._buyer.money_is_back()

    async def note_jump(self, ahead: float) -> None:
        """The time of day was set by so many seconds."""
        self._settlement.client.clock.was_set()
        event = ClockJumped(ahead_ms=round(ahead * 1000))
        await self._aside(self._recorder.write, event)
        self._observer.notice(
            f"the clock of this machine was set by {ahead:+.0f} s; nothing depends on "
            "it but what is shown and the deadline"
        )

    async def close(self, code: int, reason: str) -> None:
        """Write down how the session ended."""
        ledger = self._tally.ledger
        event = SessionClosed(
            exit=code, reason=reason, spent=ledger.spent, committed=ledger.committed
        )
        await self._recorder.write(event)

    def stop(self, reason: str, message: str = "", number: int = 0) -> None:
        """Buy nothing more; what is paid is still collected."""
        # A signal is told by the exit code, whatever had stopped the buying before.
        before = self.stopped.reason if self.stopped else None
        if before is None or (number and before != reason):
            self.stopped = Stop(reason, message, number)
            self.stopping.set()
            if message:
                self._observer.notice(message)
        if self._feed:
            self._feed.close()
        self._buyer.close()

    def detach(self) -> None:
        """Leave paid clips to the next session; submissions under way still end."""
        self._left = True
        self._abort()

    def _abort(self) -> None:
        self._perform.fetcher.engine.stop()
        self._scope.cancel()

    async def _rounds(self, tasks: Tasks) -> None:
        """Elements first: clips whose elements are not there are passed over."""
        first = next(iter(tasks()), None)
        if first is not None and first.kind == "element":
            await self._round(partial(_elements, tasks), _is_element)
        await self._round(tasks)

    async def _round(
        self, tasks: Tasks, paid: Callable[[Task], bool] = lambda _: True
    ) -> None:
        """Once over these tasks, until every slot is free and every file is fetched.

        Args:
            tasks: to buy, or to give up.
            paid: which of those that are bought are collected as well.
        """
        self._buyer.short_of_money = False  # what was absent has given its money back
        self._tasks = tasks
        self._feed = feed = Feed(
            filter(paid, self._agenda.paid(tasks)), self._agenda.unfinished(tasks)
        )
        if self.stopped:
            feed.close()
        slots = min(
            self._limits.concurrency,
            max(1, self._tally.total + len(self._tally.states)),
        )
        self._backlog.open()
        async with anyio.create_task_group() as fetching:
            fetching.start_soon(self._fetch_all, fetching)
            async with anyio.create_task_group() as working:
                for _ in range(slots):
                    working.start_soon(self._work, feed)
            self._backlog.close()

    async def _work(self, feed: Feed) -> None:
        """A worker is a slot: at most one paid prediction in flight."""
        while (task := await feed.take()) is not None:
            rest: float | None = None
            try:
                rest = await self._guarded(task, self._drive(task, feed))
                await self._guarded(task, self._gather(task))
            finally:
                feed.give_back(task, again_in=rest)
                self._buy_on()

    async def _drive(self, task: Task, feed: Feed) -> float | None:
        """Take a task as far as a slot is needed; seconds to wait if it must rest."""
        while (step := self._agenda.next(task)) is not None:
            match step:
                case Submit() if self._agenda.must_rest(step):
                    return step.delay
                case Submit():
                    if not await self._buy(step, feed):
                        return None
                case Await():
                    if not await self._await(step):
                        return None
                case Download() if task.kind == "element":
                    await self._recorder.write(self._made(step))
                case Download():
                    await self._backlog.put(step)
                    return None
                case Abandon():
                    await self._abandon(step)
        return None

    async def _abandon(self, step: Abandon) -> None:
        if self._agenda.state(step.task).planned is None:
            self._recorder.plan(step.task)
        await self._recorder.write(await self._perform(step))

    async def _gather(self, task: Task) -> None:
        """Collect what older attempts made; they are paid as well."""
        while step := beside(task, self._agenda.state(task)):
            match step:
                case Await():
                    if not await self._await(step):
                        return
                case Download() if task.kind == "element":
                    await self._recorder.write(self._made(step))
                case _:
                    await self._recorder.write(await self._perform(step))

    def _made(self, step: Download) -> TaskEvent:
        return made(step, known=step.task.id in self._tally.elements)

    async def _buy(self, step: Submit, feed: Feed) -> bool:
        bought = await self._buyer.buy(step)
        if self.short_of_money:
            feed.nothing_new()
        return bought

    async def _await(self, step: Await) -> bool:
        """Wait for a prediction; one that takes too long stays collectable."""
        with anyio.move_on_after(self._policy.task_timeout):
            event = await self._perform(step)
            await self._recorder.write(event)
            self._learn(event)
            return True
        return False

    def _learn(self, event: TaskEvent) -> None:
        """What the end of one prediction says about all that are still to buy."""
        if not isinstance(event, PredictionFailed):
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        if event.code in NO_CREDIT_CODES:
            self.stop("credit", event.message)
        elif self._failures_in_a_row == self._policy.stop_after_failures:
            count = self._failures_in_a_row
            clips = "clips in a row" if count > 1 else "clip"
            self.stop("breaker", f"{count} {clips} failed; buying stops here")

    def _break(self, error: StoreError | JournalDamaged) -> None:
        self.failure = self.failure or error
        self.stop("disk" if isinstance(error, StoreError) else "state")
        self._abort()

    async def _watch_on(self) -> None:
        """Where nothing can be written: see what is paid to its end, for people.

        The next session asks again and fetches the clips.
        """
        paid = {
            name: (len(state.attempts), state.prediction)
            for name, state in self._tally.states.items()
            if state.status is Status.RENDERING
        }
        for found in self._recorder.rescued:
            paid[found.task] = (found.attempt, found.prediction)
        if not paid:
            return
        self._observer.notice(
            f"{self.failure}\nNothing more is bought. {len(paid)} paid clips are "
            "watched to their end; the next run collects them. Ctrl-C to leave now."
        )
        async with anyio.create_task_group() as watching:
            for name, what in paid.items():
                step = Await(self._agenda.bought(name), *what)
                watching.start_soon(self._aside, self._see, step)

    async def _see(self, step: Await) -> None:
        with anyio.move_on_after(self._policy.task_timeout):
            try:
                event = await self._perform(step)
            except KeyRejected as error:
                self._observer.notice(f"the key was refused: {error.message}")
                return
            word = "finished"
            if isinstance(event, PredictionFailed):
                word = f"failed: {event.message}"
            self._observer.notice(f"{step.task.slug}: {step.prediction} {word}")
            with suppress(StoreError):  # the state file may be sound
                await self._recorder.write(event)

    async def _fetch_all(self, fetching: TaskGroup) -> None:
        """One more task for downloads whenever none of them takes what waits."""
        while (step := await self._backlog.take()) is not None:
            fetching.start_soon(self._fetch_on, step)

    async def _fetch_on(self, step: Download | None) -> None:
        while step is not None:
            await self._fetch_one(step)
            step = self._backlog.ready()

    async def _fetch_one(self, step: Download) -> None:
        try:
            await self._guarded(step.task, self._fetch(step))
        finally:
            here = self._agenda.state(step.task).status is Status.DONE
            self._backlog.done(step, brought=here)

    async def _fetch(self, step: Download) -> None:
        state = self._agenda.state(step.task)
        if state.files and state.saved_by != step.attempt:
            # Bought again: the clip of before makes room.
            retired = await self._perform.retire(step.task, state.files)
            await self._recorder.write(retired)
        event = await self._perform(step)
        await self._recorder.write(event)
        flagged = self._tally.states[step.task.id].flagged
        if flagged and self._policy.quarantine and isinstance(event, OutputsSaved):
            moved = await self._perform.quarantine(step.task, event.files)
            await self._recorder.write(moved)

    async def _guarded(self, task: Task, work: Awaitable[T]) -> T | None:
        """One task's trouble must not end its siblings; a broken disk ends all."""
        try:
            return await work
        except DownloadStopped:
            pass
        except BadClip as error:
            self._observer.notice(f"{task.slug}: {error.message}")
        except KeyRejected as error:
            self.stop("key", f"the key was refused ({error.http}): {error.message}")
        except EngineLost as error:
            # Its clips stay with the service, and so do predictions under way.
            self.stop("network", error.message)
            self.detach()
        except (StoreError, JournalDamaged) as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - it is reported as a bug
            self.bugs.append(f"{task.slug}\n{traceback.format_exc()}")
            self._observer.notice(f"bug in batchgen at {task.slug}: {error!r}")
        return None


def _first(
    errors: ExceptionGroup[StoreError | JournalDamaged],
) -> StoreError | JournalDamaged:
    one = errors.exceptions[0]
    return _first(one) if isinstance(one, ExceptionGroup) else one


def _is_element(task: Task) -> bool:
    return task.kind == "element"


def _elements(tasks: Tasks) -> Iterable[Task]:
    """They come before the clips that show them."""
    return takewhile(_is_element, tasks())
