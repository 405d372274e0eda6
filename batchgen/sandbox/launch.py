"""Starts a sandbox beside this process and ends it with it."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from batchgen.errors import BatchgenError, UsageError
from batchgen.sandbox.options import Addresses

_NEEDED = ("av", "PIL", "fontpkg_inter", "starlette", "uvicorn", "httptools")
_LOG = "sandbox.log"


def require() -> None:
    """Make sure that the extra is installed.

    Raises:
        UsageError: it is not; the advice names the command.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            "the sandbox is not installed: pip install 'batchgen[sandbox]'",
            rule="missing-extra",
            advice="from a checkout: pip install '.[sandbox]'",
        )


@contextlib.contextmanager
def launch(
    data: Path,
    *,
    speed: float = 180.0,
    faults: str = "calm",
    profile: str = "full",
    port: int = 0,
    extra_args: Sequence[str] = (),
) -> Iterator[Addresses]:
    """A sandbox for the length of a `with` block; it dies with this process.

    Raises:
        BatchgenError: it does not start; the message is its last word.
    """
    with process(
        data,
        "--speed",
        f"{speed:g}",
        "--faults",
        faults,
        "--profile",
        profile,
        "--port",
        str(port),
        *extra_args,
    ) as (addresses, _):
        yield addresses


@contextlib.contextmanager
def process(
    data: Path, *arguments: str
) -> Iterator[tuple[Addresses, "subprocess.Popen[bytes]"]]:
    """The same with any arguments, and the process itself in hand."""
    require()
    try:
        data.mkdir(parents=True, exist_ok=True)
        log = (data / _LOG).open("wb")
    except OSError as error:
        raise BatchgenError(f"{data}: {error.strerror}", rule="disk") from error
    with log:
        started = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-m", "batchgen.sandbox", "--ends-with-stdin"),
                *("--data", str(data), *arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is not for it
        )
    with started:
        # Leaving closes standard input, which ends it, and waits for that.
        yield _addresses(started, data / _LOG), started


def _addresses(started: "subprocess.Popen[bytes]", log: Path) -> Addresses:
    assert started.stdout is not None  # noqa: S101 - it was asked for above
    line = started.stdout.readline()
    if line:
        return Addresses(**json.loads(line))
    started.wait()
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = words[-1].removeprefix("batchgen: ") if words else "it said nothing"
    raise BatchgenError(f"the sandbox does not start: {last}", rule="sandbox")
