"""A computer that can die: batchgen's world with a virtual clock beneath it.

Time, network, disk, threads, signals and chance all come from here. Death is one flag:
from then on nothing reaches the disk or the network any more, whatever the dying
program still tries.
"""

import json
import random
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpcore
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from batchgen.sockets import Question, Served
from batchgen.world import Patience, World

from .disk import Died, Image, SimulatedDisk, Twist, full
from .provider import EPOCH, Provider, Reply, Swarm, clip_of

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
CONNECTIONS = ("connect-refused", "connect-timeout", "tls-failed")
DOWNLOADS = ("file-reset", "file-5xx", "file-short", "file-page")


@dataclass
class Fuse:
    """When the process dies: at a step, at a call to the disk, or at a moment.

    The twist says whether it dies before, half-way through or after that call.
    """

    steps: int | None = None
    twist: Twist = ""
    at: float | None = None
    call: int | None = None


class Machine:
    """The computer, across its crashes.

    Attributes:
        disk: of the process that runs now.
        acknowledged: the highest record that somebody was told is durable.
        on_request: told of a submission's first byte (None) and of its whole body.
        steps: calls to disk and network in this process.
        skew: how wrong somebody set the clock; slept: while nobody saw, seconds.
        interrupts: signals that this process has had.
        calls: to the disk alone.
        spoil: may let such a call fail, by its number and name.
    """

    def __init__(
        self, root: Path, swarm: Swarm, provider: Provider, chance: random.Random
    ) -> None:
        self.root = root
        self.swarm = swarm
        self.provider = provider
        self.chance = chance
        self.disk = SimulatedDisk(root, self._interrupt)
        self.boots = 0
        self.skew = self.slept = 0.0
        self.acknowledged = 0
        self.steps = self.calls = self.interrupts = 0
        self.spoil: Callable[[int, str], Twist] = lambda _call, _name: ""
        self.alarms: list[str] = []
        self.fuse = Fuse()
        self.full_until = 0.0
        self.on_request: Callable[[dict[str, Any] | None], None] = lambda _: None
        self.signalled: MemoryObjectSendStream[int] | None = None
        self._credit = 0
        self._death = anyio.Event()

    # Life and death.

    def start(self, fuse: Fuse | None = None) -> World:
        """A new process; its fuse says when it dies."""
        self.steps = self.calls = self.interrupts = 0
        self.signalled = None
        self.fuse = fuse or Fuse()
        self._death = anyio.Event()
        return World(
            now=self.now,
            awake=self.awake,
            chance=random.Random(self.chance.random()),  # noqa: S311
            disk=self.disk,
            boot=f"boot-{self.boots}",
            host="simulated",
            runtime=self.root / "runtime",
            alarm=self.alarms.append,
            patience=Patience(retry=1, calm=4, endure=8, hold=60),
            thread=self.thread,
            signals=self.signals,
            network=Network(self),
            files=Files(self),
        )

    def die(self) -> None:
        """Now. Whoever waits for anything wakes up dead."""
        self.disk.die()
        self._death.set()

    def restart(self, image: Image, *, power_loss: bool) -> None:
        """What is found after the crash: all of it, or an image after a power loss."""
        if power_loss:
            self.boots += 1
            self.disk = self.disk.restart(image, self.chance)
        else:
            self.disk.dead = False  # what was not synced is still not on the platter

    def step(self) -> Twist:
        """One more thing that can be the last one."""
        if self.disk.dead:
            raise Died
        self.steps += 1
        return self._burn() if self.steps == self.fuse.steps else ""

    def _burn(self) -> Twist:
        if self.fuse.twist:
            self._death.set()  # the disk dies behind the call
            return self.fuse.twist
        self.die()
        raise Died

    def _interrupt(self, name: str, size: int) -> Twist:
        self.calls += 1
        twist = self.step()
        if self.calls == self.fuse.call:
            twist = self._burn()
        twist = twist or self.spoil(self.calls, name)
        if twist:
            return twist
        if size < 0:
            self._credit -= size
        elif anyio.current_time() < self.full_until and not self.swarm.calm:
            if name == "open" or size > self._credit:
                raise full()
            self._credit -= size
        if self.swarm.strikes("short-write"):
            return "short"
        return ""

    # What batchgen is given.

    def now(self) -> datetime:
        """The time of day, as wrong as somebody set it."""
        seconds = anyio.current_time() + self.slept + self.skew
        return EPOCH + timedelta(seconds=seconds)

    def awake(self) -> float:
        """The clock that nobody sets, and that goes on in sleep."""
        return anyio.current_time() + self.slept

    async def pause(self, seconds: float) -> None:
        """Wait, or die waiting."""
        with anyio.move_on_after(seconds):
            await self._death.wait()
        if self.disk.dead or self._death.is_set():
            self.die()
            raise Died

    async def thread(
        self,
        function: Callable[..., Any],
        *args: Any,
        abandon_on_cancel: bool = False,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> Any:
        """What a thread would do, done here, some virtual time later."""
        with anyio.CancelScope(shield=not abandon_on_cancel):
            async with limiter or nullcontext():
                await self.pause(self.chance.choice((0, 0.001, 0.02)))
                result = function(*args)
                await self.pause(self.chance.choice((0, 0.001, 0.02)))
        return result

    def interrupt(self) -> int:
        """A signal, if anybody listens; how many this process has had.

        The third is `os._exit`: here, death.
        """
        if self.signalled is None:
            return 0
        number = self.chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        self.interrupts += 1
        if self.interrupts > 2:
            self.die()
            return self.interrupts
        with suppress(anyio.ClosedResourceError, anyio.WouldBlock):
            self.signalled.send_nowait(number)
        return self.interrupts

    @contextmanager
    def signals(self, *_wanted: int) -> Iterator[MemoryObjectReceiveStream[int]]:
        """Where the scenario's signals arrive."""
        send, receive = anyio.create_memory_object_stream[int](8)
        with send, receive:
            self.signalled = send
            yield receive


class Network(httpcore.AsyncNetworkBackend):
    """The network beneath the stock transport."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """A connection, unless the network is against it."""
        machine = self._machine
        machine.step()
        await machine.pause(0.01)
        fault = machine.swarm.first(CONNECTIONS)
        if fault == "connect-refused":
            raise httpcore.ConnectError("refused")
        if fault == "connect-timeout":
            await machine.pause(10)
            raise httpcore.ConnectTimeout("no answer")
        return Connection(machine, bad_tls=fault == "tls-failed")

    async def sleep(self, seconds: float) -> None:
        """Nobody asks for it."""
        await self._machine.pause(seconds)


class Connection(httpcore.AsyncNetworkStream):
    """One connection; it understands HTTP/1.1 with a Content-Length."""

    def __init__(self, machine: Machine, *, bad_tls: bool) -> None:
        self._machine = machine
        self._bad_tls = bad_tls
        self._sent = b""
        self._reply: Reply | None = None
        self._ready = 0.0

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """The lock on the door."""
        await self._machine.pause(0.01)
        if self._bad_tls:
            raise httpcore.ConnectError("the certificate does not fit")
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send; what arrived and what the sender hears are two things."""
        del timeout
        machine = self._machine
        machine.step()
        if not self._sent and _is_submission(buffer):
            machine.on_request(None)
        self._sent += buffer
        head, gap, body = self._sent.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not gap or len(body) < int(length[1] if length else 0):
            await machine.pause(0)
            return
        method, path = head.split(b" ", 2)[:2]
        binary = b"/media/upload/binary " in head
        value = json.loads(body) if body and not binary else {}
        if _is_submission(head):
            machine.on_request(value)
        self._sent = b""
        self._reply = machine.provider.receive(method.decode(), path.decode(), value)
        self._ready = anyio.current_time() + self._reply.wait
        await machine.pause(0)
        if machine.swarm.strikes("write-error"):
            raise httpcore.WriteError("broken pipe")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Bytes of the answer, its end, or nothing for too long."""
        machine = self._machine
        machine.step()
        left = float("inf") if self._reply is None else self._ready
        wait = max(0.0, left - anyio.current_time())
        patience = float("inf") if timeout is None else timeout
        reply = self._reply
        if (
            wait > patience
            or reply is None
            or (not reply.data and reply.then == "hang")
        ):
            await machine.pause(patience)
            raise httpcore.ReadTimeout
        await machine.pause(wait)
        data, rest = reply.data[:max_bytes], reply.data[max_bytes:]
        self._reply = Reply(rest, 0.0, reply.then) if rest or reply.then else None
        if not data and reply.then == "reset":
            raise httpcore.ReadError("connection reset")
        return data

    async def aclose(self) -> None:
        """Nothing to put away."""

    def get_extra_info(self, info: str) -> Any:
        """A connection without secrets."""
        del info


class Files:
    """Where the clips lie."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def ask(self, question: Question) -> Served:
        """A clip, part of one, or trouble."""
        self._machine.step()
        now = self._machine.provider.now()
        if now > float(question.url.params.get("until", "0")):
            return _Given(403)
        name = question.url.path.strip("/").removesuffix(".mp4")
        data = clip_of(name)
        headers = {"etag": f'"{name}"', "content-length": str(len(data))}
        match self._machine.swarm.first(DOWNLOADS):
            case "file-reset":
                raise httpx.ReadError("reset")
            case "file-5xx":
                return _Given(503)
            case "file-short":
                return _Given(200, headers, data[: len(data) // 2], broken=True)
            case "file-page":
                return _Given(200, {"content-type": "text/html"}, b"<html>")
            case _:
                pass
        return _part(question.headers, data, headers)

    def close(self) -> None:
        """Nothing to hang up."""


class _Given:
    """An answer with its body, which may break off."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
        *,
        broken: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self._data = data
        self._broken = broken

    def read_into(self, view: memoryview) -> int:
        """What is there of it."""
        if self._broken and not self._data:
            raise httpx.ReadError("the connection broke")
        count = min(len(view), len(self._data))
        view[:count], self._data = self._data[:count], self._data[count:]
        return count

    def close(self) -> None:
        """Nothing to put away."""


def _part(asked: Mapping[str, str], data: bytes, headers: dict[str, str]) -> _Given:
    """The rest of a clip if that was asked for, else the whole."""
    span = re.fullmatch(r"bytes=(\d+)-", asked.get("Range", ""))
    if span is None or asked.get("If-Range") != headers["etag"]:
        return _Given(200, headers, data)
    start = int(span[1])
    headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    headers["content-length"] = str(len(data) - start)
    return _Given(206, headers, data[start:])


def _is_submission(head: bytes) -> bool:
    reads = (
        b"predictions", b"billings/search", b"model/price", b"model/pricing",
        b"media/uploads", b"media/upload/binary",
    )  # fmt: skip
    return head.startswith(b"POST ") and not any(
        head.startswith(b"POST /api/v3/%b " % read) for read in reads
    )
