"""How the service shows what it knows."""

import json
from typing import Any

from batchgen.models import Model
from batchgen.money import plain
from batchgen.sandbox.clock import stamp
from batchgen.sandbox.predictions import Prediction
from batchgen.sandbox.till import Charge
from batchgen.sandbox.world import World

_MILLISECOND = 1_000_000


def result(
    prediction: Prediction, world: World, *, with_inputs: bool = False
) -> dict[str, Any]:
    """A prediction as every endpoint shows it."""
    status = prediction.status(world.clock.now())
    ended = status not in ("created", "processing")
    took = (prediction.ready - prediction.created) // _MILLISECOND if ended else 0
    shown: dict[str, Any] = {
        "id": prediction.id,
        "model": prediction.model,
        "status": status,
        "outputs": _outputs(prediction, world) if status == "completed" else [],
        "urls": {
            "get": f"{world.addresses.api}/api/v3/predictions/{prediction.id}/result"
        },
        "has_nsfw_contents": [],
        "created_at": stamp(prediction.created),
        "error": prediction.error if ended else "",
        "timings": {"inference": took},
    }
    if ended:
        shown["executionTime"] = took
        if prediction.code:
            shown["code"] = prediction.code
        if status == "completed":
            shown["has_nsfw_contents"] = [prediction.marked("nsfw")]
    if prediction.marked("bare_result"):
        for name in ("urls", "has_nsfw_contents", "timings", "error"):
            del shown[name]
    if with_inputs:
        shown["inputs"] = json.loads(prediction.input)
    return shown


def _outputs(prediction: Prediction, world: World) -> Any:
    first = world.output(prediction, 1)
    if not prediction.marks:
        return [first]
    if prediction.marked("outputs_empty"):
        return []
    if prediction.marked("outputs_null"):
        return None
    if prediction.marked("outputs_string"):
        return first
    if prediction.marked("outputs_two"):
        return [first, world.output(prediction, 2)]
    return [first]


def till_row(charge: Charge) -> dict[str, Any]:
    """A row of the till for those who check it."""
    return {
        "prediction_id": charge.id,
        "model": charge.model,
        "input": json.loads(charge.input),
        "price_usd": plain(charge.price),
        "at": stamp(charge.at),
    }


def billing(charge: Charge, now: int) -> dict[str, Any]:
    """The same row as the vendor's billing shows it."""
    refund = charge.price < 0
    price = float(plain(abs(charge.price)))
    kind = "refund" if refund else "deduct"
    status = charge.ending if now >= charge.ready else "processing"
    order = {"uuid": f"order-{charge.id}", "state": "done", "status": "done"}
    return {
        "uuid": f"{kind}-{charge.id}",
        "billing_type": kind,
        "price": price,
        "created_at": stamp(charge.at),
        "access_key_name": "sandbox",
        "access_key_uuid": "sandbox",
        "order": {**order, "price": price, "origin_price": price},
        "prediction": {
            "uuid": charge.id,
            "model_uuid": charge.model,
            "status": status,
        },
        "consumption": price,
    }


def model_entry(model: Model, place: int, server: str) -> dict[str, Any]:
    """A model as the vendor's own list shows it."""
    schema = {**model.schema, "x-order-properties": list(model.schema["properties"])}
    run = {
        "type": "model_run",
        "method": "POST",
        "server": server,
        "api_path": f"/api/v3/{model.id}",
        "request_schema": schema,
    }
    return {
        "model_id": model.id,
        "name": model.id,
        "base_price": float(plain(model.price.of(model.identity_defaults))),
        "description": model.title,
        "type": model.kind,
        "sort_order": place,
        "api_schema": {"api_schemas": [run]},
    }
