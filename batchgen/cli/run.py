"""`batchgen run`: buy, watch and fetch whatever of the plan is not done."""

import contextlib
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import anyio
import click

from batchgen import logbook, moves, report
from batchgen.cli import (
    checks,
    engine,
    exits,
    ground,
    question,
    results,
    settings,
    split,
    statement,
    stores,
)
from batchgen.cli.colour import say
from batchgen.cli.doctor import (
    DIRECT_NOTE,
    PROXY_NOTE,
    direct_downloads,
    unused_proxy,
)
from batchgen.cli.identities import written
from batchgen.cli.order import (
    Flags,
    Order,
    command,
    place,
    policy_of,
    session_cap_of,
)
from batchgen.cli.plan import limits_of, reads_of
from batchgen.cli.session import (
    Account,
    Session,
    Terms,
    check_endpoint,
    connected,
    first_contact,
)
from batchgen.cli.settings import Settings
from batchgen.errors import StoreError, UsageError
from batchgen.events import OutputsMissing, TaskPlanned
from batchgen.findings import render
from batchgen.given import Rate
from batchgen.journal import NAME, Journal
from batchgen.money import Micros
from batchgen.plan import Retry
from batchgen.profile import Limits, profile_of
from batchgen.progress import observers
from batchgen.progress.log import Log
from batchgen.readers import sources
from batchgen.recorder import Recorder
from batchgen.records import Record
from batchgen.runner import Runner
from batchgen.shards import Shard
from batchgen.starts import continued, deadline_of
from batchgen.stores import at_hand
from batchgen.tally import Tally
from batchgen.tasks import Task
from batchgen.world import World


@dataclass(frozen=True, slots=True)
class Wishes:
    """The flags of `run` that are not about choosing tasks."""

    yes: bool
    budget: Micros | None
    plan_id: str | None
    concurrency: int | None
    rate: Rate | None
    reads: Rate | None
    retry: Sequence[Retry]
    again: bool
    faults: str
    engine: str
    scheduler: str | None
    open_page: bool
    as_json: bool
    quiet: bool
    verbose: bool


def run(
    *,
    manifest: Path,
    select: Sequence[str],
    limit: int | None,
    run_name: str | None,
    model: str | None,
    shard: Shard | None,
    max_tasks: int,
    encoding: str | None,
    sandbox: bool,
    **wishes: Any,
) -> int:
    """Do what is left to do of a manifest; the exit code."""
    flags = Flags(select, limit, run_name, encoding, max_tasks, sandbox, model, shard)
    with contextlib.ExitStack() as stack:
        run = _Run(manifest, flags, Wishes(**wishes), stack)
        try:
            return run.perform()
        except Exception as error:
            run.tell_of(exits.single(error))
            raise


class _Run:
    """One invocation, from reading the manifest to the end summary."""

    def __init__(
        self, path: Path, flags: Flags, wishes: Wishes, stack: contextlib.ExitStack
    ) -> None:
        self._path = path
        self._wishes = wishes
        self._stack = stack
        self._world = World()
        self._settings: Settings = settings.read()
        self._order: Order = place(path, self._settings, flags)
        manifest = self._order.manifest
        self._policy = policy_of(manifest, wishes.retry, again=wishes.again)
        self._store = stores.address_of(self._order)
        self._journal: Journal | None = None
        self._tally = Tally()
        self._began = self._world.now()

    def perform(self) -> int:
        """Check, ask, buy, report."""
        engine.check(self._wishes.engine, self._wishes.scheduler)
        split.refuse_another(self._order.folder, self._order.flags.shard)
        if (self._order.folder / NAME).exists():
            self._open()
        records = self._journal.records if self._journal else ()
        self._order.begin(records, self._began)
        self._order.survey(self._tally, self._policy, carries_on=self._carries_on())
        self._tally.want(self._order.chosen, self._order.elements)
        self._approve()
        self._warn()
        missing = self._look()
        if self._idle(missing):
            return self._report(report.exit_code(self._tally.everything, idle=True))
        cap = self._cap()
        ground.check_folders(self._order, self._world)
        ground.check_disk(self._order, self._world, bucket=bool(self._store))
        account = self._account()
        check_endpoint(self._tally, account)
        return anyio.run(self._connected, account, cap, missing)

    def _open(self) -> Journal:
        if self._journal is None:
            tally = Tally()
            journal = Journal.open(self._order.folder, self._world, tally.hear)
            self._journal = self._stack.enter_context(journal)
            self._tally = tally
            gc.freeze()  # it stays to the end, so nobody need search it for circles
            shard = self._order.flags.shard
            split.refuse_another(self._order.folder, shard, held=True)
        return self._journal

    def _carries_on(self) -> bool:
        """Whether this is the start of before, which was cut short."""
        records = self._journal.records if self._journal else ()
        return continued(records, self._began) is not None

    def _approve(self) -> None:
        wanted = self._wishes.plan_id
        if wanted is not None and wanted != self._order.plan_id:
            raise UsageError(
                f"the plan is now {self._order.plan_id}, not {wanted}",
                rule="plan-changed",
                advice="Nothing was submitted. Look again with: "
                f"batchgen plan {self._path}",
            )

    def _warn(self) -> None:
        found = self._order.findings
        if found and not self._wishes.quiet:
            say(render(found, sources(found)) + "\n", err=True)

    def _look(self) -> list[OutputsMissing]:
        """See what is there of what was bought, each file below its present name."""
        there = stores.look(self._store, self._world)
        if self._tidy():
            there = stores.look(self._store, self._world)
        return list(stores.missing(self._order, self._tally, self._store, there))

    def _tidy(self) -> bool:
        """Let files follow an edit of the manifest: costs nothing, buys nothing."""
        if self._journal is None:
            return False
        tasks, states = list(self._order.tasks()), dict(self._tally.states)
        relocations = list(
            moves.relocations(tasks, states, quarantine=self._policy.quarantine)
        )
        plans = list(moves.renamed(tasks, states))
        if not (relocations or plans):
            return False
        with self._log() as log:
            recorder = Recorder(self._journal, self._tally, self._observer(log))
            anyio.run(self._move, recorder, relocations, plans)
            recorder.observer.close()
        return True

    async def _move(
        self,
        recorder: Recorder,
        relocations: Sequence[moves.Relocation],
        plans: Sequence[TaskPlanned],
    ) -> None:
        known = at_hand(self._store, self._order.folder / "videos", self._world)
        for relocation in relocations:
            moved = moves.carry_out(relocation, known)
            if moved is not None:
                await recorder.write(moved)
        for plan in plans:
            await recorder.write(plan)

    def _idle(self, missing: Sequence[OutputsMissing]) -> bool:
        """Nothing to buy, to collect or to settle: no key and no network needed."""
        tally = self._tally
        busy = self._order.plan.buys or missing or any(tally.in_flight())
        return not busy and not any(tally.doubtful())

    def _cap(self) -> Micros | None:
        budget, ceiling = self._wishes.budget, self._settings.ceiling
        return ground.cap(
            self._order, budget, ceiling, self._tally.ledger.committed, _tell
        )

    def _account(self) -> Account:
        """The make-believe account, or the real one."""
        if self._order.flags.sandbox:
            from batchgen.sandbox.launch import launch  # noqa: PLC0415 - an extra

            data = self._order.folder / "sandbox"
            try:
                data.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ground.unwritable(data, error.strerror) from error
            addresses = self._stack.enter_context(
                launch(data, faults=self._wishes.faults)
            )
            base_url, key = addresses.api, "sandbox"
        else:
            base_url, key = self._settings.base_url, self._settings.key
        if not key:
            raise UsageError(
                "no API key",
                rule="no-key",
                advice="set WAVESPEED_API_KEY (or WAVESPEED_API_KEY_FILE). To try "
                "everything without one: add --sandbox.",
            )
        return Account(base_url, key, profile_of(base_url), self._settings.proxy)

    async def _connected(
        self, account: Account, cap: Micros | None, missing: Sequence[OutputsMissing]
    ) -> int:
        pace = reads_of(self._order, account.profile, self._wishes.reads)
        if unused_proxy(self._settings) and not self._wishes.quiet:
            _tell(f"note: {PROXY_NOTE}")
        if direct_downloads(self._settings) and not self._wishes.quiet:
            _tell(f"note: {DIRECT_NOTE}")
        if note := settings.key_note(self._settings):
            _tell(f"note: {note}")
        async with connected(account, pace, self._world) as client:
            funds = await first_contact(
                client, account, _tell, self._tally.counts["done"]
            )
            records = self._journal.records if self._journal else ()
            await checks.key(client, self._tally, records, account, _tell)
            lots, models = self._order.plan.lots, self._order.models
            if lots:
                own = self._order.manifest.written.price is not None
                await checks.schemas(client, lots, models, _tell, written=own)
                await checks.prices(client, lots, models, _tell, written=own)
            self._ask(cap, funds)
            journal = self._open()
            check_endpoint(self._tally, account)
            self._tally.want(self._order.chosen, self._order.elements)
            with self._log() as log:
                observer = self._observer(log)
                session = Session(
                    account,
                    Terms(
                        self._policy,
                        self._limits(account),
                        cap,
                        self._order.manifest.digest,
                        *self._deadline(journal),
                        session_cap=session_cap_of(
                            self._order.manifest,
                            self._settings.ceiling,
                            self._order.flags.shard,
                        ),
                        shard=self._order.flags.shard,
                        carries_on=self._carries_on(),
                        day=self._order.days.today if self._order.days else "",
                        links=self._order.manifest.output.links or "",
                    ),
                    client,
                    journal,
                    self._tally,
                    observer,
                    self._world,
                    store=self._store,
                )
                for name, text in written(self._order.tasks(whole=True)).items():
                    results.publish(self._order.folder / name, text)
                shard = self._order.flags.shard
                results.leave_places(self._order.folder, shard, self._order.places)
                wishes, folder = self._wishes, self._order.folder
                async with engine.opened(
                    wishes.engine,
                    wishes.scheduler,
                    folder,
                    self._store,
                    observer.notice,
                ) as workers:
                    runner = await replace(session, engine=workers).run(
                        self._order.tasks,
                        [*self._order.known.values(), *missing],
                        self._order.models,
                        self._ending,
                    )
                self._order.remember(self._tally, self._world.now())
            if runner.failure is None and not _in_a_hurry(runner):
                await statement.leave(
                    client,
                    self._order.folder,
                    self._tally,
                    self._told,
                    account.profile,
                )
        for bug in map(settings.redaction().text, runner.bugs):
            click.echo(f"{bug}\nThis is a mistake in batchgen; please tell.", err=True)
        if runner.failure is not None:
            if runner.stopped is None or not runner.stopped.signal:
                raise runner.failure
            # Whoever sent a signal asks whether it was heard.
            _tell(f"error: {runner.failure} [{runner.failure.rule}]")
            return self._ending(runner).exit
        return self._report(self._ending(runner))

    def _deadline(self, journal: Journal) -> tuple[datetime | None, str]:
        """When this session buys nothing more, and how that was written."""
        wanted = self._order.manifest.deadline
        if wanted is None:
            return None, ""
        moment = deadline_of(wanted, journal.records, self._world.now())
        return moment, wanted.text

    def _limits(self, account: Account) -> Limits:
        limits = limits_of(self._order, account.profile)
        rate = self._wishes.rate
        return Limits(
            self._wishes.concurrency or limits.concurrency,
            rate.count if rate else limits.starts,
            rate.seconds if rate else limits.seconds,
        )

    def _ask(self, cap: Micros | None, funds: Micros | None) -> None:
        """Nobody spends real money by accident."""
        plan, order = self._order.plan, self._order
        if plan.buys and order.live and not self._wishes.yes:
            question.ask(
                order.folder.name,
                plan,
                cap,
                funds,
                tty=sys.stdin.isatty(),
                typed=self._wishes.again,
            )

    def _observer(self, log: Log) -> Any:
        stream = sys.stderr
        return observers(
            stream,
            is_tty=stream.isatty() and os.environ.get("TERM") != "dumb",
            utf8="utf" in (stream.encoding or "").lower(),
            quiet=self._wishes.quiet,
            verbose=self._wishes.verbose,
            log=log,
            now=lambda: self._world.now().astimezone(),
            timestamps="JOURNAL_STREAM" not in os.environ,
            run=self._order.folder.name,
            cost=self._order.plan.cost,
        )

    def _log(self) -> contextlib.closing[Log]:
        path = self._order.folder / "run.log"
        try:
            return contextlib.closing(Log(path))
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error

    def _ending(self, runner: Runner) -> report.Ending:
        stop = runner.stopped
        return report.exit_code(
            self._tally.everything,
            stop.reason if stop else None,
            "budget" if runner.short_of_money else None,
            "bug" if runner.bugs else None,
            signal=stop.signal if stop else 0,
        )

    @cached_property
    def _told(self) -> Sequence[Record]:
        """The journal when nothing more comes; the statement and the page read it."""
        return logbook.read(self._order.folder, lambda _: None)

    def _report(self, ending: report.Ending) -> int:
        """Leave results in the folder and the summary on stdout."""
        tasks = list(self._order.tasks())
        document, book = results.leave(
            self._order.folder,
            tasks,
            self._tally,
            lambda: self._told,
            ending,
            results.Origin(
                self._command(),
                self._order.plan_id,
                results.sheet_of(self._order.manifest, tasks),
            ),
            began=self._began,
            now=self._world.now(),
        )
        self._notify(document)
        try:
            self._sum_up(document, tasks)
        except BrokenPipeError:
            sys.stdout = None  # nobody reads it; how the run ended does not change
        if book:
            folder = self._order.folder
            results.illustrate(folder, book, self._tally, self._world.now)
        if self._wishes.open_page:
            results.show(self._order.folder)
        return ending.exit

    def _sum_up(self, document: report.Summary, tasks: Sequence[Task]) -> None:
        if self._wishes.as_json:
            click.echo(report.to_json(document))
            return
        text = report.end_text(document, tasks, self._tally, command=self._command())
        say(text, nl=False)

    def tell_of(self, error: BaseException) -> None:
        """Give notice of an ending that leaves no summary, if it is not a mistake."""
        if isinstance(error, click.ClickException | click.Abort | BrokenPipeError):
            return  # somebody is there
        code, reason, told = exits.meaning(error)
        if reason in ("usage", "locked"):
            return
        run = self._order.folder.name
        self._notify(
            {"schema": "batchgen.run/1", "run": run, "exit": code, "reason": reason}
            | {"error": told}
        )

    def _notify(self, document: Mapping[str, Any]) -> None:
        """Whoever is to be told is told; what does not get through is said here."""
        notices = self._order.manifest.notices
        if not notices:
            return
        from batchgen import notify  # noqa: PLC0415 - few manifests have notices

        environ, proxy = self._settings.environ, self._settings.proxy
        for trouble in notify.send(notices, document, environ, proxy):
            _tell(f"warning: {trouble}")

    def _command(self) -> str:
        """What starts this run again, as a shell takes it."""
        return command(self._path, self._order.flags, whole=True)


def _in_a_hurry(runner: Runner) -> bool:
    """Whether somebody waits for the end, or the service does not answer us."""
    stop = runner.stopped
    return stop is not None and (bool(stop.signal) or stop.reason in ("key", "network"))


def _tell(text: str) -> None:
    say(text, err=True)
