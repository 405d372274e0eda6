"""Connections to the API: how they are opened, and what they prove.

Submissions get a fresh connection each, because only then do the trace events of the
stock transport prove whether a byte of the request left; readings keep their
connections; uploads go to another origin by a client that has no key. None of them
follows redirects, reads the environment, or sends the key anywhere but to the
configured origin.
"""

import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx

from batchgen.answers import Answer, is_envelope
from batchgen.connections import ERRORS, Line
from batchgen.errors import ApiError, NotSent, Unavailable, Uncertain
from batchgen.http1 import Raw
from batchgen.pace import Pace
from batchgen.redaction import Redaction
from batchgen.servicetime import ServiceClock
from batchgen.trust import trust
from batchgen.world import awake

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

LARGEST = 2 * 1024 * 1024
"""Bytes of an answer, unless more are asked for."""

# Waiting is cheap, not knowing is not: the read limit is far beyond any answer time.
_SUBMIT = {"connect": 10.0, "write": 30.0, "read": 120.0}
# A picture is written in one go: the deadline of all ends that.
_READ = {"connect": 10.0, "write": inf, "read": 30.0}
_READ_DEADLINE = 60.0
_READS_IN_FLIGHT = 32  # 150 a second, the most of any tier, if each takes 0.2 s


class Phase:
    """How far a submission came, told by the transport's trace events alone."""

    def __init__(self) -> None:
        self.failed_to_connect = ""
        self.started = False
        self.sent = False
        self.answered = False

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        """Note one event."""
        del info
        if name in ("connection.connect_tcp.failed", "connection.start_tls.failed"):
            self.failed_to_connect = name.split(".")[1]
        elif name.endswith(".send_request_headers.started"):
            self.started = True
        elif name.endswith(".send_request_body.complete"):
            self.sent = True
        elif name.endswith(".receive_response_headers.complete"):
            self.answered = True

    def verdict(
        self, error: Exception, redact: Callable[[str], str] = str
    ) -> NotSent | Uncertain:
        """Not sent only with proof; no proof is doubt."""
        if self.failed_to_connect and not self.started:
            return NotSent(redact(sentence(error)), phase=self.failed_to_connect)
        phase = "connecting"
        if self.started:
            phase = "body incomplete"
        if self.sent:
            phase = "no answer"
        if self.answered:
            phase = "answer incomplete"
        return Uncertain(redact(sentence(error)), phase=phase)


class Wire:
    """One account's connections to one address of the API.

    Attributes:
        submits: a fresh connection for each request.
        reads: kept connections.
        puts: to where uploads go; it holds no key.
        clock: what the answers told of the service's time.
        redact: keeps our key out of whatever was answered.
        answered: whether any request of this session ever got any answer.
        silent_since: when the oldest request began after which nothing was heard,
            by the event loop's clock; None while the service talks.
    """

    def __init__(
        self,
        submits: Line,
        reads: Line,
        puts: httpx.AsyncClient,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        awake: Callable[[], float] = awake,
        redact: Redaction,
    ) -> None:
        self.submits = submits
        self.reads = reads
        self.puts = puts
        self.clock = ServiceClock(now, awake)
        self.redact = redact
        self.answered = False
        self.silent_since: float | None = None
        self._pace = pace
        self._room = anyio.Semaphore(_READS_IN_FLIGHT, fast_acquire=True)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        base_url: str,
        key: str,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        awake: Callable[[], float] = awake,
        proxy: str | None = None,
        network: "AsyncNetworkBackend | None" = None,
    ) -> AsyncIterator[Self]:
        """Open all clients.

        Args:
            base_url: scheme, host and port; the API's paths are added.
            key: sent as a Bearer token to this origin only.
            pace: of reading requests.
            now: the time of day, to learn the service's clock offset.
            awake: seconds on a clock that nobody sets and that sleep does not stop.
            proxy: for all requests; the environment's is never used.
            network: beneath the stock transports, whose trace events stay their own.

        Raises:
            ApiError: the key cannot be sent at all.
        """
        if not (key.isascii() and key.isprintable() and key.strip() == key):
            raise ApiError(
                "the API key has characters that no key has", rule="bad-key", http=401
            )
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept-Encoding": "identity",
            "User-Agent": "batchgen",
        }
        common: dict[str, Any] = {
            "base_url": f"{base_url.rstrip('/')}/api/v3/",
            "headers": headers,
            "proxy": proxy,
            "network": network,
        }
        submits = Line(limits=_SUBMIT, keep=False, **common)
        reads = Line(limits=_READ, keep=True, **common)
        # Dialled by checked addresses, so by no proxy and over no kept connection.
        fresh = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            verify=trust(), trust_env=False, limits=fresh
        ) as puts:
            if network is not None:
                _put_beneath(network, puts)
            redact = Redaction(key, httpx.URL(proxy).password if proxy else "")
            try:
                yield cls(
                    submits, reads, puts, pace=pace, now=now, awake=awake, redact=redact
                )
            finally:
                await reads.aclose()

    @property
    def reads_a_second(self) -> float:
        """As often as readings may begin just now; infinite without a limit."""
        rate = self._pace.a_minute
        return inf if rate is None else rate / 60

    async def post(self, path: str, body: Mapping[str, Any], phase: Phase) -> Answer:
        """Send one submission, once; `phase` sees how far it comes.

        Raises:
            Exception: whatever the transport raises; only `phase` can tell what of it.
        """
        data = _document(body)
        return self._answer(
            await self.submits.ask("POST", path, data, most=LARGEST, trace=phase),
            LARGEST,
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        *,
        most: int = LARGEST,
        deadline: float = _READ_DEADLINE,
    ) -> Answer:
        """Send a request that may be repeated at will; its whole answer.

        Raises:
            Unavailable: none came.
        """
        async with self._room:
            await self._pace.turn()
            data, kind = _body(body, files)
            asked = self.begin()
            try:
                raw = await self.reads.ask(
                    method, path, data, kind, most=most, within=deadline
                )
                answer = self._answer(raw, most)
            except ERRORS as error:
                raise Unavailable(self.redact.text(sentence(error))) from error
        self.heard()
        if answer.http == 429:  # noqa: PLR2004
            self._pace.halve()
        if is_envelope(answer):
            self.clock.learn(answer, asked)
        return answer

    def begin(self) -> tuple[float, datetime]:
        """A request begins; when, by the loop's clock and by the time of day."""
        asked = self.clock.asked()
        if self.silent_since is None:
            self.silent_since = asked[0]
        return asked

    def heard(self) -> None:
        """An answer came."""
        self.answered, self.silent_since = True, None

    def _answer(self, raw: Raw, most: int) -> Answer:
        """Inflated, and without our key, whatever a server or a proxy repeats of it."""
        body, encoding = raw.body, raw.headers.get("content-encoding", "")
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity"):
            body = _inflated(body, encoding, most)
        return Answer(raw.status, raw.headers, self.redact(body))


def _put_beneath(network: "AsyncNetworkBackend", client: httpx.AsyncClient) -> None:
    transport: Any = client._transport  # noqa: SLF001 - httpx has no argument for it
    transport._pool._network_backend = network  # noqa: SLF001 - the same


def _document(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _body(
    body: Mapping[str, Any] | None, files: Mapping[str, Any] | None
) -> tuple[bytes, str]:
    """A request's bytes, and their media type."""
    if files is not None:
        form = httpx.Request("POST", "http://form", files=files)
        return form.read(), form.headers["Content-Type"]
    return (b"" if body is None else _document(body)), "application/json"


def _inflated(body: bytes, encoding: str, most: int) -> bytes:
    """Inflate what a server compressed without being asked, within bounds."""
    if encoding not in ("gzip", "deflate"):
        raise Unavailable(f"an answer in {encoding}")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        text = inflater.decompress(body, most)
    except zlib.error as error:
        raise Unavailable("an answer that does not inflate") from error
    if inflater.unconsumed_tail:
        raise Unavailable(f"an answer of over {most} bytes")
    return text


def sentence(error: Exception) -> str:
    """An error in a few words; the class says what an empty text does not."""
    text = str(error).strip()
    name = type(error).__name__
    return f"{name}: {text}" if text else name
