"""The download origin: clips with ranges, validators and bad days."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from batchgen.models import catalog
from batchgen.sandbox.answers import hang_up
from batchgen.sandbox.detours import bomb, redirect
from batchgen.sandbox.door import Door, download_kind, met
from batchgen.sandbox.faults import Drawn
from batchgen.sandbox.media import Store
from batchgen.sandbox.renderer import Studio
from batchgen.sandbox.world import World

_CHUNK = 256 * 1024
_EXPIRED = frozenset({"expired_403", "expired_other_host", "expired_other_file"})
_HALVED = frozenset({"truncated", "stalled", "expires_midway"})
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def downloads(world: World) -> ASGIApp:
    """The download origin of a sandbox."""
    shelf, store = Shelf(world), Store(world)
    clip = "/predictions/{id:path}/{number:int}.mp4"
    routes = [
        Route(clip, shelf.clip, methods=["GET", "HEAD"]),
        Route("/uploads/{id}", store.put, methods=["PUT"]),
        Route("/media/{id}/{filename}", store.get, methods=["GET", "HEAD"]),
    ]
    return Door(Starlette(routes=routes), world, download_kind)


class Shelf:
    """Gives out the clips of completed predictions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._studio = Studio(world.clips, world.options.profile)

    async def clip(self, request: Request) -> Response:
        """One clip, rendered when it is first asked for."""
        world, faults = self._world, met(request.scope)
        identity = request.path_params["id"]
        now = world.clock.now()
        prediction = world.till.find(identity, now)
        if prediction is None or prediction.status(now) != "completed":
            return _denied()
        if request.query_params.get("sig") != world.signature(identity):
            return _denied()
        if odd := self._elsewhere(request, faults):
            return odd
        model = catalog()[prediction.model]
        path = await self._studio.clip(
            model, prediction.kept(model), f"{identity}/{request.path_params['number']}"
        )
        if "other_file" in faults:
            world.replace(identity)
        if world.replaced(identity):
            path = _other(path, identity)
        if faults.keys() & {"expires_midway", "expires_after"}:
            world.expire(identity)
        return Clip(path, _part(request, path, faults), faults)

    def _elsewhere(self, request: Request, faults: Drawn) -> Response | None:
        """An answer that is no clip, if a fault has one."""
        identity = request.path_params["id"]
        for name in _EXPIRED & faults.keys():
            self._world.expire(
                identity,
                elsewhere=name == "expired_other_host",
                other=name == "expired_other_file",
            )
            return _denied()
        if "gzip_bomb" in faults:
            return bomb(int(faults["gzip_bomb"] or 64))
        return redirect(request.url, faults, self._world.mirror)


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of a file are asked for; `status` is 200, 206 or 416."""

    status: int
    start: int
    end: int
    size: int
    etag: str
    modified: str


def _part(request: Request, path: Path, faults: Drawn) -> Part:
    facts = path.stat()
    etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    if "etag_changed" in faults:
        etag = f'"{time.monotonic_ns():x}"'
    modified = formatdate(facts.st_mtime, usegmt=True)
    size = facts.st_size
    whole = Part(200, 0, size, size, etag, modified)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range", etag)
    if asked is None or "ignore_range" in faults or condition not in (etag, modified):
        return whole
    first, last = asked.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return whole
    status = 206 if start < min(end, size) and "download_416" not in faults else 416
    return Part(status, start, end, size, etag, modified)


def _other(path: Path, identity: str) -> Path:
    """Another file of the same name: the clip and a box that players pass over."""
    other = path.with_suffix(".other.mp4")
    if not other.exists():
        box = len(identity) + 8
        free = box.to_bytes(4) + b"free" + identity.encode()
        fresh = other.with_suffix(".part")
        fresh.write_bytes(path.read_bytes() + free)
        fresh.replace(other)
    return other


def _denied() -> Response:
    text = '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
    return PlainTextResponse(text, status_code=403, media_type="application/xml")


class Clip(Response):
    """A part of a file on its way, perhaps with an accident."""

    def __init__(self, path: Path, part: Part, faults: Drawn) -> None:
        super().__init__(media_type="video/mp4")
        self._path, self._part, self._faults = path, part, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body."""
        part = self._part
        length = part.end - part.start if part.status != 416 else 0  # noqa: PLR2004
        told = length // 2 if "wrong_length" in self._faults else length
        start = {
            "type": "http.response.start",
            "status": part.status,
            "headers": self._head(told),
        }
        await send(start)
        if scope["method"] == "HEAD" or told == 0:
            await send({"type": "http.response.body", "body": b""})
            return
        broken = self._faults.keys() & _HALVED
        async for chunk in self._chunks(told // 2 if broken else told):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if "stalled" in self._faults:
            with anyio.move_on_after(self._faults["stalled"] or 600.0):
                while (await receive())["type"] != "http.disconnect":
                    pass
        if broken:
            await hang_up(scope, receive)
        else:
            await send({"type": "http.response.body", "body": b""})

    def _head(self, length: int) -> list[tuple[bytes, bytes]]:
        part = self._part
        head = {
            "content-type": "video/mp4",
            "content-length": str(length),
            "accept-ranges": "bytes",
            "etag": part.etag,
            "last-modified": part.modified,
        }
        if part.status == 206:  # noqa: PLR2004
            start = part.start + ("wrong_range" in self._faults)
            head["content-range"] = f"bytes {start}-{part.end - 1}/{part.size}"
        if part.status == 416:  # noqa: PLR2004
            head["content-range"] = f"bytes */{part.size}"
        return [(name.encode(), value.encode()) for name, value in head.items()]

    async def _chunks(self, length: int) -> AsyncIterator[bytes]:
        pace = self._faults.get("slow_download") or 64 * 1024
        slow = "slow_download" in self._faults
        size = max(1, int(pace / 10)) if slow else _CHUNK
        pause = size / pace
        with self._path.open("rb") as file:
            file.seek(self._part.start)
            while length > 0 and (chunk := file.read(min(size, length))):
                length -= len(chunk)
                yield chunk
                if slow:
                    await anyio.sleep(pause)
