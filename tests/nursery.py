"""Processes that need not import the program: they are forked from one that did.

Most of what a short command costs is its imports. A nursery imports everything once
and forks a process for each command, which has its own environment, folder, umask and
standard streams, and is killed like any other. What only a fresh interpreter shows,
like what a command imports, is tested with `Story.start` and `subprocess`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

FAMILY = ("batchgen", "batchgen.cli", "batchgen.sandbox", "batchgen.report")
HEAVY = ("anyio._backends._asyncio", "uvicorn.loops.auto", "uvicorn.lifespan.off")
OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "TZ", "MALLOC")
"""It reads variables that begin so only when it starts."""


class Child:
    """A process that was forked in the nursery.

    Attributes:
        pid: for signals; it is valid until `wait` has told the end.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line, self._answers = line, line.makefile("r")
        self.pid = int(self._answers.readline())

    def wait(self, seconds: float) -> int:
        """Its return code; below zero it is a signal, as in `subprocess`.

        Raises:
            subprocess.TimeoutExpired: it did not end, and was killed.
        """
        ended = False
        try:
            ended = bool(select.select([self._line], [], [], seconds)[0])
        finally:
            if not ended:
                os.kill(self.pid, signal.SIGKILL)
            with self._line, self._answers:
                code = int(self._answers.readline())
        if not ended:
            raise subprocess.TimeoutExpired(str(self.pid), seconds)
        return code


def fork(
    module: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    streams: Sequence[int],
) -> Child:
    """`python -m MODULE …`; the streams are those files that are its 0, 1 and 2."""
    os.umask(umask := os.umask(0o77))
    order = ([module, *arguments], dict(environ), str(Path.cwd()), umask)
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_nursery(), [b"."], [theirs.fileno(), *streams])
    ours.sendall(f"{json.dumps(order)}\n".encode())
    return Child(ours)


def command(
    arguments: Sequence[str], environ: Mapping[str, str], seconds: float
) -> "subprocess.CompletedProcess[str]":
    """What `subprocess.run` makes of `batchgen …`, with its output as text."""
    with (
        open(os.devnull, "rb") as nothing,  # noqa: PTH123 - a device
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        streams = [one.fileno() for one in (nothing, out, err)]
        code = fork("batchgen", arguments, environ, streams).wait(seconds)
        told = [(one.seek(0), one.read())[1] for one in (out, err)]
    return subprocess.CompletedProcess(arguments, code, *told)


def can(environ: Mapping[str, str]) -> bool:
    """Whether an interpreter that began with our environment would do."""
    return all(
        environ.get(name) == os.environ.get(name)
        for name in {*environ, *os.environ}
        if name.startswith(OF_THE_INTERPRETER)
    )


@contextlib.contextmanager
def sandbox(data: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A sandbox, and its addresses: what `launch` does, in a third of the time."""
    data.mkdir(parents=True, exist_ok=True)
    words = ["--ends-with-stdin", "--data", str(data), *arguments]
    reading, leash = os.pipe()
    told, telling = os.pipe()
    with open(told) as first, (data / "sandbox.log").open("wb") as log:  # noqa: PTH123
        try:
            streams = [reading, telling, log.fileno()]
            child = fork("batchgen.sandbox", words, os.environ, streams)
        finally:
            os.close(reading)
            os.close(telling)
        try:
            yield json.loads(first.readline() or (data / "sandbox.log").read_text())
        finally:
            os.close(leash)
            child.wait(20)


@cache
def _nursery() -> socket.socket:
    """The line to ours, which ends with this process; each worker has its own."""
    here, there = socket.socketpair()
    with there:
        started = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C is for the tests
        )
    atexit.register(_closed, here, started)
    return here


def _closed(line: socket.socket, started: "subprocess.Popen[bytes]") -> None:
    line.close()
    started.wait()


# In the nursery.


def _main(number: int) -> None:
    sys.path.pop(0)  # this folder, which a command would not see
    for name in FAMILY:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            if module.name != "__main__":
                importlib.import_module(f"{name}.{module.name}")
    for name in HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as line:
        born = _born(line)
    if born:
        sys.argv[1:] = born[1:]
        runpy.run_module(born[0], run_name="__main__", alter_sys=True)


def _born(line: socket.socket) -> list[str]:
    """In each child its words; in the nursery, at the end, nothing."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        data, files, _, _ = socket.recv_fds(line, 1, 4)
        if not data:
            return []
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _kept(*files)
        for one in files:
            os.close(one)


def _kept(number: int, *streams: int) -> list[str]:
    """Fork once more and wait for that child: it needs a parent that knows its end."""
    with socket.socket(fileno=number) as line:
        words, environ, folder, umask = json.loads(line.makefile("r").readline())
        pid = os.fork()
        if pid:
            for one in streams:
                os.close(one)
            line.sendall(f"{pid}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                line.sendall(f"{code}\n".encode())
            os._exit(0)
    for place, one in enumerate(streams):
        os.dup2(one, place)
        os.close(one)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for all its life
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    os.umask(umask)
    return list(words)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
