"""What the benchmarks of whole runs share: a sandbox on a core of its own, and a scale.

The scale is processor time: a process is started, waited for, and what it and its
threads used is read from the system. So a busy machine does not spoil a figure.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import certifi

from batchgen.sandbox.launch import process
from benchmarks import nginx

MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
INSTANT = ("--profile", "plain", "--speed", "1e9", "--balance", "100000000")
"""Clips that are all alike, and done at once."""


_DOOR = """
  upstream sandbox {{ server {api}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    location / {{
      proxy_pass http://sandbox; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host {api};
    }}
  }}
"""
# Whoever comes by the usual authorities also believes the benchmark's own.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_TRUSTING = """
import certifi, os
certifi.where = lambda: os.environ["SSL_CERT_FILE"]
"""
# httpcore loads trio and httpx pygments where they are; only the tests bring them.
_RUN = """
import runpy, sys
sys.modules["trio"] = sys.modules["pygments"] = None
runpy.run_module({module!r}, None, "__main__", True)
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A sandbox, and a folder for whoever works against it.

    `authorities` is a file of certificates, if its address is one of TLS.
    """

    api: str
    server: int
    root: Path
    authorities: Path | None = None

    def environ(self) -> dict[str, str]:
        """What batchgen is told by its environment."""
        return {
            **os.environ,
            "WAVESPEED_API_KEY": "benchmark-key-1234567890",
            "WAVESPEED_BASE_URL": self.api,
            "BATCHGEN_OUTPUTS": str(self.root / "outputs"),
            **(
                {}
                if self.authorities is None
                else dict.fromkeys(_BUNDLES, str(self.authorities))
            ),
        }

    def python(self, module: str) -> tuple[str, ...]:
        """What runs a module."""
        trusting = "" if self.authorities is None else _TRUSTING
        return (sys.executable, "-c", trusting + _RUN.format(module=module))

    def manifest(self, name: str, tasks: int, *more: str) -> Path:
        """A manifest of so many prompts."""
        path = self.root / f"{name}.yaml"
        prompts = (f"  - Boat {one} of {name} drifts" for one in range(tasks))
        keys = (f"name: {name}", *more, "settings: {duration: 3}", "prompts:")
        path.write_text("\n".join((*keys, *prompts)) + "\n", encoding="utf-8")
        return path

    def folder(self, manifest: Path) -> Path:
        """Where the run of a manifest lives."""
        return self.root / "outputs" / f"{manifest.stem}.sandbox"

    def batchgen(self, *arguments: str) -> float:
        """Run the program; seconds of processor time."""
        return spent((*self.python("batchgen"), *arguments), self.environ())


@contextlib.contextmanager
def stage(*arguments: str, root: Path | None = None) -> Iterator[Stage]:
    """A sandbox with these arguments, for the length of a `with` block.

    It remembers what it sold in `root`, if one is given.
    """
    with contextlib.ExitStack() as stack:
        if root is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = process(root / "sandbox", *arguments)
        addresses, started = stack.enter_context(running)
        stack.enter_context(_apart(started.pid))
        yield Stage(addresses.api, started.pid, root)


@contextlib.contextmanager
def sealed(on: Stage) -> Iterator[Stage]:
    """The same stage behind TLS, as the real service is; nginx opens the seals."""
    folder, port = on.root / "tls", nginx.free_port()
    folder.mkdir()
    own = nginx.certificate(folder, "127.0.0.1")
    bundle = folder / "authorities.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + own.read_bytes())
    core = None
    if hasattr(os, "sched_getaffinity"):
        core = max(os.sched_getaffinity(on.server))
    body = _DOOR.format(port=port, api=on.api.partition("//")[2])
    with nginx.running(folder, body, port, core=core):
        yield replace(on, api=f"https://127.0.0.1:{port}", authorities=bundle)


@contextlib.contextmanager
def _apart(server: int) -> Iterator[None]:
    """Give the sandbox the last core and ourselves the others, where that can be."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(server, {max(cores)})
        os.sched_setaffinity(0, cores - {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def spent(command: Sequence[str], environ: Mapping[str, str] | None = None) -> float:
    """Run a command to its end; the processor time of it and of its children.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    before = os.times()
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode:
        raise RuntimeError(
            f"{command} ended with {done.returncode}: {done.stderr[-800:]}"
        )
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def in_turns(rounds: int, *contenders: Callable[[int], float]) -> list[float]:
    """Let each have its turn, round after round; the median of each.

    A contender is told the number of the round.
    """
    figures = [[one(number) for one in contenders] for number in range(rounds)]
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def predictions(journal: Path) -> list[str]:
    """The ids of what was bought, as the state file tells."""
    lines = journal.read_text(encoding="utf-8").splitlines()
    return [
        json.loads(one)["prediction"] for one in lines if '"t":"AttemptAccepted"' in one
    ]
