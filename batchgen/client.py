"""The generation API over HTTP: a submission that is never repeated, and readings.

Submissions get a fresh connection each, because only then do the trace events of the
stock transport prove whether a byte of the request left; readings keep their
connections; uploads go to another origin by a client that has no key. None of them
follows redirects, reads the environment, or sends the key anywhere but to the
configured origin.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

import anyio
import httpx

from batchgen import uploads
from batchgen.answers import (
    Answer,
    Prediction,
    accepted,
    is_envelope,
    prediction,
    read,
    read_list,
    when,
)
from batchgen.errors import ApiError, NotSent, Refused, Unavailable, Uncertain
from batchgen.events import Window
from batchgen.models.live import Live, listing, respelled
from batchgen.money import Micros, usd
from batchgen.pace import Pace
from batchgen.redaction import Redaction
from batchgen.references import elements, pictures
from batchgen.trust import trust
from batchgen.world import iso

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

_LARGEST = 2 * 1024 * 1024
_LARGEST_LIST = 32 * 1024 * 1024  # of models; the videos alone are 1.4 MB
_PAGE = 100
_MOST_PAGES = 50
# Waiting is cheap, not knowing is not: the read limit is far beyond any answer time.
_SUBMIT = httpx.Timeout(connect=10, write=30, read=120, pool=10)
_SUBMIT_DEADLINE = 180.0
_READ = httpx.Timeout(connect=10, write=10, read=30, pool=30)
_READ_DEADLINE = 60.0
_MOST_OFF = timedelta(days=3650)  # beyond that a date is nonsense
_PROMPT = 5.0  # seconds; the date of a slower answer may be as old as that
_READS_IN_FLIGHT = 10  # more only pile up inside the connection pool, which is slow


@dataclass(frozen=True, slots=True)
class Bill:
    """What billing shows of one prediction so far."""

    charged: Micros = 0
    refunded: Micros = 0


class Offer(NamedTuple):
    """A price as the service quotes it, and the endpoint that did."""

    amount: Micros
    source: str


class Client:
    """One account at one address of the API.

    Attributes:
        clock_offset: seconds by which the service's clock is ahead of ours, at least.
        answered: whether any request of this session ever got any answer.
        silent_since: when the oldest request began after which nothing was heard,
            by the event loop's clock; None while the service talks.
        schemas: model -> its live schema, whose spelling of choices is sent.
    """

    def __init__(
        self,
        submits: httpx.AsyncClient,
        reads: httpx.AsyncClient,
        *,
        storage: uploads.Storage,
        pace: Pace,
        now: Callable[[], datetime],
        redact: Redaction,
    ) -> None:
        self._redact = redact
        self._storage = storage
        self._submits = submits
        self._reads = reads
        self._pace = pace
        self._room = anyio.CapacityLimiter(_READS_IN_FLIGHT)
        self._now = now
        self.clock_offset = 0.0
        self._anchor: tuple[datetime, float] | None = None
        self._slack = 0.0
        self.answered = False
        self.silent_since: float | None = None
        self.schemas: dict[str, Mapping[str, Any]] = {}

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        base_url: str,
        key: str,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        proxy: str | None = None,
        network: "AsyncNetworkBackend | None" = None,
        loopback: bool = False,
    ) -> AsyncIterator[Self]:
        """Open all clients.

        Args:
            base_url: scheme, host and port; the API's paths are added.
            key: sent as a Bearer token to this origin only.
            pace: of reading requests.
            now: the time of day, to learn the service's clock offset.
            proxy: for all requests; the environment's is never used.
            network: beneath the stock transports, whose trace events stay their own.
            loopback: uploads may go to 127.0.0.1 over plain http; only for a sandbox.

        Raises:
            ApiError: the key cannot be sent at all.
        """
        if not (key.isascii() and key.isprintable() and key.strip() == key):
            raise ApiError(
                "the API key has characters that no key has", rule="bad-key", http=401
            )
        common: dict[str, Any] = {
            "base_url": f"{base_url.rstrip('/')}/api/v3/",
            "headers": {
                "Authorization": f"Bearer {key}",
                "Accept-Encoding": "identity",
                "User-Agent": "batchgen",
            },
            "follow_redirects": False,
            "trust_env": False,
            "verify": trust(),
            "proxy": proxy,
            "http2": False,
        }
        fresh = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(timeout=_SUBMIT, limits=fresh, **common) as submits,
            httpx.AsyncClient(timeout=_READ, **common) as reads,
            # Dialled by checked addresses, so by no proxy and over no kept connection.
            httpx.AsyncClient(verify=trust(), trust_env=False, limits=fresh) as puts,
        ):
            if network is not None:
                for http in (submits, reads, puts):
                    _put_beneath(network, http)
            redact = Redaction(key, httpx.URL(proxy).password if proxy else "")
            storage = uploads.Storage(puts, loopback=loopback)
            yield cls(
                submits, reads, storage=storage, pace=pace, now=now, redact=redact
            )

    async def submit(self, model: str, body: Mapping[str, Any]) -> Prediction:
        """Buy one prediction: one POST, never repeated.

        The caller shields this from cancellation; its own time limits are inside.

        Raises:
            Refused: a definite no, free.
            NotSent: provably nothing left this machine.
            Uncertain: everything else.
        """
        if pictures(body) or elements(body):
            # The service would drop what it cannot read, and charge.
            message = "this request still holds a reference that only batchgen knows"
            raise Refused(message, kind="invalid")
        phase = _Phase()
        asked = self._asked()
        try:
            with anyio.fail_after(_SUBMIT_DEADLINE):
                answer = await self._post(model, body, phase)
        except Exception as error:
            # Also what nobody foresaw: an attempt left open would not be counted as
            # a doubt, and nothing would stop the next one from meeting the same.
            raise phase.verdict(error, self._redact.text) from error
        self._heard()
        try:
            found = accepted(answer)
        except ApiError:
            raise
        except Exception as error:
            # Whatever we fail to understand may have been bought.
            text = f"an answer that was not understood: {error!r}"
            raise Uncertain(
                text, phase="answered", http=answer.http, evidence=answer.text
            ) from error
        self._learn_the_time(answer, asked)
        return found

    async def _post(
        self, model: str, body: Mapping[str, Any], phase: "_Phase"
    ) -> Answer:
        trace = {"trace": phase}
        request = self._submits.build_request(
            "POST", quote(model), json=self._spelled(model, body), extensions=trace
        )
        response = await self._submits.send(request, stream=True)
        try:
            return await self._whole(response)
        finally:
            await response.aclose()

    async def result(self, prediction_id: str) -> Prediction:
        """Look at a prediction.

        Raises:
            Unavailable: no usable answer; `http` tells 401, 403, 404 and 410 apart.
        """
        path = f"predictions/{quote(prediction_id, safe='')}/result"
        found = prediction(await self._read("GET", path))
        if found.id != prediction_id:
            raise Unavailable(f"the answer is about {found.id or 'nothing'}")
        return found

    async def history(
        self, model: str, since: datetime, until: datetime
    ) -> list[Prediction]:
        """What the account bought of a model between two moments of the service.

        Without a model, of all of them.

        Raises:
            Unavailable: the look was not complete, so it proves nothing.
        """
        found: dict[str, Prediction] = {}
        for page in range(1, _MOST_PAGES + 1):
            rows = await self._page(model, since, until, page)
            found.update((row.id, row) for row in rows)
            # Only an empty page ends it: nobody promises that the others are full.
            if not rows:
                return list(found.values())
        raise Unavailable(f"the history has over {_MOST_PAGES} pages")

    async def newest(
        self, model: str, since: datetime, until: datetime, *, pages: int = 1
    ) -> list[Prediction]:
        """The first pages of the history.

        Raises:
            Unavailable: they cannot be read.
        """
        found: list[Prediction] = []
        for page in range(1, pages + 1):
            rows = await self._page(model, since, until, page)
            found += rows
            if len(rows) < _PAGE:
                break
        return found

    async def bills(self, predictions: Sequence[str]) -> dict[str, Bill]:
        """What billing shows of some predictions; those it does not show are missing.

        Raises:
            Unavailable: it cannot be read whole.
        """
        found = await self._billing({"prediction_uuids": list(predictions)})
        return {whose: bill for whose, bill in found.items() if whose in predictions}

    async def billed(
        self, model: str, since: datetime, until: datetime
    ) -> dict[str, Bill]:
        """What billing shows of a model between two moments, whoever bought it.

        Raises:
            Unavailable: it cannot be read whole.
        """
        return await self._billing(
            {
                "model_uuid": model,
                "start_time": _iso(since),
                "end_time": _iso(until),
            }
        )

    async def _billing(self, question: Mapping[str, Any]) -> dict[str, Bill]:
        rows: dict[str, tuple[str, str, Micros]] = {}
        for page in range(1, _MOST_PAGES + 1):
            paged = {"page": page, "page_size": _PAGE, **question}
            data = await self._read("POST", "billings/search", paged)
            rows.update(_bill_rows(data))
            if not data.get("has_more"):
                break
        else:
            raise Unavailable(f"the billing has over {_MOST_PAGES} pages")
        bills: dict[str, Bill] = {}
        for prediction_id, kind, price in rows.values():
            bill = bills.get(prediction_id, Bill())
            charged = price if kind == "deduct" else 0
            refunded = price if kind == "refund" else 0
            bills[prediction_id] = Bill(
                bill.charged + charged, bill.refunded + refunded
            )
        return bills

    def _spelled(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request as the model's live schema spells it, where that is known."""
        schema = self.schemas.get(model)
        return respelled(body, schema) if schema else dict(body)

    async def price(self, model: str, body: Mapping[str, Any]) -> Offer:
        """What the service would charge for a request; an estimate, by its own word.

        Raises:
            Unavailable: it does not tell.
        """
        question = {"model_id": model, "inputs": self._spelled(model, body)}
        path = "model/price"
        try:
            data = await self._read("POST", path, question)
        except Unavailable as error:
            if error.http != 404:  # noqa: PLR2004
                raise
            path = "model/pricing"
            data = await self._read("POST", path, question)
        for name in ("discounted_price", "price", "unit_price"):
            if name in data:
                return Offer(_micros(data[name]), path)
        raise Unavailable("an answer without a price")

    async def upload(self, data: bytes, filename: str, media_type: str) -> str:
        """Bring a file to the service; the address at which it can read it.

        Raises:
            Refused: it does not take this file.
            Unavailable: no usable answer; may be repeated at will.
        """
        asked = {
            "filename": filename,
            "size": len(data),
            "content_type": media_type,
        }
        try:
            given = await self._read("POST", "media/uploads", asked)
        except Unavailable as error:
            if error.http not in uploads.NO_TICKETS:
                raise _definite(error) from error
        else:
            ticket = uploads.ticket(given, loopback=self._storage.loopback)
            await self._storage.put(ticket, data)
            return ticket.address
        form = {"file": (filename, data, media_type)}
        try:
            given = await self._read("POST", "media/upload/binary", files=form)
        except Unavailable as error:
            raise _definite(error) from error
        return uploads.address(given, loopback=self._storage.loopback)

    async def _page(
        self, model: str, since: datetime, until: datetime, page: int
    ) -> list[Prediction]:
        question: dict[str, object] = {
            "page": page,
            "page_size": _PAGE,
            "created_after": _iso(since),
            "created_before": _iso(until),
            "include_inputs": True,
        }
        if model:
            question["model"] = model
        return _rows(await self._read("POST", "predictions", question))

    async def balance(self) -> Micros:
        """What the account holds.

        Raises:
            Unavailable: the endpoint does not tell.
        """
        return _micros((await self._read("GET", "balance")).get("balance"))

    async def models(self) -> dict[str, Live]:
        """Every model of the account, with the schema that it has now.

        Raises:
            Unavailable: the list cannot be read.
        """
        answer = await self._ask("GET", "models", most=_LARGEST_LIST)
        try:
            return listing(read_list(answer))
        except ValueError as error:
            raise Unavailable(str(error)) from error

    async def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return read(await self._ask(method, path, body, files))

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        *,
        most: int = _LARGEST,
    ) -> Answer:
        deadline = uploads.DEADLINE if files else _READ_DEADLINE
        async with self._room:
            await self._pace.turn()
            asked = self._asked()
            try:
                with anyio.fail_after(deadline):
                    async with self._reads.stream(
                        method, path, json=body, files=files
                    ) as response:
                        answer = await self._whole(response, most)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                raise Unavailable(self._redact.text(_sentence(error))) from error
        self._heard()
        if answer.http == 429:  # noqa: PLR2004
            self._pace.halve()
        if is_envelope(answer):
            self._learn_the_time(answer, asked)
        return answer

    @property
    def knows_the_time(self) -> bool:
        """Whether any answer told what the service's clock shows."""
        return self._anchor is not None

    async def _whole(self, response: httpx.Response, most: int = _LARGEST) -> Answer:
        """The body without our key, whatever a server or a proxy repeats of it."""
        answer = await _whole(response, most)
        return replace(answer, body=self._redact(answer.body))

    def service_time(self) -> str:
        """The latest that the service's clock can show, by what its answers told."""
        return iso(self._now() + timedelta(seconds=self.clock_offset + self._slack))

    def clock_was_set(self) -> None:
        """Our time of day is another one; what the service's was goes on counting."""
        if self._anchor:
            server, then = self._anchor
            elapsed = timedelta(seconds=anyio.current_time() - then)
            self.clock_offset = (server + elapsed - self._now()).total_seconds()

    def service_time_at_least(self) -> datetime:
        """The earliest that the service's clock can show.

        Told by the time of day and by the clock that nobody sets: whoever waits for
        a moment of the service must not be deceived by one of them.
        """
        by_day = self._now() + timedelta(seconds=self.clock_offset)
        if self._anchor is None:
            return by_day
        server, then = self._anchor
        return min(by_day, server + timedelta(seconds=anyio.current_time() - then))

    def service_window(self, began: float) -> Window:
        """From `began`, by the event loop's clock, until now, as the service dates it.

        Told twice, by the time of day and by the clock that nobody sets, and the
        wider one holds.
        """
        now = self._now() + timedelta(seconds=self.clock_offset)
        elapsed = anyio.current_time() - began
        since, until = [now - timedelta(seconds=elapsed)], [now]
        if self._anchor:
            server, then = self._anchor
            since.append(server + timedelta(seconds=began - then))
            until.append(since[1] + timedelta(seconds=elapsed))
        latest = max(until) + timedelta(seconds=self._slack)
        return Window(since=iso(min(since)), until=iso(latest))

    def _asked(self) -> tuple[float, datetime]:
        """When a request begins: by the event loop's clock and by the time of day."""
        now = anyio.current_time()
        if self.silent_since is None:
            self.silent_since = now
        return now, self._now()

    def _heard(self) -> None:
        self.answered, self.silent_since = True, None

    def _learn_the_time(self, answer: Answer, asked: tuple[float, datetime]) -> None:
        """From whole answers of the service only: a proxy has a clock of its own.

        An answer is dated when it is begun and may take minutes to come, so its date
        tells only what the clock shows at least. The loop's clock stands still while
        the machine sleeps, and an answer may have waited for it to wake up.
        """
        server = when(answer.headers.get("date", ""))
        if server is None or abs(server - self._now()) > _MOST_OFF:
            return
        began, day = asked
        slack = anyio.current_time() - began
        slack = max(slack, (self._now() - day).total_seconds())
        if self._anchor and slack > _PROMPT:
            return
        self.clock_offset = (server - self._now()).total_seconds()
        self._anchor, self._slack = (server, anyio.current_time()), slack


def _definite(error: Unavailable) -> ApiError:
    """A definite no to an upload, if it is one."""
    if error.http not in uploads.NO:
        return error
    return Refused(error.message, kind="invalid", http=error.http)


def _micros(amount: object) -> Micros:
    """An amount of the API; it writes floats."""
    try:
        return usd(f"{amount:.6f}")
    except (TypeError, ValueError) as error:
        raise Unavailable(f"an answer with {amount!r} for an amount") from error


def _bill_rows(data: Mapping[str, Any]) -> dict[str, tuple[str, str, Micros]]:
    """Rows of one page by their own ids: pages drift, and none may count twice."""
    items = data.get("items")
    if not isinstance(items, list):
        raise Unavailable("a billing page without items")
    found = {}
    for item in items:
        try:
            row, kind = item["uuid"], item["billing_type"]
            whose = item["prediction"]["uuid"]
            found[str(row)] = (str(whose), str(kind), _micros(item["price"]))
        except (KeyError, TypeError) as error:
            raise Unavailable("a billing row that cannot be read") from error
    return found


class _Phase:
    """How far a submission came, told by the transport's trace events alone."""

    def __init__(self) -> None:
        self.failed_to_connect = ""
        self.started = False
        self.sent = False
        self.answered = False

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
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
            return NotSent(redact(_sentence(error)), phase=self.failed_to_connect)
        phase = "connecting"
        if self.started:
            phase = "body incomplete"
        if self.sent:
            phase = "no answer"
        if self.answered:
            phase = "answer incomplete"
        return Uncertain(redact(_sentence(error)), phase=phase)


def _put_beneath(network: "AsyncNetworkBackend", client: httpx.AsyncClient) -> None:
    transport: Any = client._transport  # noqa: SLF001 - httpx has no argument for it
    transport._pool._network_backend = network  # noqa: SLF001 - the same


def _rows(data: Mapping[str, Any]) -> list[Prediction]:
    """One page of the history; a row that cannot be read could be the one."""
    items = data.get("items")
    if not isinstance(items, list):
        raise Unavailable("a history page without items")
    rows = [prediction(item) for item in items if isinstance(item, dict)]
    if len(rows) < len(items) or not all(row.id for row in rows):
        raise Unavailable("a history page with a row that cannot be read")
    return rows


async def _whole(response: httpx.Response, most: int) -> Answer:
    """The body, bounded on the wire and after inflating."""
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > most:
            raise Unavailable(f"an answer of over {most} bytes")
        chunks.append(chunk)
    body = b"".join(chunks)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        body = _inflated(body, encoding, most)
    return Answer(response.status_code, response.headers, body)


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


def _sentence(error: Exception) -> str:
    """An error in a few words; the class says what an empty text does not."""
    text = str(error).strip()
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
