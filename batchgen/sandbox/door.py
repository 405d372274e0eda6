"""What every request passes before it is answered: counting, the key, the faults."""

from collections.abc import Callable, MutableMapping
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchgen.errors import BatchgenError
from batchgen.sandbox import answers, faults, spoilt
from batchgen.sandbox.clock import SECOND, http_date
from batchgen.sandbox.world import World

API = "/api/v3/"
FAULTS = "batchgen.faults"
"""Where a handler finds the faults of its request."""

Kind = Callable[[Scope], tuple[str, str]]
"""From a request to its kind and, for submissions, its model."""


class Door:
    """Wraps an origin; requests leave it with a date and the faults they met."""

    def __init__(self, app: ASGIApp, world: World, kind: Kind) -> None:
        self._app, self._world, self._kind = app, world, kind
        self._second, self._date = 0, b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let a fault answer, or let the application answer."""
        if scope["type"] != "http":
            return
        app = await self._admit(scope)

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"date", self._now())]
            await send(message)

        await app(scope, receive, dated)

    async def _admit(self, scope: Scope) -> ASGIApp:
        headers = dict(scope["headers"])
        kind, model = self._kind(scope)
        self._world.counts.requests[f"{scope['method']} {model or kind}"] += 1
        if refused := self._locked(kind, headers):
            return refused
        try:
            named = headers.get(faults.HEADER, b"").decode("latin-1")
            drawn = self._world.plan.draw(kind, model, named)
        except BatchgenError as error:
            return answers.refusal(400, error.message)
        scope[FAULTS] = drawn
        for slow in ("slow_result", "slow_list"):
            if slow in drawn:
                await anyio.sleep(drawn[slow] or 5.0)
        if "close_door" in drawn:
            return Shutter(self._world, drawn["close_door"] or 1.0)
        if not drawn:
            return self._app
        return spoilt.before(drawn, self._world.clock.now()) or self._app

    def _locked(
        self, kind: str, headers: MutableMapping[bytes, bytes]
    ) -> answers.Json | None:
        key = headers.get(b"authorization", b"")
        if kind in ("download", "put", "media"):
            if key:
                self._world.counts.authorization_at_downloads += 1
                return answers.refusal(400, "a key was sent to the download host")
            return None
        if kind == "inspect":
            return None
        token = key[7:].strip() if key[:7].lower() == b"bearer " else b""
        if not token or token.startswith(b"wrong"):
            return answers.refusal(401, "Invalid API key.")
        return None

    def _now(self) -> bytes:
        now = self._world.clock.now()
        if now // SECOND != self._second:
            self._second, self._date = now // SECOND, http_date(now).encode()
        return self._date


class Shutter:
    """Hangs up and lets nobody connect for a while."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world, self._seconds = world, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the door before the client can try again."""
        async with anyio.create_task_group() as group:
            if self._world.shut is not None:
                group.start_soon(self._world.shut, self._seconds)
            await answers.HangUp(unread=True)(scope, receive, send)


def met(scope: Scope) -> faults.Drawn:
    """The faults of a request."""
    drawn: faults.Drawn = scope.get(FAULTS, {})
    return drawn


def download_kind(scope: Scope) -> tuple[str, str]:
    """What an address of the download origin is asked for."""
    path: str = scope["path"]
    if path.startswith("/media/"):
        return "media", ""
    return ("put", "") if path.startswith("/uploads/") else ("download", "")


def api_kind(scope: Scope) -> tuple[str, str]:
    """What an address of the API is asked for."""
    path: str = scope["path"]
    if not path.startswith(API):
        return ("inspect", "") if path.startswith("/__sandbox__/") else ("other", "")
    rest = path[len(API) :]
    if kind := _KINDS.get(rest):
        return kind, ""
    if scope["method"] == "POST" and not rest.startswith("predictions/"):
        return "submit", rest
    return ("result", "") if rest.startswith("predictions/") else ("other", "")


_KINDS: dict[str, Any] = {
    "predictions": "list",
    "predictions/delete": "other",
    "balance": "balance",
    "models": "models",
    "model/price": "price",
    "model/pricing": "price",
    "billings/search": "billing",
    "user/usage_stats": "billing",
    "media/uploads": "upload",
    "media/upload/binary": "upload",
}
