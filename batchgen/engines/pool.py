"""The driver's side of a cluster: leases to workers, and takes back from the dead."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from batchgen import frames
from batchgen.engines.lease import Brought, Lease, News
from batchgen.engines.leases import MOST_DEATHS, Leases
from batchgen.errors import EngineLost, UsageError
from batchgen.parts import BadClip

SLOTS = 4
"""Downloads at once in one worker: as many as in one process without a cluster."""

_DEPTH = 2 * SLOTS
_LOOK = 0.5  # seconds between two looks at who is there
_LONG = 10.0  # of a poll
_GRACE = 30.0  # beyond it a worker is taken for dead
_SILENT = 10.0  # a scheduler that says nothing for so long is lost
_WELCOME = 60.0  # for the first worker, before anything is bought
_VACANT = 600.0  # later on: a queue may give workers back
_FAREWELL = 5.0
_REST = 5.0  # before a worker that broke, and is still there, is tried again
_NOTHING = "Nothing was submitted. Start workers that fit, or run without --engine."


class Unfit(UsageError):
    """A worker that cannot be used, however long it is there."""

    rule = "unfit-worker"


class Hands(Protocol):
    """A worker as the driver has hold of it; what it raises means that it is dead."""

    async def start(self, leases: Sequence[Lease]) -> None:
        """Fetch these as well."""

    async def events(self, max_wait: float) -> News:
        """What came of them; waits for something to tell."""

    async def close(self) -> None:
        """End downloads under way."""


class Cluster(Protocol):
    """Where workers come from."""

    async def addresses(self) -> AbstractSet[str]:
        """Who is there; what it raises means that the cluster does not answer."""

    async def hire(self, address: str) -> Hands:
        """Make a worker ready.

        Raises:
            Unfit: this one will never be.
        """


class Pool:
    """An engine on a cluster. Workers come and go while it works.

    Fetching is idempotent, so whatever goes wrong with a worker, and whatever became
    of its leases, they are given to another one.
    """

    def __init__(
        self,
        cluster: Cluster,
        tell: Callable[[str], None],
        folder: Path,
        *,
        posters: bool = False,
    ) -> None:
        self._cluster = cluster
        self._tell = tell
        self._folder = folder
        self._posters = posters
        self._leases = Leases(_DEPTH)
        self._outcomes: dict[str, _Outcome] = {}
        self._outboxes: dict[str, MemoryObjectSendStream[Sequence[Lease]]] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._unfit: dict[str, str] = {}
        self._received: Callable[[int], None] = lambda _count: None
        self._staffed = anyio.Event()
        self._lost: EngineLost | None = None
        self._stopped = False

    @property
    def at_once(self) -> int:
        """What the workers of this moment hold: a link that waits here would expire."""
        return max(1, self.workers) * _DEPTH

    @property
    def workers(self) -> int:
        """How many are at work."""
        return self._leases.workers

    async def bring(self, lease: Lease) -> Brought:
        """Have the outputs of a prediction fetched by some worker.

        Raises:
            BatchgenError: what the worker said; see `Engine.bring`.
        """
        if self._lost is not None:
            raise self._lost
        outcome = self._outcomes[lease.key] = _Outcome()
        self._leases.add(replace(lease, posters=self._posters))
        self._deal()
        try:
            await outcome.there.wait()
        finally:
            del self._outcomes[lease.key]
            self._leases.drop(lease.key)
        if isinstance(outcome.value, Exception):
            raise outcome.value
        assert outcome.value is not None  # noqa: S101 - it is set before the event
        if outcome.value.pictures:
            await run_sync(frames.unpack, self._folder, outcome.value.pictures)
        return outcome.value

    async def ready(self) -> None:
        """Come back when a worker is there.

        Raises:
            EngineLost: none will be.
        """
        if not self.workers and self._lost is None:
            await self._staffed.wait()
        if self._lost is not None:
            raise self._lost

    def hear(self, received: Callable[[int], None]) -> None:
        """Tell of bytes, whenever a worker tells."""
        self._received = received

    def stop(self) -> None:
        """Let workers go; they keep the parts of what they have not finished."""
        self._stopped = True
        for scope in self._scopes.values():
            scope.cancel()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Look who is there, for as long as it is not cancelled.

        Started when the first worker is ready.

        Raises:
            EngineLost: nobody came.
            Unfit: all that came cannot be used.
        """
        async with anyio.create_task_group() as group:
            await self._welcome(group)
            task_status.started()
            try:
                await self._watch(group)
            except EngineLost as error:
                self._lose(error)
            group.cancel_scope.cancel()

    async def _welcome(self, group: TaskGroup) -> None:
        """Until the first worker is ready."""
        began = anyio.current_time()
        while not self.workers:
            await self._look(group)
            await anyio.sleep(_LOOK / 10)
            waited = anyio.current_time() - began
            if self._unfit and waited > _SILENT / 2:
                why = next(iter(self._unfit.values()))
                raise Unfit(f"no worker can be used: {why}", advice=_NOTHING)
            if waited > _WELCOME:
                raise EngineLost("no worker has joined the cluster", advice=_NOTHING)

    async def _watch(self, group: TaskGroup) -> None:
        """Until the cluster is lost."""
        heard = staffed = anyio.current_time()
        told = False
        while True:
            await anyio.sleep(_LOOK)
            now = anyio.current_time()
            try:
                await self._look(group)
                heard = now
            except Exception as error:
                if now - heard > _SILENT:
                    raise _gone("the cluster's scheduler does not answer") from error
            if self.workers or self._stopped:
                staffed, told = now, False
                continue
            if not told:
                told = True
                self._tell(
                    "no worker is left. Downloads wait for one, and nothing is bought; "
                    "predictions under way are still asked about."
                )
            if now - staffed > _VACANT:
                raise _gone(f"no worker was there for {_VACANT / 60:.0f} minutes")

    async def _look(self, group: TaskGroup) -> None:
        there = await self._cluster.addresses()
        for address in there - self._scopes.keys() - self._unfit.keys():
            if not self._stopped:
                self._scopes[address] = anyio.CancelScope()
                group.start_soon(self._employ, address)
        for address in self._scopes.keys() - there:
            self._scopes[address].cancel()
        for address in self._unfit.keys() - there:
            del self._unfit[address]

    async def _employ(self, address: str) -> None:
        """One worker, from its hiring to its death."""
        try:
            with self._scopes[address] as scope:
                try:
                    worker = await self._cluster.hire(address)
                except Unfit as error:
                    self._unfit[address] = error.message
                    self._tell(f"worker {address} is not used: {error.message}")
                    return
                try:
                    await self._work(address, worker)
                finally:
                    self._leave(address)
                    with (
                        anyio.move_on_after(_FAREWELL, shield=True),
                        suppress(Exception),
                    ):
                        await worker.close()
            if scope.cancelled_caught and not self._stopped:
                self._tell(f"worker {address} has left; {self.workers} are there")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is dead
            one = first(error)
            self._tell(f"worker {address} is lost: {str(one) or type(one).__name__}")
            await anyio.sleep(_REST)
        finally:
            del self._scopes[address]

    async def _work(self, address: str, worker: Hands) -> None:
        send, receive = anyio.create_memory_object_stream[Sequence[Lease]](inf)
        with send, receive:
            self._outboxes[address] = send
            self._leases.join(address)
            self._staffed.set()
            self._deal()
            async with anyio.create_task_group() as both:
                both.start_soon(_give, worker, receive)
                while True:
                    with anyio.fail_after(_LONG + _GRACE):
                        news = await worker.events(_LONG)
                    self._take(address, news)

    def _take(self, address: str, news: News) -> None:
        self._received(news.received)
        for one in news.ended:
            if self._leases.end(address, one.key):
                self._settle(one.key, one.outcome)
        self._deal()

    def _leave(self, address: str) -> None:
        self._outboxes.pop(address, None)
        for key in self._leases.leave(address):
            self._settle(
                key,
                BadClip(
                    f"{MOST_DEATHS} workers died while they fetched it; it is paid, "
                    "and the next run tries again"
                ),
            )
        if not self.workers:
            self._staffed = anyio.Event()
        self._deal()

    def _deal(self) -> None:
        for address, leases in self._leases.deal().items():
            self._outboxes[address].send_nowait(leases)

    def _settle(self, key: str, value: Brought | Exception) -> None:
        outcome = self._outcomes.get(key)
        if outcome is not None:
            outcome.value = value
            outcome.there.set()

    def _lose(self, error: EngineLost) -> None:
        self._lost = error
        self._staffed.set()
        for key in list(self._outcomes):
            self._settle(key, error)


class _Outcome:
    """What came of one lease, once it is there."""

    def __init__(self) -> None:
        self.there = anyio.Event()
        self.value: Brought | Exception | None = None


async def _give(
    worker: Hands, batches: MemoryObjectReceiveStream[Sequence[Lease]]
) -> None:
    async for leases in batches:
        with anyio.fail_after(_GRACE):
            await worker.start(leases)


def _gone(why: str) -> EngineLost:
    return EngineLost(
        f"{why}; nothing more is bought. What is paid is safe: the same command "
        "collects it, with or without a cluster"
    )


def first(error: BaseException) -> BaseException:
    """The first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
