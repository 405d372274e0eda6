"""The generation API's calls: a submission that is never repeated, and readings."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

import anyio

from batchgen import uploads
from batchgen.answers import Prediction, accepted, prediction, read, read_list
from batchgen.errors import ApiError, Refused, Unavailable, Uncertain
from batchgen.listings import Bill, BillRow, bill_rows, bills, history_rows, micros
from batchgen.models.live import Live, listing, respelled
from batchgen.money import Micros
from batchgen.pace import Pace
from batchgen.references import elements, pictures
from batchgen.transport import Phase, Wire
from batchgen.world import awake

if TYPE_CHECKING:
    from httpcore import AsyncNetworkBackend

_LARGEST_LIST = 32 * 1024 * 1024  # of models; the videos alone are 1.4 MB
_PAGE = 100
_MOST_PAGES = 50
_SUBMIT_DEADLINE = 180.0


class Offer(NamedTuple):
    """A price as the service quotes it, and the endpoint that did."""

    amount: Micros
    source: str


class Client:
    """One account at one address of the API.

    Attributes:
        wire: its connections.
        clock: what the service's clock shows.
        schemas: model -> its live schema, whose spelling of choices is sent.
    """

    def __init__(self, wire: Wire, *, loopback: bool) -> None:
        self.wire = wire
        self.clock = wire.clock
        self.schemas: dict[str, Mapping[str, Any]] = {}
        self._storage = uploads.Storage(wire.puts, loopback=loopback)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        base_url: str,
        key: str,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        awake: Callable[[], float] = awake,
        proxy: str | None = None,
        network: "AsyncNetworkBackend | None" = None,
        loopback: bool = False,
    ) -> AsyncIterator[Self]:
        """Open all connections; see `Wire.open`.

        With `loopback` uploads may go to 127.0.0.1 over plain http; only for a sandbox.

        Raises:
            ApiError: the key cannot be sent at all.
        """
        async with Wire.open(
            base_url,
            key,
            pace=pace,
            now=now,
            awake=awake,
            proxy=proxy,
            network=network,
        ) as wire:
            yield cls(wire, loopback=loopback)

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
        phase = Phase()
        asked = self.wire.begin()
        try:
            with anyio.fail_after(_SUBMIT_DEADLINE):
                answer = await self.wire.post(
                    quote(model), self._spelled(model, body), phase
                )
        except Exception as error:
            # Also what nobody foresaw: an attempt left open would not be counted as
            # a doubt, and nothing would stop the next one from meeting the same.
            raise phase.verdict(error, self.wire.redact.text) from error
        self.wire.heard()
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
        self.clock.learn(answer, asked)
        return found

    def reads_a_second(self) -> float:
        """How often anything may be read just now; infinite without a limit."""
        return self.wire.reads_a_second

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
        rows: dict[str, BillRow] = {}
        for page in range(1, _MOST_PAGES + 1):
            paged = {"page": page, "page_size": _PAGE, **question}
            data = await self._read("POST", "billings/search", paged)
            rows.update(bill_rows(data))
            if not data.get("has_more"):
                return bills(rows.values())
        raise Unavailable(f"the billing has over {_MOST_PAGES} pages")

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
                return Offer(micros(data[name]), path)
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
            answer = await self.wire.ask(
                "POST", "media/upload/binary", files=form, deadline=uploads.DEADLINE
            )
            given = read(answer)
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
        return history_rows(await self._read("POST", "predictions", question))

    async def balance(self) -> Micros:
        """What the account holds.

        Raises:
            Unavailable: the endpoint does not tell.
        """
        return micros((await self._read("GET", "balance")).get("balance"))

    async def models(self) -> dict[str, Live]:
        """Every model of the account, with the schema that it has now.

        Raises:
            Unavailable: the list cannot be read.
        """
        answer = await self.wire.ask("GET", "models", most=_LARGEST_LIST)
        try:
            return listing(read_list(answer))
        except ValueError as error:
            raise Unavailable(str(error)) from error

    async def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return read(await self.wire.ask(method, path, body))


def _definite(error: Unavailable) -> ApiError:
    """A definite no to an upload, if it is one."""
    if error.http not in uploads.NO:
        return error
    return Refused(error.message, kind="invalid", http=error.http)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
