"""The make-believe API: submissions, results, history, money."""

from collections.abc import Mapping
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from batchgen.models import Model, catalog
from batchgen.sandbox import answers, spoilt, views
from batchgen.sandbox.answers import Json, refusal, success
from batchgen.sandbox.asked import parsed
from batchgen.sandbox.checks import complaint
from batchgen.sandbox.door import API, Door, api_kind, met
from batchgen.sandbox.faults import Drawn
from batchgen.sandbox.history import History
from batchgen.sandbox.listings import Pages
from batchgen.sandbox.media import Counter
from batchgen.sandbox.predictions import Prediction
from batchgen.sandbox.world import World


def api(world: World) -> ASGIApp:
    """The API origin of a sandbox."""
    pages, desk = Pages(world), Desk(world)
    history, counter = History(world), Counter(world)

    def post(path: str, endpoint: Any) -> Route:
        return Route(API + path, endpoint, methods=["POST"])

    def get(path: str, endpoint: Any) -> Route:
        return Route(API + path, endpoint, methods=["GET"])

    routes = [
        get("predictions/{id}/result", desk.result),
        get("predictions/{id}", desk.result),
        post("predictions", history.page),
        post("predictions/delete", history.delete),
        get("balance", pages.balance),
        get("models", pages.models),
        post("model/price", pages.price),
        post("model/pricing", pages.price),
        post("billings/search", pages.billings),
        post("user/usage_stats", pages.usage),
        post("media/uploads", counter.ticket),
        post("media/upload/binary", counter.form),
        post("{model:path}", desk.submit),
        Route("/__sandbox__/till", pages.till),
        Route("/__sandbox__/requests", pages.requests),
        Route("/__sandbox__/faults", pages.arm, methods=["POST"]),
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
        if "late_accept" in faults:
            await anyio.sleep(faults["late_accept"] or 5.0)
        # From here to the row in the till nothing waits: check and charge are one.
        try:
            given = parsed(text)
        except ValueError as error:
            return self._crowded() or refusal(400, str(error))
        if refused := self._crowded() or self._refused(model, given, faults):
            return refused
        prediction = self._world.accept(model, text.decode(), faults)
        before, self._world.latest = self._world.latest, prediction.id
        if not faults:
            return success(views.accepted(prediction, self._world))
        return await self._answer(prediction, before, faults)

    def _crowded(self) -> Json | None:
        crowded = self._world.crowded()
        return refusal(429, crowded) if crowded else None

    def _refused(
        self, model: Model, given: Mapping[str, Any], faults: Drawn
    ) -> Json | None:
        """What speaks against a submission: its input, or the money."""
        if wrong := complaint(model, given, drifted="submit_drift" in faults):
            return refusal(400, wrong)
        price = model.price.of({**model.identity_defaults, **given})
        return None if self._world.affords(price) else answers.no_credit()

    async def _answer(
        self, prediction: Prediction, before: str, faults: Drawn
    ) -> Response:
        """What a client hears of its purchase under these faults."""
        if "slow_answer" in faults:
            await anyio.sleep(faults["slow_answer"] or 5.0)
        if "sync_timeout" in faults:
            return success(views.sync_timeout(prediction, self._world))
        told = prediction
        if "id_reused" in faults:
            told = self._world.till.lost(before) or prediction
        return spoilt.after(faults, success(views.accepted(told, self._world)))

    async def result(self, request: Request) -> Response:
        """One prediction as it stands."""
        clock = self._world.clock
        now = clock.now()
        faults = met(request.scope)
        identity = request.path_params["id"]
        prediction = self._world.till.find(identity, now)
        if prediction is None:
            prediction = self._missing(identity, faults)
        if prediction is None:
            return _no_prediction()
        young = now < prediction.created + clock.lasting(60)
        if young and prediction.marked("result_404_first"):
            return _no_prediction()
        return success(views.result(prediction, self._world))

    def _missing(self, identity: str, faults: Drawn) -> Prediction | None:
        """What the other form of the service tells of what is not there any more."""
        if stranger := self._world.strangers.get(identity):
            return stranger
        lost = self._world.till.lost(identity) if faults else None
        if lost is None:
            return None
        name = "gone_as_deleted" if lost.deleted else "old_as_completed"
        return lost if name in faults else None


def _no_prediction() -> Json:
    return refusal(404, "prediction not found")
