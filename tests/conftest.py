"""The make-believe world of the tests: a real sandbox, real files, real sockets."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import hypothesis
import pytest
from browser import chromium as chromium  # noqa: PLC0414 - a fixture
from msgspec.structs import replace

import nursery
from batchgen.cli.session import Account, Session, Terms, connected
from batchgen.disk import Disk
from batchgen.events import Event
from batchgen.journal import Journal, read
from batchgen.manifest import load
from batchgen.models import catalog
from batchgen.money import usd
from batchgen.plan import Policy
from batchgen.profile import SANDBOX, Limits
from batchgen.recorder import Nobody
from batchgen.records import Record
from batchgen.report import exit_code
from batchgen.runner import Runner
from batchgen.sandbox.options import Addresses
from batchgen.shards import Shard
from batchgen.tally import Tally
from batchgen.tasks import Task, check
from batchgen.world import Patience, World

# No test depends on how fast the machine is just now.
hypothesis.settings.register_profile(
    "calm",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("calm")

FAST = replace(
    SANDBOX,
    accept_settle=0.05,
    list_settle=0.05,
    poll_first=0.02,
    poll_every=0.02,
    poll_longest=0.1,
    backoff_first=0.02,
    rate_pause=0.05,
    settle_every=0.3,
    billing_every=0.5,
    reads=5000,
)


class Silent(Nobody):
    """An observer that keeps what it is told and prints nothing."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        """Keep it."""
        self.notices.append(text)


@dataclass(frozen=True)
class Charge:
    """One row of the till."""

    prompt: str
    price: int


@dataclass
class Story:
    """A sandbox, a folder for runs, and the program."""

    root: Path
    api: str
    data: Path
    environ: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def manifest(self, prompts: Sequence[str], *more: str) -> Path:
        """A manifest of these prompts; its name is unique per first prompt."""
        name = "run-" + prompts[0].split()[0].lower()
        path = self.root / f"{name}.yaml"
        rows = [f"  - {json.dumps(prompt)}" for prompt in prompts]
        keys = (f"name: {name}", *more, "settings: {duration: 3}", "prompts:", *rows)
        path.write_text("\n".join(keys) + "\n", encoding="utf-8")
        return path

    def folder(self, manifest: Path) -> Path:
        """Where the run of a manifest lives."""
        return self.root / "outputs" / f"{manifest.stem}.sandbox"

    def till(self, word: str = "") -> list[Charge]:
        """What was charged for prompts with this word, read from the till's file."""
        uri = f"file:{self.data / 'sandbox.db'}?mode=ro"
        connection = sqlite3.connect(uri, uri=True)
        try:
            rows = connection.execute(
                "SELECT input, price FROM predictions ORDER BY created"
            ).fetchall()
        finally:
            connection.close()
        bodies = [(json.loads(raw), price) for raw, price in rows]
        charges = [
            Charge(body.get("prompt") or body.get("name", ""), price)
            for body, price in bodies
        ]
        return [charge for charge in charges if word in charge.prompt]

    def kept(self, word: str = "") -> int:
        """Micro-dollars that the sandbox took and did not give back until now."""
        rows = httpx.get(f"{self.api}/__sandbox__/till").json()
        mine = (row for row in rows if word in row["input"].get("prompt", ""))
        return sum(usd(str(row["price_usd"])) for row in mine)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the program as a user would, against this sandbox."""
        if nursery.can(self.env()):
            return nursery.command(arguments, self.env(), 100)
        return subprocess.run(
            [sys.executable, "-m", "batchgen", *arguments],
            capture_output=True,
            text=True,
            env=self.env(),
            timeout=100,
            check=False,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the program and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "batchgen", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env(),
        )

    def env(self) -> dict[str, str]:
        """The environment of the program."""
        mine = {
            "WAVESPEED_API_KEY": "story-key",
            "WAVESPEED_BASE_URL": self.api,
            "BATCHGEN_OUTPUTS": str(self.root / "outputs"),
        }
        return {**os.environ, **mine, **self.environ}

    def tasks(self, manifest: Path) -> list[Task]:
        """The expansion of a manifest."""
        models = catalog()
        loaded = load(manifest, environ={}, catalog=models, live=False)
        return list(check(loaded, models, live=False))

    def replay(self, manifest: Path) -> tuple[Sequence[Record], Tally]:
        """What the state file says now."""
        records = read(self.folder(manifest))
        return records, Tally.of(records)

    async def session(  # noqa: PLR0913 - parts of the world, by name
        self,
        manifest: Path,
        *,
        disk: Disk | None = None,
        policy: Policy | None = None,
        limits: Limits | None = None,
        cap: int | None = None,
        faults: str = "",
        patience: Patience | None = None,
        now: Callable[[], datetime] | None = None,
        tasks: Sequence[Task] | None = None,
        news: Sequence[Event] = (),
        shard: Shard | None = None,
        store: str = "",
    ) -> tuple[Runner, Tally]:
        """One session in this process, with another disk if you like.

        `faults` strike every request of theirs; see `sandbox.faults`. `tasks` are
        done in place of those of the manifest; `news` is what was found before;
        a session of a `shard` knows that it may not be the only one; clips go to
        the bucket `store`.
        """
        world = World(
            disk=disk or Disk(),
            runtime=self.root / "runtime",
            patience=patience or Patience(retry=0.02, calm=0.1, endure=0.3, hold=0.6),
            now=now or (lambda: datetime.now(UTC)),
        )
        observer = Silent()
        self.notices = observer.notices
        account = Account(self.api, "story-key", FAST)
        tasks = self.tasks(manifest) if tasks is None else tasks
        limits = limits or Limits(8, None)
        terms = Terms(policy or Policy(), limits, cap, "digest", shard=shard)
        async with connected(account, (5000, 1.0), world) as client:
            for http in (client.wire.submits, client.wire.reads):
                http.headers.update({"X-Sandbox-Fault": faults} if faults else {})
            with Journal.open(self.folder(manifest), world) as journal:
                tally = Tally.of(journal.records)
                tally.want(task.id for task in tasks)
                session = Session(
                    account,
                    terms,
                    client,
                    journal,
                    tally,
                    observer,
                    world,
                    store=store,
                )
                runner = await session.run(
                    lambda: tasks, news, catalog(), lambda _: exit_code(tally.counts)
                )
                return runner, tally


@contextlib.contextmanager
def sandboxed(folder: Path, *extra: str, speed: float = 20_000) -> Iterator[Addresses]:
    """A sandbox for counting: fast, with clips that are all alike."""
    words = ("--speed", f"{speed:g}", "--profile", "plain", "--port", "0", *extra)
    with nursery.sandbox(folder / "sandbox", *words) as found:
        yield Addresses(**found)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that users have."""
    return "asyncio"


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One sandbox for a module; tests tell their charges apart by a word."""
    root = tmp_path_factory.mktemp("story")
    with sandboxed(root, "--balance", "1000000") as found:
        yield Story(root, found.api, root / "sandbox")


@pytest.fixture
def story(shared_sandbox: Story) -> Story:
    """The shared sandbox with a clean environment."""
    shared_sandbox.environ.clear()
    return shared_sandbox
