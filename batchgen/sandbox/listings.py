"""The reading side of the API: history, prices, models, billing, the till itself."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from batchgen.models import catalog
from batchgen.money import plain
from batchgen.sandbox import views
from batchgen.sandbox.answers import Json, refusal, success
from batchgen.sandbox.clock import moment
from batchgen.sandbox.door import met
from batchgen.sandbox.till import Charge, Query
from batchgen.sandbox.world import World

_LATE = 2**62
_LAST = 10**9


class Pages:
    """Endpoints that change nothing, but for the deletion of history."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def history(self, request: Request) -> Response:
        """Past predictions, once the list has caught up with them."""
        try:
            asked = await _object(request)
            query = self._query(asked)
        except ValueError as error:
            return refusal(400, str(error))
        world = self._world
        with_inputs = asked.get("include_inputs") is True
        if "list_hides_inputs" in met(request.scope):
            with_inputs = False
        items = [
            views.result(prediction, world, with_inputs=with_inputs)
            for prediction in world.till.history(query, world.clock.now())
        ]
        return success({"page": query.page, "items": items})

    def _query(self, asked: Mapping[str, Any]) -> Query:
        clock = self._world.clock
        visible = clock.now() - clock.lasting(self._world.options.list_delay)
        page, page_size = _paging(asked)
        return Query(
            model=str(asked.get("model") or ""),
            status=str(asked.get("status") or ""),
            after=_moment(asked, "created_after", 0),
            before=min(_moment(asked, "created_before", _LATE), visible),
            page=page,
            page_size=page_size,
        )

    async def delete(self, request: Request) -> Response:
        """Forget predictions; nobody gets money back for it."""
        try:
            identities = (await _object(request)).get("ids")
        except ValueError as error:
            return refusal(400, str(error))
        if not isinstance(identities, list):
            return refusal(400, 'field "ids" must be an array')
        count = self._world.till.delete([str(identity) for identity in identities])
        return success({"deleted_count": count})

    async def balance(self, request: Request) -> Response:  # noqa: ARG002
        """What is left, as a number."""
        return success({"balance": float(plain(self._world.left()))})

    async def price(self, request: Request) -> Response:
        """A quote in the current form and in the older one."""
        try:
            asked = await _object(request)
        except ValueError as error:
            return refusal(400, str(error))
        name = str(asked.get("model_id", ""))
        model = catalog().find(name)
        inputs = asked.get("inputs") or {}
        if model is None or model.id != name or not isinstance(inputs, dict):
            return refusal(404, f"model {name} not found")
        try:
            price = model.price.of({**model.identity_defaults, **inputs})
        except (TypeError, ValueError, ArithmeticError):
            return refusal(400, "inputs do not make a price")
        amount = float(plain(price))
        if request.url.path.endswith("pricing"):
            data = {"model_id": name, "unit_price": amount, "currency": "USD"}
        else:
            data = {"model_id": name, "price": amount, "discounted_price": amount}
            data |= {"discount_rate": 1, "currency": "USD"}
        return success(data)

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        """Every model with its live schema."""
        server = self._world.addresses.api
        return success(
            [
                views.model_entry(model, place, server)
                for place, model in enumerate(catalog(), start=1)
            ]
        )

    async def billings(self, request: Request) -> Response:
        """Charges and refunds, newest first."""
        try:
            asked = await _object(request)
            page, size = _paging({"page_size": 50, **asked})
            start, end = (
                _moment(asked, "start_time", 0),
                _moment(asked, "end_time", _LATE),
            )
        except ValueError as error:
            return refusal(400, str(error))
        now = self._world.clock.now()
        rows = [
            charge
            for charge in reversed(self._world.till.charges(now))
            if start <= charge.at <= end and _wanted(charge, asked)
        ]
        shown = rows[(page - 1) * size : page * size]
        items = [views.billing(charge, now) for charge in shown]
        more = len(rows) > page * size
        return success({"page": page, "has_more": more, "items": items})

    async def till(self, request: Request) -> Response:  # noqa: ARG002
        """The truth about the money, for tests and for the curious."""
        rows = self._world.till.charges(self._world.clock.now())
        return Json([views.till_row(charge) for charge in rows])

    async def requests(self, request: Request) -> Response:  # noqa: ARG002
        """What came through the door since the process began."""
        counts = self._world.counts
        return Json(
            {
                "requests": counts.requests,
                "most_in_flight": counts.most_in_flight,
                "authorization_at_downloads": counts.authorization_at_downloads,
                "faults": self._world.plan.struck,
            }
        )


def _wanted(charge: Charge, asked: Mapping[str, Any]) -> bool:
    kind = "refund" if charge.price < 0 else "deduct"
    return (
        asked.get("billing_type") in (None, "", kind)
        and asked.get("model_uuid") in (None, "", charge.model)
        and charge.id in (asked.get("prediction_uuids") or [charge.id])
    )


async def _object(request: Request) -> dict[str, Any]:
    try:
        asked = await request.json()
    except ValueError:
        raise ValueError("request body must be valid JSON") from None
    if not isinstance(asked, dict):
        raise ValueError("request body must be a JSON object")  # noqa: TRY004
    return asked


def _paging(asked: Mapping[str, Any]) -> tuple[int, int]:
    page, size = asked.get("page", 1), asked.get("page_size", 10)
    if not isinstance(page, int) or not 1 <= page <= _LAST:
        raise ValueError('field "page" must be at least 1')
    if not isinstance(size, int) or not 1 <= size <= 100:  # noqa: PLR2004
        raise ValueError('field "page_size" must be between 1 and 100')
    return page, size


def _moment(asked: Mapping[str, Any], name: str, missing: int) -> int:
    text = asked.get(name)
    if not text:
        return missing
    try:
        return moment(str(text))
    except ValueError:
        raise ValueError(f'field "{name}" must be an RFC 3339 time') from None
