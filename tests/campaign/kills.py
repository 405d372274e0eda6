"""SIGKILL over batches on a real sandbox, and what the provider's till says after.

A session is a fork of this process, so that a kill costs no start of Python: real
files, real sockets, the real client, journal and runner. It dies at a random moment,
or by its own hand at the k-th call to the disk: before it, half-way, or after it. The
oracle is the sandbox's till, read beside a reader of the journal that shares no code
with batchgen.
"""

import argparse
import json
import os
import random
import select
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
from msgspec.structs import replace

from batchgen.cli.session import Account, Session, Terms, connected
from batchgen.disk import Disk
from batchgen.journal import Journal
from batchgen.manifest import load
from batchgen.models import catalog
from batchgen.plan import Policy, Retry
from batchgen.profile import SANDBOX, Limits
from batchgen.report import exit_code
from batchgen.sandbox.launch import launch
from batchgen.tally import Tally
from batchgen.tasks import Task, check
from batchgen.world import World

from . import baseline

QUICK = replace(
    SANDBOX,
    accept_settle=0.6,  # a busy machine may leave a request in a buffer for a while
    list_settle=0.2,
    poll_first=0.02,
    poll_every=0.02,
    poll_longest=0.1,
    backoff_first=0.02,
    rate_pause=0.05,
    reads=5000,
)
TASKS = 12  # in each batch: six prompts, two takes of each
SLOTS = 4
_A_ROUND = 25  # kills before a batch is brought to its end
_CALLS = 150  # of the disk, in one undisturbed session
_FAULTS = """seed: 7
rules:
  - {fault: slow_answer=0.05, probability: 0.5}
  - {fault: drop_after_accept, probability: 0.02}
  - {fault: list_500, probability: 0.05}
  - {fault: result_500, probability: 0.05}
"""

How = Literal["before", "half-way", "after"]
HOWS: tuple[How, ...] = ("before", "half-way", "after")


class MortalDisk(Disk):
    """Ends the process by SIGKILL at its k-th call."""

    def __init__(self, calls: int, how: How) -> None:
        self.left, self.how = calls, how

    def _count(self, work: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and self.how == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = work()
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        return int(self._count(lambda: Disk.open(self, path, flags, mode)))

    def write(self, handle: int, data: bytes | memoryview) -> int:
        if self.left == 1 and self.how == "half-way":
            data = data[: len(data) // 2]
        return int(self._count(lambda: Disk.write(self, handle, data)))

    def pwrite(self, handle: int, data: bytes, offset: int) -> int:
        if self.left == 1 and self.how == "half-way":
            data = data[: len(data) // 2]
        return int(self._count(lambda: Disk.pwrite(self, handle, data, offset)))

    def truncate(self, handle: int, length: int) -> None:
        self._count(lambda: Disk.truncate(self, handle, length))

    def sync(self, handle: int) -> None:
        self._count(lambda: Disk.sync(self, handle))

    def sync_folder(self, folder: Path) -> None:
        self._count(lambda: Disk.sync_folder(self, folder))

    def link(self, source: Path, target: Path) -> None:
        self._count(lambda: Disk.link(self, source, target))

    def unlink(self, path: Path) -> None:
        self._count(lambda: Disk.unlink(self, path))

    def rename(self, source: Path, target: Path) -> None:
        self._count(lambda: Disk.rename(self, source, target))


class Deaf:
    """An observer of nothing."""

    def event(self, event: object, tally: Tally) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def received(self, count: int) -> None:
        """Nothing."""

    def alive(self, tally: Tally) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass
class Batch:
    """One manifest against one sandbox."""

    root: Path
    api: str
    name: str
    tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.root / f"{self.name}.yaml"
        prompts = "".join(f"  - {self.name} boat {n}\n" for n in range(TASKS // 2))
        text = f"name: {self.name}\ntakes: 2\nsettings: {{duration: 3}}\nprompts:\n"
        path.write_text(text + prompts, encoding="utf-8")
        loaded = load(path, environ={}, catalog=catalog(), live=False)
        self.tasks = list(check(loaded, catalog(), live=False))

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return self.root / "outputs" / self.name

    @property
    def cap(self) -> int:
        """Exactly what the batch costs: one clip too many is a breach."""
        return sum(task.price for task in self.tasks)

    async def session(self, disk: Disk, *retry: Retry) -> bool:
        """One session; whether everything is done after it."""
        world = World(disk=disk)
        account = Account(self.api, "a-key", QUICK)
        policy = Policy(retry=frozenset(retry))
        terms = Terms(policy, Limits(SLOTS, None), self.cap, "digest")
        async with connected(account, (5000, 1.0), world) as client:
            with Journal.open(self.folder, world) as journal:
                tally = Tally.of(journal.records)
                tally.want(task.id for task in self.tasks)
                watch = Deaf()
                session = Session(account, terms, client, journal, tally, watch, world)
                await session.run(
                    lambda: self.tasks, [], catalog(), lambda _: exit_code(tally.counts)
                )
                return tally.counts["done"] == len(self.tasks)


# The oracle: the till, and a reader of the journal that knows only its format.


def till(data: Path) -> list[tuple[str, str, int]]:
    """Every charge: id, prompt, price."""
    with closing(sqlite3.connect(f"file:{data}/sandbox.db?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT id, input, price FROM predictions").fetchall()
    return [(name, json.loads(body)["prompt"], price) for name, body, price in rows]


@dataclass
class Books:
    """What the state file says, by a second pair of eyes."""

    prompts: dict[str, str] = field(default_factory=dict)
    stages: dict[tuple[str, int], str] = field(default_factory=dict)
    reserves: dict[tuple[str, int], int] = field(default_factory=dict)
    owners: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Books":
        """From the file alone; a half line at its end is not a record."""
        books = cls()
        path = folder / "state.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            books.take(row)
        return books

    def take(self, row: Mapping[str, Any]) -> None:
        """One record."""
        kind, attempt = row["t"], (row.get("task", ""), row.get("attempt", 0))
        if kind == "TaskPlanned":
            self.prompts[row["task"]] = row["input"]["prompt"]
        elif kind == "AttemptStarted":
            self.reserves[attempt] = int(row["reserve"])
            self.stages[attempt] = "open"
        elif kind.startswith("Attempt"):
            self.stages[attempt] = kind.removeprefix("Attempt").lower()
            if kind == "AttemptAccepted":
                self.owners.setdefault(row["prediction"], []).append(attempt)

    def counted(self) -> list[tuple[str, int]]:
        """Attempts that count as paid."""
        free = ("refused", "notsent", "absent")
        return [key for key, stage in self.stages.items() if stage not in free]


@dataclass
class Figures:
    """What a campaign found; everything below `doubles` must be zero."""

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    batches: int = 0
    tasks: int = 0
    charges: int = 0
    in_doubt: int = 0
    most_in_doubt: int = 0
    adopted: int = 0
    doubles: int = 0
    uncovered: int = 0
    breaches: int = 0
    shared: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every promise held."""
        broken = (self.doubles, self.uncovered, self.breaches, self.shared, self.wrong)
        return not any(broken)

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kills.items()))
        return (
            f"batchgen: {self.charges} charges for {self.tasks} tasks at "
            f"{self.kills.total()} kills ({kinds}) of {self.sessions} sessions; "
            f"{self.doubles} double charges, {self.uncovered} uncovered charges, "
            f"{self.breaches} cap breaches, {self.shared} shared predictions; "
            f"at most {self.most_in_doubt} in doubt after a kill, {self.in_doubt} "
            f"in all, {self.adopted} found in the history"
        )

    def check(self, batch: Batch, charges: Sequence[tuple[str, str, int]]) -> Books:
        """Hold the till against the state file, after a kill or at the end."""
        books = Books.read(batch.folder)
        paid = Counter(prompt for _, prompt, _ in charges)
        wanted = Counter(str(task.input["prompt"]) for task in batch.tasks)
        counts = Counter(books.prompts[task] for task, _ in books.counted())
        self.doubles += (paid - wanted).total()
        self.uncovered += (paid - counts).total()
        reserved = sum(books.reserves[key] for key in books.counted())
        spent = sum(price for _, _, price in charges)
        self.breaches += max(reserved, spent) > batch.cap
        known = {name: prompt for name, prompt, _ in charges}
        for name, owners in books.owners.items():
            fits = all(known.get(name) == books.prompts[task] for task, _ in owners)
            self.shared += len(owners) > 1 or not fits
        return books


def forked(work: Callable[[], object], log: Path, after: float | None) -> int:
    """Run it in a fork and kill that after so many seconds; its wait status."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of threads; pytest's are asleep and the fork never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            code = 0 if work() is not False else 3
        except BaseException:  # noqa: BLE001 - the fork must not run the parent's code
            log.write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            os._exit(code)
    os.close(writing)
    try:
        # The pipe ends when the child does.
        if not select.select([reading], [], [], after or 100)[0]:
            os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]
    finally:
        os.close(reading)


def was_killed(status: int) -> bool:
    """Whether a wait status tells of SIGKILL."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


class Campaign:
    """Batches one after the other until there were enough kills."""

    def __init__(self, root: Path, api: str, data: Path, seed: int) -> None:
        self.root, self.api, self.data = root, api, data
        self.chance = random.Random(seed)  # noqa: S311 - reproducible
        self.figures = Figures()
        self._sweep = self._swept()

    def _swept(self) -> Iterator[tuple[int, How]]:
        """Every call of the disk in turn, in every way."""
        while True:
            yield from ((k, how) for k in range(1, _CALLS) for how in HOWS)

    def charges(self, batch: Batch) -> list[tuple[str, str, int]]:
        """What the till has of a batch."""
        return [row for row in till(self.data) if row[1].startswith(f"{batch.name} ")]

    def kill(self, n: int) -> Figures:
        """The campaign against batchgen."""
        found = self.figures
        while found.kills.total() < n:
            found.batches += 1
            batch = Batch(self.root, self.api, f"b{found.batches}")
            self._disturb(batch, min(_A_ROUND, n - found.kills.total()))
            self._finish(batch)
        return found

    def _disturb(self, batch: Batch, kills: int) -> None:
        for turn in range(kills):
            disk, after, kind = Disk(), None, "at random times"
            if turn % 2:
                calls, how = next(self._sweep)
                disk, kind = MortalDisk(calls, how), f"{how} a disk call"
            else:
                after = self.chance.uniform(0.005, 0.3)
            status = self._session(batch, disk, after)
            if not was_killed(status):
                return
            self.figures.kills[kind] += 1
            books = self.figures.check(batch, self.charges(batch))
            doubt = sum(stage == "open" for stage in books.stages.values())
            self.figures.in_doubt += doubt
            self.figures.most_in_doubt = max(self.figures.most_in_doubt, doubt)

    def _session(
        self, batch: Batch, disk: Disk, after: float | None, *retry: Retry
    ) -> int:
        self.figures.sessions += 1
        log = batch.root / "crash.txt"
        work = lambda: anyio.run(batch.session, disk, *retry)  # noqa: E731 - for a fork
        status = forked(work, log, after)
        if not was_killed(status) and os.WEXITSTATUS(status) == 1:
            self.figures.wrong.append(f"{batch.name}: {log.read_text()[-2000:]}")
        return status

    def _finish(self, batch: Batch) -> None:
        """Buy again what is provably absent, until every clip is there."""
        for _ in range(10):
            if self._session(batch, Disk(), None, "absent") == 0:
                break
        charges = self.charges(batch)
        books = self.figures.check(batch, charges)
        self.figures.tasks += len(batch.tasks)
        self.figures.charges += len(charges)
        self.figures.adopted += self._adopted(batch)
        if set(books.owners) != {name for name, _, _ in charges}:
            self.figures.wrong.append(f"{batch.name}: the books are not the till")
        clips = len(list((batch.folder / "videos").glob("*.mp4")))
        if (len(charges), clips) != (len(batch.tasks), len(batch.tasks)):
            text = f"{batch.name}: {len(charges)} charges, {clips} clips"
            self.figures.wrong.append(text)

    def _adopted(self, batch: Batch) -> int:
        text = (batch.folder / "state.jsonl").read_text(encoding="ascii")
        return text.count('"via":"history"')

    def kill_baseline(self, n: int) -> str:
        """The same against the ordinary runner; what the till says."""
        kills = tasks = charges = batches = 0
        while kills < n:
            batches += 1
            batch = Batch(self.root, self.api, f"o{batches}")
            orders = [(task.output, task.model, task.input) for task in batch.tasks]

            def work(batch: Batch = batch, orders: Any = orders) -> None:
                anyio.run(baseline.run, self.api, orders, batch.folder)

            for _ in range(min(_A_ROUND, n - kills)):
                after = self.chance.uniform(0.005, 0.3)
                if not was_killed(forked(work, self.root / "ordinary.txt", after)):
                    break
                kills += 1
            while forked(work, self.root / "ordinary.txt", None):
                pass
            tasks += len(orders)
            charges += len(self.charges(batch))
        return (
            f"ordinary runner: {charges} charges for {tasks} tasks at {kills} kills; "
            f"{charges - tasks} paid twice"
        )


def campaign(root: Path, n: int, baseline_kills: int, seed: int) -> tuple[Figures, str]:
    """Both campaigns on a sandbox of their own; their figures."""
    data, plan = root / "sandbox", root / "faults.yaml"
    plan.write_text(_FAULTS, encoding="utf-8")
    with launch(
        data,
        speed=20_000,
        profile="plain",
        faults=str(plan),
        extra_args=("--balance", "100000000"),
    ) as found:
        runs = Campaign(root, found.api, data, seed)
        figures = runs.kill(n)
        return figures, runs.kill_baseline(baseline_kills) if baseline_kills else ""


def main(argv: Sequence[str]) -> int:
    """Kill, and print what it cost; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign kills")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--baseline", type=int, help="kills of the ordinary runner")
    parser.add_argument("--seed", type=int, default=7)
    flags = parser.parse_args(argv)
    others = flags.n if flags.baseline is None else flags.baseline
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures, ordinary = campaign(Path(folder), flags.n, others, flags.seed)
    print(figures)
    print(ordinary)
    print(f"{time.monotonic() - began:.0f} s, seed {flags.seed}")
    for text in figures.wrong:
        print(text, file=sys.stderr)
    return 0 if figures.clean else 1
