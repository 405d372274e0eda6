"""The make-believe API: submissions, results, history, money."""

import json
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from batchgen.models import catalog
from batchgen.sandbox import answers, listings
from batchgen.sandbox.answers import Json, refusal, success
from batchgen.sandbox.checks import complaint
from batchgen.sandbox.door import API, Door, api_kind, met
from batchgen.sandbox.views import result
from batchgen.sandbox.world import World

MAX_BODY = 10 * 2**20


def api(world: World) -> ASGIApp:
    """The API origin of a sandbox."""
    pages = listings.Pages(world)
    desk = Desk(world)

    def post(path: str, endpoint: Any) -> Route:
        return Route(API + path, endpoint, methods=["POST"])

    def get(path: str, endpoint: Any) -> Route:
        return Route(API + path, endpoint, methods=["GET"])

    routes = [
        get("predictions/{id}/result", desk.result),
        get("predictions/{id}", desk.result),
        post("predictions", pages.history),
        post("predictions/delete", pages.delete),
        get("balance", pages.balance),
        get("models", pages.models),
        post("model/price", pages.price),
        post("model/pricing", pages.price),
        post("billings/search", pages.billings),
        post("{model:path}", desk.submit),
        Route("/__sandbox__/till", pages.till),
        Route("/__sandbox__/requests", pages.requests),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _lost, 405: _lost})
    app.router.redirect_slashes = False
    return Door(app, world, api_kind)


async def _lost(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return refusal(404, "not found")


class Desk:
    """Takes submissions and tells what became of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def submit(self, request: Request) -> Response:
        """Sell one prediction; the till knows of it before the client can."""
        faults = met(request.scope)
        model = catalog().find(request.path_params["model"])
        if model is None or model.id != request.path_params["model"]:
            return refusal(404, f"model {request.path_params['model']} not found")
        text = await request.body()
        # From here to the row in the till nothing waits: check and charge are one.
        if crowded := self._world.crowded():
            return refusal(429, crowded)
        try:
            given = parsed(text)
        except ValueError as error:
            return refusal(400, str(error))
        if wrong := complaint(model, given):
            return refusal(400, wrong)
        if not self._world.affords(
            model.price.of({**model.identity_defaults, **given})
        ):
            return answers.no_credit()
        prediction = self._world.accept(model, text.decode(), faults)
        if "slow_answer" in faults:
            await anyio.sleep(faults["slow_answer"] or 5.0)
        return answers.after(faults, success(result(prediction, self._world)))

    async def result(self, request: Request) -> Response:
        """One prediction as it stands."""
        clock = self._world.clock
        now = clock.now()
        prediction = self._world.till.find(request.path_params["id"], now)
        if prediction is None:
            return _no_prediction()
        young = now < prediction.created + clock.lasting(60)
        if young and prediction.marked("result_404_first"):
            return _no_prediction()
        return success(result(prediction, self._world))


def _no_prediction() -> Json:
    return refusal(404, "prediction not found")


def parsed(body: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Raises:
        ValueError: it is too long or not one JSON object.
    """
    if len(body) > MAX_BODY:
        raise ValueError("request body too large")
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("request body must be valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("request body must be a JSON object")  # noqa: TRY004
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)
