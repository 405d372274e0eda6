"""One session of a run: the parts put together, watched, and put away."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio

from batchgen import __version__
from batchgen.agenda import Tasks
from batchgen.answers import when
from batchgen.audit import Auditor, nobodys
from batchgen.billing import overdue
from batchgen.cli.others import Others
from batchgen.cli.settings import fingerprint
from batchgen.client import Client
from batchgen.downloads import carrier
from batchgen.engines import Engine
from batchgen.errors import ApiError, JournalError, StoreError, Unavailable
from batchgen.events import AttemptAccepted, Event, SessionOpened
from batchgen.fetcher import Fetcher
from batchgen.forecast import render_times
from batchgen.history import only
from batchgen.journal import Journal
from batchgen.models import Catalog
from batchgen.money import Micros, dollars
from batchgen.pace import Pace
from batchgen.perform import Local
from batchgen.plan import Policy
from batchgen.profile import Limits, Profile
from batchgen.recorder import Observer, Recorder
from batchgen.repairs import take_in
from batchgen.runner import Runner
from batchgen.settle import Settlement, left_open
from batchgen.shards import Shard
from batchgen.sockets import Carrier
from batchgen.tally import Tally
from batchgen.watch import clocks, deadline, heartbeat, signals, silence
from batchgen.words import clips
from batchgen.world import World, iso

_RECENT = 5000  # records; they tell of enough clips


@dataclass(frozen=True, slots=True)
class Account:
    """Whose money it is, and where it is spent."""

    base_url: str
    key: str
    profile: Profile
    proxy: str | None = None

    @property
    def endpoint(self) -> str:
        """As the journal names it: sandboxes change their ports."""
        return "sandbox" if self.profile.name == "sandbox" else self.base_url

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without telling the key."""
        return fingerprint(self.key)


@dataclass(frozen=True, slots=True)
class Terms:
    """How this session may go about it."""

    policy: Policy
    limits: Limits
    cap: Micros | None
    manifest: str
    deadline: datetime | None = None
    deadline_text: str = ""
    session_cap: Micros | None = None
    shard: Shard | None = None
    carries_on: bool = False
    day: str = ""
    links: str = ""


def check_endpoint(tally: Tally, account: Account) -> None:
    """Ids of one server mean nothing at another, and the key would go to a new host.

    Raises:
        JournalError: the run belongs to another endpoint.
    """
    before = tally.endpoint or account.endpoint
    if before != account.endpoint:
        raise JournalError(
            f"this run was bought at {before}, not at {account.endpoint}",
            rule="other-endpoint",
            advice="Nothing was submitted. Use --run NAME for a run of its own. If the "
            "service has moved: batchgen state RUN accept-endpoint.",
        )


def connected(
    account: Account, reads: tuple[int, float], world: World
) -> AbstractAsyncContextManager[Client]:
    """A client for the account that looks at most so often in so many seconds."""
    return Client.connect(
        account.base_url,
        account.key,
        pace=Pace(*reads),
        now=world.now,
        awake=world.awake,
        proxy=account.proxy,
        network=world.network,
        loopback=account.profile.loopback,
    )


async def first_contact(
    client: Client, account: Account, warn: Callable[[str], None], done: int = 0
) -> Micros | None:
    """The account's balance, or None where it is not told; `done` clips are there.

    Raises:
        ApiError: the key is refused, or nobody tells what time it is there: without
            that nothing could be found again in the account's history.
    """
    began = anyio.current_time()
    while True:
        try:
            return await client.balance()
        except Unavailable as error:
            if error.http == 401:  # noqa: PLR2004
                raise _bad_key(done) from error
            if client.clock.known:
                warn(f"the balance cannot be read: {error.message}")
                return None
            if anyio.current_time() - began > account.profile.patience:
                raise _silent(error, account) from error
            await anyio.sleep(account.profile.backoff_first)


@dataclass(frozen=True, slots=True)
class Session:
    """Everything one session works with."""

    account: Account
    terms: Terms
    client: Client
    journal: Journal
    tally: Tally
    observer: Observer
    world: World
    engine: Engine | None = None
    store: str = ""

    async def run(
        self,
        tasks: Tasks,
        news: Sequence[Event],
        models: Catalog,
        ending: Callable[[Runner], tuple[int, str]],
    ) -> Runner:
        """Run to the end and write down how it ended.

        Args:
            tasks: the expansion.
            news: what was found before the session.
            models: tell which request bodies ask for the same thing.
            ending: exit code and reason of a runner that has ended.

        Raises:
            StoreError: the state file cannot be written from the start.
        """
        with closing(self.world.files or carrier(proxy=self.account.proxy)) as files:
            return await self._run(files, tasks, news, models, ending)

    async def _run(
        self,
        files: Carrier,
        tasks: Tasks,
        news: Sequence[Event],
        models: Catalog,
        ending: Callable[[Runner], tuple[int, str]],
    ) -> Runner:
        recorder = Recorder(self.journal, self.tally, self.observer)
        runner = self._runner(recorder, files, models)
        await take_in(recorder, self.journal.folder, self.world)
        doubts = sum(1 for _ in self.tally.doubtful())
        await self.journal.hold(doubts + self.terms.limits.concurrency)
        until = self.client.clock.latest()
        found: list[Event] = [*left_open(self.journal, self.tally, until), *news]
        self._tell_of_refunds()
        async with anyio.create_task_group() as group:
            await group.start(
                signals,
                runner,
                self.tally,
                self.observer,
                self.world,
                self.account.profile.drain,
            )
            group.start_soon(silence, runner, self.client, self.account.profile)
            group.start_soon(heartbeat, self.tally, self.observer)
            group.start_soon(clocks, runner, self.world)
            if self.terms.deadline is not None:
                last = self.terms.deadline
                await group.start(deadline, runner, last, self.tally, self.world)
            await runner.run(self._opening(), found, tasks)
            group.cancel_scope.cancel()
        if runner.failure is None:
            try:
                await runner.close(*ending(runner))
            except StoreError as error:
                runner.failure = error
        self.observer.close()
        return runner

    def _tell_of_refunds(self) -> None:
        late = overdue(self.tally, self.journal.records, self.world.now())
        if late:
            self.observer.notice(
                f"{dollars(late)} expected back from failed clips are overdue: it is "
                "over three hours, and no refund was seen. They stay held."
            )

    def _runner(self, recorder: Recorder, files: Carrier, models: Catalog) -> Runner:
        account, terms, world = self.account, self.terms, self.world
        videos = self.journal.folder / "videos"
        fetcher = Fetcher(
            self.client,
            files,
            account.profile,
            videos,
            world,
            sidecars=terms.policy.sidecars,
            engine=self.engine,
            store=self.store,
        )
        for model, took in render_times(self.journal.records[-_RECENT:]):
            fetcher.polls.recall(model, took)
        fetcher.hear(self.observer.received)
        fetcher.space.notice = fetcher.backlog.notice = self.observer.notice
        for prediction, moment in self._born():
            fetcher.backlog.born(prediction, moment)
        perform = Local(self.client, fetcher, account.profile, videos, world)
        settlement = Settlement(
            recorder,
            self.client,
            account.profile,
            terms.policy,
            fingerprint_by(models),
            world,
            alone=terms.shard is None,
        )
        shard, folder = terms.shard, self.journal.folder
        others = Others(folder, shard, models).now if shard else lambda: nobodys
        return Runner(
            recorder,
            perform,
            settlement,
            profile=account.profile,
            policy=terms.policy,
            limits=terms.limits,
            service_time=self.client.clock.latest,
            auditor=Auditor(
                recorder, self.client, account.profile, self.journal.records, others
            ),
        )

    def _born(self) -> Iterator[tuple[str, float]]:
        """When what is still to be brought in was accepted."""
        states = self.tally.states
        paid = {
            one.prediction
            for task in self.tally.in_flight()
            for one in states[task].attempts
        }
        for record in only(self.journal.records, AttemptAccepted) if paid else ():
            event = record.event
            if isinstance(event, AttemptAccepted) and event.prediction in paid:
                moment = when(record.at)
                if moment is not None:
                    yield event.prediction, moment.timestamp()

    def _opening(self) -> SessionOpened:
        until = self.terms.deadline
        return SessionOpened(
            tool=f"batchgen {__version__}",
            pid=os.getpid(),
            host=self.world.host,
            boot=self.world.boot,
            cap=self.terms.cap,
            concurrency=self.terms.limits.concurrency,
            manifest=self.terms.manifest,
            endpoint=self.account.endpoint,
            key=self.account.fingerprint,
            clock_offset_ms=round(self.client.clock.offset * 1000),
            deadline=iso(until) if until else "",
            deadline_text=self.terms.deadline_text,
            day=self.terms.day,
            links=self.terms.links,
            continues=self.terms.carries_on,
            session_cap=self.terms.session_cap,
            session_spent=self.tally.ledger.begun if self.terms.carries_on else 0,
        )


def fingerprint_by(models: Catalog) -> Callable[[str, Mapping[str, Any]], str]:
    """Equal for bodies that ask for the same thing."""

    def fingerprint(model: str, body: Mapping[str, Any]) -> str:
        entry = models.find(model)
        fields = entry.canonical(body) if entry else dict(body)
        return f"{model} {json.dumps(fields, sort_keys=True)}"

    return fingerprint


def _bad_key(done: int) -> ApiError:
    return ApiError(
        "the key was refused by WaveSpeed (401)",
        http=401,
        rule="bad-key",
        advice="new keys stay inactive until the account's first top-up. Stopped; "
        f"{clips(done)} done, nothing lost. Fix the key and run the same command.",
    )


def _silent(error: Unavailable, account: Account) -> ApiError:
    return ApiError(
        f"no usable answer from {account.base_url} for "
        f"{account.profile.patience:.0f} s: {error.message}",
        rule="network",
        advice="Nothing was submitted. Run the same command when it is back.",
    )
