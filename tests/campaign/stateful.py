"""T10: a person, a service and a computer that do what they like, in any order.

Where `simulate` draws a whole night at once, here each step is a choice: to run, to
kill, to cut the power, to edit the manifest, to allow what is not allowed by default.
Hypothesis chooses, and makes a failure as short as can be. The parts are the real ones
in the simulation's world, and the judge looks at every charge and after every session.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from trio.testing import MockClock

from batchgen.journal import NAME
from batchgen.plan import Policy, Retry
from batchgen.profile import Limits

from . import provider as service
from . import tamper
from .disk import IMAGES, Image, Twist
from .oracle import Violation
from .provider import PRICE, Swarm
from .replay import Broken, Story
from .scenario import ABSENT, FAULTS, Scenario
from .shoot import MODEL, task_of
from .stage import JUMPS, Play
from .theatre import deterministic, memory
from .world import Fuse

OF_THE_SERVICE = tuple(
    name
    for name in FAULTS
    if name in (*service.SUBMISSIONS, *service.READINGS, *service.LISTS)
    or name in (*service.OUTCOMES, *service.BILLING, "list-lag", "read-404")
    or name.startswith(("connect-", "file-", "tls-", "write-", "short-"))
)
OUTSIDE = (
    "interrupt", "interrupt-twice", "suspend", "clock-jump", "second", "disk-full",
    "foreign-twin",
)  # fmt: skip
Moment = tuple[float, str]
RETRIES: tuple[Retry, ...] = ("absent", "uncertain", "rejected")
SHOWN = 60 * 60.0
"""Seconds after which billing has shown everything."""


class Directed(Play):
    """A play whose sessions and accidents are told by somebody.

    Attributes:
        moments: what comes from outside in the next session, and when.
        image: what is left if that one dies of a power loss; None for a kill.
        now: between two event loops, the provider's time goes on where it was.
    """

    def __init__(self, seed: int, root: Path) -> None:
        super().__init__(Scenario(seed, {}), root)
        self.swarm = Swarm(seed, dict.fromkeys(FAULTS, 0.0))
        self.swarm.rates.clear()
        self.machine.swarm = self.provider.swarm = self.swarm
        self.moments: list[Moment] = []
        self.image: Image | None = None

    def lived(self, work: Callable[[], Awaitable[Story | None]]) -> Story | None:
        """Do something in an event loop of its own, after all that was before."""

        async def main() -> Story | None:
            try:
                return await work()
            finally:
                self.machine.slept += anyio.current_time()
                self.machine.full_until = 0.0

        with deterministic(self.scenario.seed):
            clock = MockClock(autojump_threshold=0)
            return anyio.run(main, backend="trio", backend_options={"clock": clock})

    async def _disturb(self) -> None:
        if self.machine.fuse.at is not None:
            self.moments.append((self.machine.fuse.at, "death"))
        moments, self.moments = sorted(self.moments), []
        began = anyio.current_time()
        for moment, name in moments:
            await anyio.sleep_until(began + moment)
            self._happen(name)
            if name == "interrupt-twice":
                self._happen("interrupt")

    def _restart(self) -> None:
        self._lost_power |= self.image is not None
        self.machine.restart(self.image or "all", power_loss=self.image is not None)

    async def session(self, fuse: Fuse) -> Story:
        """Run a process to its end or its death, and judge what is left."""
        return await self._session(fuse)

    async def at_rest(self) -> None:
        """The service is calm, and the person runs it until nothing is left to do."""
        self.swarm.rates.clear()
        await anyio.sleep(SHOWN)
        await self._session(Fuse())
        await anyio.sleep(SHOWN)
        self.policy = ABSENT
        began = self._provider_time()
        story = await self._session(Fuse())
        self.oracle.refunded(story, began)
        self.oracle.progress(self.tasks, story, whole=False)

    async def twin(self) -> None:
        """Somebody else with our key buys one of our clips."""
        self.provider.somebody_else(dict(self.tasks[0].input), MODEL)

    async def pasted(self) -> None:
        """The lines that a dying session printed are given back, if it printed any."""
        self.swarm.rates["paste"] = 1.0
        await self._repair()
        del self.swarm.rates["paste"]

    def tampered(self) -> None:
        """The state file is edited, cut and put back; each must be refused."""
        last = self.machine.acknowledged
        if self._lost_power or not last:
            return  # the mark may be an old one
        tamper.refused(self.folder, last, self._older, self.chance)
        self._older.append((self.folder / NAME).read_bytes())


MOMENTS = st.lists(
    st.tuples(st.integers(0, 300).map(lambda n: n / 10), st.sampled_from(OUTSIDE)),
    max_size=2,
)
STEPS = st.integers(1, 260)
TWISTS: st.SearchStrategy[Twist] = st.sampled_from(("", "half", "after"))
FLAGS = st.sets(st.sampled_from(("again", "deadline", "session-cap")), max_size=2)
SERVICE = st.dictionaries(
    st.sampled_from([name for name in OF_THE_SERVICE if name != "bill-hidden"]),
    st.sampled_from((0.1, 0.3, 0.7)),
    min_size=1,
    max_size=4,
)
"""What it does wrong in a session, and how often."""


class Operator(RuleBasedStateMachine):
    """Everything that can be done to a run, one thing after the other."""

    play: Directed

    @initialize(
        seed=st.integers(0, 999),
        clips=st.integers(1, 6),
        submits=st.sampled_from((1, 2, 4, 8)),
        rate=st.sampled_from((None, 30)),
        cap=st.sampled_from((None, 2, 20)),
    )
    def begin(
        self, seed: int, clips: int, submits: int, rate: int | None, cap: int | None
    ) -> None:
        """A manifest, and the limits of a first run."""
        self.place = Path(tempfile.mkdtemp(dir=memory(), prefix="batchgen-"))
        (self.place / "machine").mkdir()
        self.play = Directed(seed, self.place / "machine")
        self.play.tasks = [task_of(n % 3, n // 3 + 1) for n in range(clips)]
        self.play.limits = Limits(submits, rate)
        self.play.oracle.slots = submits
        self.play.policy = Policy()
        self.play.cap = None if cap is None else cap * PRICE

    # The computer, and the service it talks to.

    @rule(faults=SERVICE, moments=MOMENTS, flags=FLAGS)
    def run(
        self, faults: dict[str, float], moments: Sequence[Moment], flags: set[str]
    ) -> None:
        """To the end, whatever comes from outside."""
        self.play.moments = [*moments]
        self._session(faults | dict.fromkeys(sorted(flags), 1.0), Fuse())

    @rule(faults=SERVICE, flags=FLAGS, steps=STEPS, twist=TWISTS)
    def kill(
        self, faults: dict[str, float], flags: set[str], steps: int, twist: Twist
    ) -> None:
        """Dead at a call; what was written is there."""
        self.play.image = None
        fuse = Fuse(steps=steps, twist=twist)
        self._session(faults | dict.fromkeys(sorted(flags), 1.0), fuse)

    @rule(faults=SERVICE, steps=STEPS, twist=TWISTS, image=st.sampled_from(IMAGES))
    def lose_power(
        self, faults: dict[str, float], steps: int, twist: Twist, image: Image
    ) -> None:
        """Dead at a call; what was not synced is there, or not, or half of it."""
        self.play.image = image
        self._session(faults, Fuse(steps=steps, twist=twist))

    @rule(faults=SERVICE, seconds=st.integers(0, 400))
    def kill_at(self, faults: dict[str, float], seconds: int) -> None:
        """Dead at a moment."""
        self.play.image = None
        self._session(faults, Fuse(at=seconds / 10))

    def _session(self, faults: dict[str, float], fuse: Fuse) -> None:
        self.play.swarm.rates = faults
        self.play.lived(lambda: self.play.session(fuse))
        self.play.swarm.rates = {}

    # What else happens between two sessions. It is one rule, so that most steps are
    # sessions: only they can break a law.

    @rule(
        what=st.sampled_from(
            ("add", "drop", "rename", "allow", "raise-cap", "paste", "tamper",
             "set-clock", "wait", "buy-the-same")
        ),
        n=st.integers(0, 9),
        kinds=st.sets(st.sampled_from(RETRIES)),
    )  # fmt: skip
    def meanwhile(  # noqa: C901 - one case for each
        self, what: str, n: int, kinds: set[Retry]
    ) -> None:
        """A person does something, or a clock."""
        play = self.play
        match what:
            case "add":
                tasks = [*play.tasks, task_of(n % 5, 9 - n % 2)]
                play.tasks = list({task.id: task for task in tasks}.values())
            case "drop" if len(play.tasks) > 1:
                play.tasks.pop(n % len(play.tasks))
            case "rename":
                self._rename(n)
            case "allow":
                play.policy = Policy(retry=frozenset(kinds), attempts=1 + n % 3)
                play.oracle.repeats_in_doubt |= "uncertain" in kinds
            case "raise-cap" if play.cap is not None:
                play.cap += PRICE
            case "paste" if play.machine.alarms:
                play.lived(play.pasted)
            case "tamper" if (play.folder / NAME).exists():
                play.tampered()
            case "set-clock":
                play.machine.skew += JUMPS[n % len(JUMPS)]
            case "wait":
                play.machine.slept += (1, 15, 30, 3600, 90_000)[n % 5]
            case "buy-the-same":
                play.lived(play.twin)
            case _:
                pass

    def _rename(self, n: int) -> None:
        """The same clip under another name."""
        tasks, slug = self.play.tasks, f"renamed-{n}"
        if all(task.slug != slug for task in tasks):
            place = n % len(tasks)
            tasks[place] = replace(tasks[place], slug=slug, output=f"{slug}.mp4")

    def teardown(self) -> None:
        """At last all is calm, and every task comes to an end."""
        if not hasattr(self, "play"):
            return
        try:
            if self.play.problem is None and sys.exception() is None:
                self.play.lived(self.play.at_rest)
        finally:
            shutil.rmtree(self.place)


def operate(
    examples: int, steps: int, *, shrink: bool = True, by_chance: bool = False
) -> None:
    """So many stories of at most so many steps.

    Raises:
        Violation, Broken: a law was broken; the steps are told as a note of it.
    """
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    run_state_machine_as_test(
        Operator,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=not by_chance,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def main(argv: Sequence[str]) -> int:
    """`stateful --examples N --steps M`; 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="stateful", description=__doc__)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    asked, began = parser.parse_args(argv), time.monotonic()
    try:
        operate(asked.examples, asked.steps, by_chance=True)
    except (Violation, Broken) as error:
        print("\n".join([str(error), *getattr(error, "__notes__", [])]))
        return 1
    seconds = time.monotonic() - began
    print(f"{asked.examples:,} stories broke no law; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
