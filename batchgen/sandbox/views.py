"""How the service shows what it knows."""

import json
from collections.abc import Sequence
from typing import Any

from batchgen.models import Model, catalog, published
from batchgen.money import plain
from batchgen.sandbox.checks import drift
from batchgen.sandbox.clock import SECOND, Nanoseconds, stamp
from batchgen.sandbox.predictions import Prediction, share
from batchgen.sandbox.till import Charge
from batchgen.sandbox.world import World

ACCESS_KEY = "sandbox"
_MILLISECOND = 1_000_000


def accepted(prediction: Prediction, world: World) -> dict[str, Any]:
    """A prediction as its submission is answered, however late that is."""
    return result(prediction, world, now=prediction.created)


def result(
    prediction: Prediction,
    world: World,
    *,
    with_inputs: bool = False,
    now: Nanoseconds | None = None,
) -> dict[str, Any]:
    """A prediction as every endpoint shows it, at this moment or at another."""
    status = prediction.status(world.clock.now() if now is None else now)
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
    if prediction.marks:
        _mark(shown, prediction)
    if with_inputs:
        shown["inputs"] = json.loads(prediction.input)
    return shown


def _mark(shown: dict[str, Any], prediction: Prediction) -> None:
    if prediction.marked("status_upper") and shown["status"] == "completed":
        shown["status"] = "COMPLETED"
    if prediction.marked("bare_result"):
        for name in ("urls", "has_nsfw_contents", "timings", "error"):
            del shown[name]


def sync_timeout(prediction: Prediction, world: World) -> dict[str, Any]:
    """What a submission in sync mode is told after its ninety seconds."""
    error = "Sync mode timed out. The task goes on; query its result later."
    told = {"status": "processing", "error": error, "code": 5004}
    return {**accepted(prediction, world), **told}


def shifted(prediction: Prediction, seconds: float) -> str:
    """The moment of its creation, by a clock that is off."""
    return stamp(prediction.created + int(seconds * SECOND))


def _outputs(prediction: Prediction, world: World) -> Any:
    model = catalog().find(prediction.model)
    if model is not None and "duration" not in model.schema["properties"]:
        return [_element(prediction)]
    first = world.output(prediction, 1)
    if not prediction.marks:
        return [first]
    odd: dict[str, Any] = {
        "outputs_empty": [],
        "outputs_null": None,
        "outputs_string": first,
        "outputs_object": [{"url": first}],
        "outputs_base64": ["data:video/mp4;base64,AAAAGGZ0eXA="],
        "outputs_two": [first, world.output(prediction, 2)],
    }
    return next((odd[name] for name in odd if prediction.marked(name)), [first])


def _element(prediction: Prediction) -> dict[str, Any]:
    """What a model that makes no clip gives back: an id of 15 digits, a number."""
    given = json.loads(prediction.input)
    return {
        "element_id": 3 * 10**14 + int(share(prediction.id) * 10**14),
        "element_name": given.get("name", ""),
        "element_type": given.get("reference_type", "image_refer"),
        "element_description": given.get("description", ""),
    }


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
    again = "" if refund or charge.at <= charge.ready else "-again"
    order = {"uuid": f"order-{charge.id}", "state": "done", "status": "done"}
    return {
        "uuid": f"{kind}-{charge.id}{again}",
        "billing_type": kind,
        "price": price,
        "created_at": stamp(charge.at),
        "access_key_name": ACCESS_KEY,
        "access_key_uuid": ACCESS_KEY,
        "order": {**order, "price": price, "origin_price": price},
        "prediction": {
            "uuid": charge.id,
            "model_uuid": charge.model,
            "status": status,
        },
        "consumption": price,
    }


def usage(charges: Sequence[Charge], now: Nanoseconds) -> dict[str, Any]:
    """Sums over charges; refunds are not told apart here.

    The names inside the two lists are a guess: only the summary's are known.
    """
    models: dict[str, list[Charge]] = {}
    days: dict[str, list[Charge]] = {}
    for charge in charges:
        models.setdefault(charge.model, []).append(charge)
        days.setdefault(stamp(charge.at)[:10], []).append(charge)
    return {
        "summary": _sums(charges, now),
        "per_model_usage": [
            {"model_uuid": name, **_sums(models[name], now)} for name in sorted(models)
        ],
        "daily_usage": [{"date": day, **_sums(days[day], now)} for day in sorted(days)],
    }


def _sums(charges: Sequence[Charge], now: Nanoseconds) -> dict[str, Any]:
    done = [c for c in charges if c.ending == "completed" and c.ready <= now]
    return {
        "total_cost": float(plain(sum(charge.price for charge in charges))),
        "total_requests": len(charges),
        "success_requests": len(done),
    }


def model_entry(
    model: Model, place: int, server: str, *, drifted: bool = False
) -> dict[str, Any]:
    """A model as the vendor's own list shows it."""
    schema = drift(model.schema) if drifted else model.schema
    run = {
        "type": "model_run",
        "method": "POST",
        "server": server,
        "api_path": f"/api/v3/{model.id}",
        "request_schema": published(schema),
    }
    entry = {
        "model_id": model.id,
        "name": model.id,
        "base_price": float(plain(model.price.of(model.identity_defaults))),
        "description": model.title,
        "type": model.kind,
        "sort_order": place,
        "api_schema": {"api_schemas": [run]},
    }
    if "duration" in model.identity_defaults:
        usual = model.identity_defaults["duration"]
        total = f"base_price * duration / {usual}"
        entry["formula"] = f'{{"total_price": {total}}}'
    return entry
