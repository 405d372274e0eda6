"""Two origins on the loopback, until somebody says stop."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from batchgen.errors import BatchgenError
from batchgen.sandbox.answers import CONNECTION
from batchgen.sandbox.app import api
from batchgen.sandbox.downloads import downloads
from batchgen.sandbox.options import Addresses, Options, parse
from batchgen.sandbox.world import World

_HOST = "127.0.0.1"
_PATIENCE = 10.0
"""Seconds to wait for a predecessor that is just ending to leave the data."""


def main(arguments: Sequence[str]) -> int:
    """`python -m batchgen.sandbox`."""
    try:
        run(parse(arguments))
    except BatchgenError as error:
        print(f"batchgen: {error.message}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def run(options: Options) -> None:
    """Serve until SIGINT, SIGTERM or, if so asked, the end of standard input.

    One line of JSON on standard output tells the two addresses.

    Raises:
        BatchgenError: the port, the data or the plan of faults cannot be used.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(options.data))
        front = stack.enter_context(_listener(options.port))
        back = stack.enter_context(_listener(0))
        mirror = stack.enter_context(_listener(0))
        addresses = Addresses(api=_origin(front), downloads=_origin(back))
        world = World(options, addresses)
        stack.callback(world.close)
        world.mirror = _origin(mirror)
        clips = downloads(world)
        origins = [_Server(api(world), front)]
        origins += [_Server(clips, back), _Server(clips, mirror)]
        world.shut = origins[0].shut
        factory = origins[0].config.get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve(origins, addresses, options))


async def _serve(
    origins: Sequence["_Server"], addresses: Addresses, options: Options
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for origin in origins:
            origin.stop()

    def hear() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if options.ends_with_stdin:
        loop.add_reader(0, hear)
    async with asyncio.TaskGroup() as group:
        for origin in origins:
            group.create_task(origin.serve([origin.socket]))
        # The sockets already listen: whoever connects now waits a moment at most.
        print(json.dumps(asdict(addresses)), flush=True)  # noqa: T201


class _Server(uvicorn.Server):
    """A server that leaves signals to its owner: there are two of it."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        self.socket = listening
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer what is being answered, then end."""
        self.should_exit = True
        self._stopping.set()

    async def shut(self, seconds: float) -> None:
        """Refuse new connections for a while; those that stand are kept."""
        address = self.socket.getsockname()
        for server in self.servers:
            server.close()
        self.socket.close()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.socket = _listener(address[1])
            await self.startup([self.socket])

    async def main_loop(self) -> None:
        await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that it can be cut."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {CONNECTION: self.transport}
        self.scope["extensions"] = extensions


def _listener(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise BatchgenError(f"port {port}: {reason}", rule="usage") from error
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def _origin(listening: socket.socket) -> str:
    return f"http://{_HOST}:{listening.getsockname()[1]}"


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("wb")
    except OSError as error:
        raise BatchgenError(f"{data}: {error.strerror}", rule="disk") from error
    with lock:
        _take(lock, data)
        yield


def _take(lock: IO[bytes], data: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                message = f"{data}: another sandbox keeps its till here"
                raise BatchgenError(message, rule="locked") from error
            time.sleep(0.05)
        else:
            return
