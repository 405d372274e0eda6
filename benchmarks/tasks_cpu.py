"""P2: processor time of a task from its row to its file, against less careful peers.

    python -m benchmarks.tasks_cpu [--quick] [--json]

The service answers at once and the clips are small, so all that is measured is our own
work: whole commands, from their start to their summary, journal and report included.
Peers: the vendor's package in a thread pool, and a script on aiohttp that keeps no
state. Over TLS they do it once more, for the service is reached in no other way: there
the package opens a connection for each request and reads all authorities for it, so
its bound is told there. Then the same without submissions: a run whose clips are all
paid and in flight is resumed, and the script is told the ids.
"""

import contextlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks import nginx
from benchmarks.figures import Figure, Skipped, main
from benchmarks.stage import INSTANT, Stage, in_turns, predictions, sealed, spent, stage

BUY = ("--quiet", "--yes", "--budget", "100000000", "--max-tasks", "1000000")
FLAGS = (*BUY, "--reads", "10000/s")
SLOW = ("--profile", "plain", "--tier", "ultra", "--speed", "1", "--list-delay", "0")
# No clip is ever fetched, so the disk need not have room for a terabyte of them.
_ROOMY = """
import shutil, sys
shutil.disk_usage = lambda _: shutil._ntuple_diskusage(1 << 60, 0, 1 << 60)
from batchgen.cli import main
main()
"""
_PATIENCE = 300.0  # seconds, until all of a run is in flight


def measure(*, quick: bool) -> Iterator[Figure]:
    """Whole tasks, then tasks without submissions."""
    for peer in ("wavespeed", "aiohttp"):
        if find_spec(peer) is None:
            raise Skipped(f"{peer} is not installed")
    # Nothing is removed before all is measured: some file systems make names slowly for
    # minutes after that.
    with tempfile.TemporaryDirectory() as folder:
        yield from _whole(Path(folder), 50 if quick else 2_000, 1 if quick else 3)
        yield from _resumed(Path(folder), 50 if quick else 2_000, 1 if quick else 5)


def _whole(folder: Path, tasks: int, rounds: int) -> Iterator[Figure]:
    root = folder / "whole"
    root.mkdir()
    with stage(*INSTANT, root=root) as on:
        ours, package, script = _bought(on, "plain", tasks, rounds)
        what = f"CPU of a task, {tasks:,} of them"
        yield _figure(what, ours / tasks, 8, 5, "aiohttp script", script / tasks)
        yield _figure(what, ours / tasks, None, None, "wavespeed", package / tasks)
        if lacking := nginx.missing():
            raise Skipped(f"{', '.join(lacking)} not installed: nothing over TLS")
        tasks = tasks // 2  # the package needs a minute for a thousand
        with sealed(on) as tls:
            ours, package, script = _bought(tls, "tls", tasks, rounds)
    what = f"CPU of a task over TLS, {tasks:,} of them"
    yield _figure(what, ours / tasks, 8, 5, "aiohttp script", script / tasks)
    yield _figure(what, ours / tasks, 0.5, 0.35, "wavespeed", package / tasks)


def _bought(on: Stage, name: str, tasks: int, rounds: int) -> list[float]:
    """Seconds of each contender."""
    manifest = on.manifest(f"boats-{name}", tasks, "concurrency: 500")
    return in_turns(
        rounds,
        lambda turn: on.batchgen(
            "run", str(manifest), "--run", f"{name}{turn}", *FLAGS
        ),
        lambda turn: _peer(on, "wavespeed", f"{name}{turn}", str(tasks)),
        lambda turn: _peer(on, "script", f"{name}{turn}", str(tasks)),
    )


def _resumed(folder: Path, tasks: int, rounds: int) -> Iterator[Figure]:
    bought = folder / "bought"
    bought.mkdir()
    with stage(*SLOW, "--balance", "100000000", root=bought) as on:
        _in_flight(on, "boats", tasks)
    for tls in (False,) if nginx.missing() else (False, True):
        turns = []
        for turn in range(rounds):
            copy = shutil.copytree(bought, folder / f"{tls}{turn}")
            turns.append(_collected(copy, tls=tls))
        ours, script = map(statistics.median, zip(*turns, strict=True))
        way = " over TLS" if tls else ""
        what = f"CPU of a task in flight{way}, {tasks:,} of them"
        yield _figure(what, ours / tasks, 4, 2.5, "aiohttp script", script / tasks)


def _collected(root: Path, *, tls: bool) -> tuple[float, float]:
    """Seconds of each contender, two hours later, when all clips are done."""
    with contextlib.ExitStack() as stack:
        on = stack.enter_context(stage(*INSTANT, "--offset", "7200", root=root))
        on = stack.enter_context(sealed(on)) if tls else on
        ours = on.batchgen("run", str(root / "boats.yaml"), *FLAGS)
        return ours, _peer(on, "collect", "script", str(root / "boats.ids"))


def _peer(on: Stage, name: str, turn: str, what: str) -> float:
    folder = on.root / f"{name}{turn}"
    peer = (*on.python("benchmarks.peers"), name, on.api, str(folder), what)
    return spent(peer, on.environ())


def _figure(
    what: str,
    ours: float,
    bound: float | None,
    beyond: float | None,
    peer: str,
    theirs: float,
) -> Figure:
    micro = 1e6
    return Figure("P2", what, ours * micro, "us", bound, beyond, peer, theirs * micro)


def _in_flight(on: Stage, name: str, tasks: int) -> None:
    """Leave a run whose clips are all bought, and write down their ids."""
    manifest = on.manifest(name, tasks, f"concurrency: {min(tasks, 5_000)}")
    journal = on.folder(manifest) / "state.jsonl"
    with in_flight(on, manifest, tasks):
        pass
    ids = predictions(journal)
    (on.root / f"{name}.ids").write_text("\n".join(ids), encoding="utf-8")


@contextlib.contextmanager
def in_flight(
    on: Stage, manifest: Path, tasks: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A run that waits for so many clips; at the end it is interrupted twice."""
    journal = on.folder(manifest) / "state.jsonl"
    command = [sys.executable, "-c", _ROOMY, "run", str(manifest), *BUY]
    begun = time.monotonic()
    with subprocess.Popen(
        command, env=on.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        while not journal.exists() or len(predictions(journal)) < tasks:
            if run.poll() is not None or time.monotonic() - begun > _PATIENCE:
                run.kill()
                raise RuntimeError(f"{manifest.stem} was not all bought")
            time.sleep(0.5)
        yield run
        for _ in range(2):
            run.send_signal(signal.SIGINT)
            time.sleep(1)


if __name__ == "__main__":
    main(measure)
