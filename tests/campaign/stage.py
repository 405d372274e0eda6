"""One scenario on one machine: its sessions, its deaths, and the end.

What `batchgen run` does is repeated here, from the journal to the last record; all
the parts are the real ones.
"""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from msgspec.structs import replace

from batchgen import moves
from batchgen.cli import checks
from batchgen.cli.exits import single
from batchgen.cli.session import (
    Account,
    Session,
    Terms,
    check_endpoint,
    connected,
    first_contact,
)
from batchgen.disk import Disk
from batchgen.errors import BatchgenError, JournalLocked
from batchgen.events import OutputsMissing
from batchgen.journal import NAME, Journal
from batchgen.models import catalog
from batchgen.plan import Policy
from batchgen.profile import Limits
from batchgen.recorder import Nobody, Recorder
from batchgen.repairs import judge, rescued, write_import
from batchgen.report import exit_code
from batchgen.runner import Runner
from batchgen.shapes import Lots, count
from batchgen.starts import continued
from batchgen.state import Status
from batchgen.stores import at_hand
from batchgen.tally import Tally
from batchgen.world import World

from . import provider as service
from . import tamper
from .disk import IMAGES, Died
from .oracle import KEY, Oracle, Violation
from .provider import PRICE, Provider, Swarm
from .replay import Broken, Story
from .scenario import ABSENT, PROFILE, Result, Scenario
from .shoot import MODEL, pictured, task_of, with_element
from .world import Fuse, Machine

LONG = 4 * 3600.0
JUMPS = (-34_560_000, -90_000, -3600, -5, -1, 1, 5, 3600, 34_560_000)  # 400 days
SETTLES = 3600
NIGHT = 8 * 3600.0
LEAVING = 400.0  # a second signal waits for submissions, which have limits of their own
CRASHES = (1, 1, 1, 2, 2, 3, 5)
EVENTS = (
    "disk-full", "clock-jump", "interrupt", "second", "foreign-twin",
    "interrupt-twice", "suspend",
)  # fmt: skip
BEYOND = {"wrong-id"}  # an id that lies proves nothing: only a person can settle it
NO_CLIP = {
    "refused", "no-credit", "fails", "moderated", "vanishes", "hidden-inputs",
    "upload-refused",
}  # fmt: skip


class Quiet(Nobody):
    """An observer that keeps the last words."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        """Keep it."""
        self.notices.append(text)


class Witnessed(Journal):
    """A journal whose promises somebody writes down."""

    machine: Machine

    async def durable(self, n: int) -> None:
        """Remember what was promised."""
        await super().durable(n)
        self.machine.acknowledged = max(self.machine.acknowledged, n)


class Play:
    """One scenario on one machine."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self.scenario = scenario
        self.chance = chance = random.Random(f"play {scenario.seed}")  # noqa: S311
        self.swarm = Swarm(scenario.seed, scenario.rates)
        self.provider = Provider(
            self.swarm,
            self._provider_time,
            random.Random(chance.random()),  # noqa: S311
            offset=chance.choice((0.0, 0.0, 90.0, -7200.0)),
            hides_inputs="hidden-inputs" in scenario.rates,
        )
        self.root = root
        self.machine = Machine(root, self.swarm, self.provider, chance)
        self.folder = root / "outputs" / "run"
        self.tasks = [task_of(n % 3, n // 3 + 1) for n in range(chance.randint(1, 7))]
        if "pictures" in scenario.rates:
            self.tasks += pictured(root.parent / "pictures")
        if "element" in scenario.rates:  # elements come first, as in every manifest
            self.tasks = [*with_element(root.parent / "pictures"), *self.tasks]
        self.limits = Limits(chance.choice((1, 2, 4, 8)), chance.choice((None, 30)))
        self.policy = self._policy()
        self.cap = chance.choice((None, PRICE * (len(self.tasks) - 1), PRICE * 20))
        self.oracle = Oracle(self.provider, self._durable, max(1, self.limits.submits))
        self.provider.on_charge = self._guard(self.oracle.on_charge)
        self.machine.on_request = self._guard(self.oracle.on_request)
        self.result = Result(scenario.seed)
        self.problem: BaseException | None = None
        self.observer = Quiet()
        self._inside = False
        self._older: list[bytes] = []
        self._lost_power = self._clock_moved = self._far = False
        self._leaving_since: float | None = None
        if "retry-uncertain" in scenario.rates:
            self.oracle.repeats_in_doubt = True

    def _provider_time(self) -> float:
        """It goes on while our machine sleeps."""
        return anyio.current_time() + self.machine.slept

    def _policy(self) -> Policy:
        policy, rates = self.chance.choice((Policy(), ABSENT)), self.scenario.rates
        if "retry-uncertain" in rates:
            policy = replace(policy, retry=policy.retry | {"uncertain"})
        if "breaker" in rates:
            fuse, tries = self.chance.choice((0, 1, 2)), self.chance.choice((1, 2))
            policy = replace(policy, stop_after_failures=fuse, attempts=tries)
        return policy

    def _durable(self) -> tuple[bytearray, int]:
        return self.machine.disk.durable(self.folder / NAME)

    def _guard(self, check: Any) -> Any:
        """A law that is broken inside the client must not be taken for its trouble."""

        def checked(value: Any) -> None:
            try:
                check(value)
            except (Violation, Broken) as error:
                self.problem = self.problem or error
                self.machine.die()
                raise Died from error

        return checked

    async def perform(self) -> Result:
        """All sessions, and then the end."""
        rates = self.scenario.rates
        crashes = self._crashes()
        for _ in range(crashes):
            await self._session(self._fuse())
            self._edit()
            await self._repair()
            self._tamper()
        if not crashes:
            await self._session(Fuse())
        self.swarm.calm = True
        if not self._may_be_absent():
            await anyio.sleep(2 * service.ACCEPT_SETTLE)
        if "charge-twice" in rates:  # a session that sees one buys no more
            await anyio.sleep(service.ACCEPT_SETTLE + 90)
        await self._session(Fuse())
        self.policy = ABSENT
        began = self._provider_time()
        story = await self._session(Fuse())
        if "bill-hidden" not in rates:
            self.oracle.refunded(story, began)
        whole = not (NO_CLIP & set(rates) | BEYOND & set(rates)) and self.cap in (
            None,
            PRICE * 20,
        )
        # A history that never showed anything cannot prove an absence.
        whole = whole and not self._far and bool(self.provider.ledger)
        self.oracle.progress(self.tasks, story, whole=whole)
        return self._finished()

    def _finished(self) -> Result:
        result = self.result
        result.charges = sum(row.ours for row in self.provider.ledger)
        result.tasks = len(self.tasks)
        result.hours = anyio.current_time() / 3600
        return result

    def _may_be_absent(self) -> bool:
        return "absent" in self.policy.retry

    def _crashes(self) -> int:
        return self.chance.choice(CRASHES) if "crash" in self.scenario.rates else 0

    def _fuse(self) -> Fuse:
        if self.chance.random() < 0.25:
            return Fuse(at=self.chance.uniform(0, 40))
        steps = round(self.chance.triangular(1, 260, 20))
        return Fuse(steps=steps, twist=self.chance.choice(("", "", "half", "after")))

    def _edit(self) -> None:
        """A person changes the manifest, or the clock, between two sessions."""
        chance = self.chance
        # Clips need their element: no manifest is whole without it.
        clips = [n for n, task in enumerate(self.tasks) if task.kind == "clip"]
        if self.swarm.strikes("edit") or self.swarm.strikes("edit"):
            match chance.randrange(3):
                case 0 if len(clips) > 1:
                    self.tasks.pop(chance.choice(clips))
                case 1:
                    self.tasks.append(task_of(chance.randrange(5), 9))
                    ids = {task.id: task for task in self.tasks}
                    self.tasks = list(ids.values())
                case _:
                    n = chance.choice(clips)
                    slug = f"renamed-{chance.randrange(100)}"
                    self.tasks[n] = replace(
                        self.tasks[n], slug=slug, output=f"{slug}.mp4"
                    )
        if self.swarm.strikes("foreign"):
            body = {"prompt": "not ours", "duration": 3}
            self.provider.somebody_else(body, MODEL)

    async def _repair(self) -> None:
        """A person pastes the lines that a dying session printed."""
        if not (self.machine.alarms and self.swarm.strikes("paste")):
            return
        world = self.machine.start(Fuse())
        with Witnessed.open(self.folder, world) as journal:
            journal.machine = self.machine
            tally = Tally.of(journal.records)
            events = rescued("\n".join(self.machine.alarms), self.folder.name)
            verdict = judge(tally, events)
            recorder = Recorder(journal, tally, self.observer)
            await write_import(recorder, verdict, "-", by="a person")
        self.machine.alarms.clear()

    def _tamper(self) -> None:
        """I8, where the mark is known to be fresh: power loss may leave an old one."""
        path, last = self.folder / NAME, self.machine.acknowledged
        if self._lost_power or not path.exists() or not last:
            return
        if self.swarm.strikes("tamper"):
            tamper.refused(self.folder, last, self._older, self.chance)
        self._older.append(path.read_bytes())

    # One session.

    async def _session(self, fuse: Fuse) -> Story:
        """Run a process to its end, or to its death; then judge what is left."""
        before = self.oracle.doubtful()
        self._inside = self._clock_moved = False
        self._leaving_since = None
        self.oracle.expect(self.tasks)
        self.result.sessions += 1
        world = self.machine.start(fuse)
        died = await self._lived(world)
        if self.problem:
            raise self.problem
        path = self.folder / NAME
        acknowledged = self.machine.acknowledged
        if died:
            self.result.crashes += 1
            self._restart()
        state = path.read_bytes() if path.exists() else b""
        files = self.folder / "videos"
        story = self.oracle.check(state, acknowledged, files=files)
        self._contained()
        if not self._clock_moved:
            self.oracle.in_time(story)
        if died:
            self.oracle.doubts(before, story)
        return story

    def _contained(self) -> None:
        """I16: nothing is made outside of the folders of the run."""
        for path in self.root.rglob("*"):
            place = path.relative_to(self.root).as_posix()
            inside = f"{place}/".startswith(("outputs/run/", "runtime/"))
            if path.is_symlink() or not (inside or place == "outputs"):
                raise Violation(f"I16: {place} was made")

    def _restart(self) -> None:
        power = self.swarm.strikes("power-loss")
        self._lost_power |= power
        self.machine.restart(self.chance.choice(IMAGES), power_loss=power)

    async def _lived(self, world: World) -> bool:
        """Whether the process died before its session ended."""
        try:
            with anyio.fail_after(LONG):
                async with anyio.create_task_group() as group:
                    group.start_soon(self._disturb)
                    try:
                        await self._process(world)
                    except BatchgenError as error:
                        self._note(f"ended: {error}")
                    group.cancel_scope.cancel()
        except TimeoutError:
            raise Violation("I18: a session did not end within four hours") from None
        except BaseExceptionGroup as errors:
            if self.machine.disk.dead:
                return True
            if not isinstance(single(errors), BatchgenError):
                raise
            self._note(f"ended: {single(errors)}")
        except Died:
            return True
        held = self.machine.disk.held
        if held:
            raise Violation(f"a session left files open: {held}")
        since = self._leaving_since
        if since is not None and anyio.current_time() - since > LEAVING:
            raise Violation(f"T14: left {anyio.current_time() - since:.0f} s later")
        return False

    async def _disturb(self) -> None:
        """Whatever comes from outside while a session runs."""
        moments: list[tuple[float, str]] = []
        if self.machine.fuse.at is not None:
            moments.append((self.machine.fuse.at, "death"))
        for name in EVENTS:
            moments += [
                (self.chance.uniform(0, 30), name)
                for _ in range(2)
                if self.swarm.strikes(name) or self.swarm.strikes(name)
            ]
        began = anyio.current_time()
        for moment, name in sorted(moments):
            await anyio.sleep_until(began + moment)
            self._happen(name)
            if name == "interrupt-twice":
                await anyio.sleep(self.chance.choice((0, 0.01, 1)))
                self._happen("interrupt")

    def _happen(self, name: str) -> None:
        self._note(name)
        match name:
            case "death":
                self.machine.die()
            case "disk-full":
                self.machine.full_until = anyio.current_time() + 20
            case "clock-jump":
                self._clock_moved = True
                jump = self.chance.choice(JUMPS)
                self.machine.skew += jump
                self._far |= abs(jump) >= SETTLES  # then no absence can be proved
            case "suspend":
                self._clock_moved = True
                self.machine.slept += NIGHT
            case "interrupt" | "interrupt-twice":
                if self.machine.interrupt() > 1:
                    self._leaving_since = anyio.current_time()
            case "second":
                self._second_runner()
            case "foreign-twin":
                texts = [one for one in self.tasks if not (one.files or one.elements)]
                if texts:
                    body = dict(self.chance.choice(texts).input)
                    self.provider.somebody_else(body, MODEL)
            case _:
                raise AssertionError(name)

    def _second_runner(self) -> None:
        """I9: nobody else gets in while somebody is in."""
        if not self._inside or self.machine.disk.dead:
            return
        try:
            Journal.open(self.folder, World(disk=Disk())).close()
        except JournalLocked:
            return
        self.problem = Violation("I9: two processes hold one run")
        self.machine.die()

    async def _process(self, world: World) -> None:
        """What `batchgen run` does, from the journal to the last record."""
        account = Account("https://sim.test", KEY, PROFILE)
        models = catalog()
        tasks = list(self.tasks)
        async with connected(account, (1000, 1.0), world) as client:
            await first_contact(client, account, self._note)
            lots: Lots = {}
            for task in tasks:
                count(lots, task)
            await checks.prices(client, lots, models, self._note, written=False)
            with Witnessed.open(self.folder, world) as journal:
                journal.machine = self.machine
                self._inside = True
                tally = Tally.of(journal.records)
                elements = [task.id for task in tasks if task.kind == "element"]
                tally.want((task.id for task in tasks), elements)
                check_endpoint(tally, account)
                await self._tidy(journal, tally, world)
                missing = list(self._missing(tally))
                terms = self._terms(journal, world)
                session = Session(
                    account, terms, client, journal, tally, self.observer, world
                )
                runner = await session.run(
                    lambda: tasks, missing, models, lambda r: _ending(r, tally)
                )
                self._inside = False
        if runner.bugs:
            raise Violation(f"a bug: {runner.bugs[0]}")
        if runner.failure is not None:
            self._note(f"failure: {runner.failure}")

    def _terms(self, journal: Journal, world: World) -> Terms:
        policy, strikes = self.policy, self.swarm.strikes
        if strikes("again"):
            policy, self.oracle.again = replace(policy, again=True), True
        until = None
        if strikes("deadline"):
            until = world.now() + timedelta(seconds=self.chance.uniform(0, 20))
        return Terms(
            policy,
            self.limits,
            self.cap,
            "digest",
            deadline=until,
            session_cap=2 * PRICE if strikes("session-cap") else None,
            carries_on=continued(journal.records, world.now()) is not None,
        )

    async def _tidy(self, journal: Journal, tally: Tally, world: World) -> None:
        tasks, states = self.tasks, dict(tally.states)
        recorder = Recorder(journal, tally, self.observer)
        plans = list(moves.renamed(tasks, states))
        stores = at_hand("", self.folder / "videos", world)
        for relocation in list(moves.relocations(tasks, states)):
            moved = moves.carry_out(relocation, stores)
            if moved is not None:
                await recorder.write(moved)
        for plan in plans:
            await recorder.write(plan)

    def _missing(self, tally: Tally) -> Iterator[OutputsMissing]:
        videos = self.folder / "videos"
        for task in self.tasks:
            state = tally.states.get(task.id)
            if state is None or state.status is not Status.DONE:
                continue
            gone = [f.name for f in state.files if not (videos / f.name).exists()]
            if gone:
                yield OutputsMissing(task=task.id, names=tuple(gone))

    def _note(self, text: str) -> None:
        text = text.replace(str(self.root), "")
        self.result.trace.append(f"{anyio.current_time():9.3f} {text}")


def _ending(runner: Runner, tally: Tally) -> Any:
    stop = runner.stopped
    return exit_code(tally.counts, stop.reason if stop else None)
