"""The reading side of the API: prices, models, billing, usage, the till itself."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from batchgen.errors import BatchgenError
from batchgen.models import catalog
from batchgen.money import plain
from batchgen.sandbox import views
from batchgen.sandbox.answers import Json, refusal, success
from batchgen.sandbox.asked import body_object, paging, read_moment
from batchgen.sandbox.door import met
from batchgen.sandbox.till import Charge
from batchgen.sandbox.world import World

_LATE = 2**62


class Pages:
    """Endpoints that change nothing."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def balance(self, request: Request) -> Response:  # noqa: ARG002
        """What is left, as a number."""
        return success({"balance": float(plain(self._world.left()))})

    async def price(self, request: Request) -> Response:
        """A quote in the current form and in the older one."""
        try:
            asked = await body_object(request)
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
        if "price_more" in met(request.scope):
            price += price // 2
        amount = float(plain(price))
        if request.url.path.endswith("pricing"):
            data = {"model_id": name, "unit_price": amount, "currency": "USD"}
        else:
            data = {"model_id": name, "price": amount, "discounted_price": amount}
            data |= {"discount_rate": 1, "currency": "USD"}
        return success(data)

    async def models(self, request: Request) -> Response:
        """Every model with its live schema."""
        faults = met(request.scope)
        if "models_missing" in faults:
            return success([])
        server = self._world.addresses.api
        drifted = "models_drift" in faults
        entries = [
            views.model_entry(model, place, server, drifted=drifted)
            for place, model in enumerate(catalog(), start=1)
        ]
        if "models_lacks" in faults:
            for entry in entries:
                schema = entry["api_schema"]["api_schemas"][0]["request_schema"]
                schema["properties"].pop("negative_prompt", None)
        return success(entries)

    async def billings(self, request: Request) -> Response:
        """Charges and refunds, newest first."""
        try:
            asked = await body_object(request)
            page, size = paging({"page": 1, "page_size": 50, **asked})
            rows = self._charges(asked)
        except ValueError as error:
            return refusal(400, str(error))
        now = self._world.clock.now()
        shown = rows[(page - 1) * size : page * size]
        items = [views.billing(charge, now) for charge in shown]
        more = len(rows) > page * size
        return success({"page": page, "has_more": more, "items": items})

    def _charges(self, asked: Mapping[str, Any]) -> list[Charge]:
        start = read_moment(asked, "start_time", 0)
        end = read_moment(asked, "end_time", _LATE)
        return [
            charge
            for charge in reversed(self._world.till.charges(self._world.clock.now()))
            if start <= charge.at <= end and _wanted(charge, asked)
        ]

    async def usage(self, request: Request) -> Response:
        """Sums of a period, for each model and for each day."""
        try:
            asked = await body_object(request)
            for name in ("start_time", "end_time"):
                if not asked.get(name):
                    raise ValueError(  # noqa: TRY301 - one answer for all complaints
                        f'field "{name}" is required and must not be empty'
                    )
            rows = self._charges({**asked, "billing_type": "deduct"})
        except ValueError as error:
            return refusal(400, str(error))
        return success(views.usage(rows, self._world.clock.now()))

    async def till(self, request: Request) -> Response:  # noqa: ARG002
        """The truth about the money, for tests and for the curious."""
        rows = self._world.till.charges(self._world.clock.now())
        return Json([views.till_row(charge) for charge in rows])

    async def arm(self, request: Request) -> Response:
        """Let the next request of a kind meet a fault."""
        names = (await request.body()).decode("utf-8", "replace")
        try:
            self._world.plan.arm(names)
        except BatchgenError as error:
            return refusal(400, error.message)
        return success({"armed": names})

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
        and asked.get("access_key_uuid") in (None, "", views.ACCESS_KEY)
        and charge.id in (asked.get("prediction_uuids") or [charge.id])
    )
