"""What a fault answers in place of the service, or makes of its answer."""

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from types import MappingProxyType

from starlette.responses import HTMLResponse, Response

from batchgen.sandbox.answers import (
    Cut,
    HangUp,
    Json,
    Twice,
    gateway,
    no_credit,
    refusal,
)
from batchgen.sandbox.clock import SECOND, Nanoseconds
from batchgen.sandbox.faults import Drawn
from batchgen.sandbox.switches import SWITCHES

Answer = Callable[[float | None], Response]


def _too_many(wait: float | None) -> Json:
    headers = None if wait is None else {"retry-after": f"{wait:g}"}
    return refusal(429, "You have reached your rate limit.", headers)


def _broken(_: float | None) -> Json:
    return refusal(500, "internal server error")


def _unknown(_: float | None) -> Json:
    return refusal(404, "not found")


def _no_key(_: float | None) -> Json:
    return refusal(401, "Invalid API key.")


def _no_role(_: float | None) -> Json:
    message = "Your role developer may not do this."
    return refusal(403, message, error_code="permission_denied")


def _silence(_: float | None) -> HangUp:
    return HangUp(unread=True)


def _page(_: float | None) -> Response:
    return gateway()


def _gateway(status: int) -> Answer:
    return lambda _: gateway(status)


def _says(status: int, message: str) -> Answer:
    return lambda _: refusal(status, message)


_BEFORE: Mapping[str, Answer] = {
    "drop_before_accept": _silence,
    "reset_before_accept": lambda _: HangUp(reset=True),
    "refuse_400": _says(400, 'field "prompt" is not acceptable'),
    "refuse_401": _no_key,
    "refuse_403": _no_role,
    "refuse_404": _unknown,
    "refuse_413": _says(413, "request body too large"),
    "refuse_422": _says(422, 'field "prompt" is not acceptable'),
    "refuse_429": _too_many,
    "refuse_429_concurrency": _says(429, "You have reached your concurrency limit."),
    "no_credit": lambda _: no_credit(),
    "no_credit_200": lambda _: no_credit(status=200),
    "no_credit_1407": lambda _: no_credit(code=1407),
    "server_500_not_created": _broken,
    "server_503_not_created": _gateway(503),
    "server_504_not_created": _gateway(504),
    "html_502_not_created": _page,
    "price_html": _page,
    "models_html": _page,
    "balance_401": _no_key,
    "billing_401": _no_key,
    "billing_403": _no_role,
    "upload_401": _no_key,
    "upload_413": _says(413, "file too large"),
    "put_403": _says(403, "Request has expired"),
    "put_412": _says(412, "At least one of the pre-conditions did not hold"),
    "html_200": lambda _: HTMLResponse("<!doctype html><title>Sign in</title>"),
}
_ENDINGS: Mapping[str, Answer] = MappingProxyType(
    {
        "404": _unknown,
        "429": _too_many,
        "500": _broken,
        "html": _page,
        "drop": _silence,
    }
)
_KINDS = frozenset(SWITCHES[name].kind for name in SWITCHES) - {"submit"}


def before(faults: Drawn, now: Nanoseconds) -> Response | None:
    """The answer that a fault gives in place of the service, if one does."""
    for name, number in faults.items():
        if answer := _BEFORE.get(name):
            return answer(number)
        if name == "refuse_429_date":
            then = formatdate(now // SECOND + int(number or 2), usegmt=True)
            return refusal(429, "Rate limit exceeded.", {"retry-after": then})
        kind, _, ending = name.partition("_")
        if kind in _KINDS and (answer := _ENDINGS.get(ending)):
            return answer(number)
    return None


def _half(good: Json) -> Response:
    half = bytes(good.body)[: len(good.body) // 2]
    return Response(half, media_type="application/json")


def _nameless(good: Json) -> Response:
    body = json.loads(bytes(good.body))
    del body["data"]["id"], body["data"]["urls"]
    return Json(body)


_AFTER: Mapping[str, Callable[[Json], Response]] = {
    "drop_after_accept": lambda _: HangUp(),
    "reset_after_accept": lambda _: HangUp(reset=True),
    "accept_502_html": lambda _: gateway(),
    "accept_504_html": lambda _: gateway(504),
    "accept_500": lambda _: _broken(None),
    "accept_429": lambda _: _too_many(None),
    "accept_half_json": _half,
    "accept_cut_short": lambda good: Cut(good, len(good.body) // 2),
    "accept_no_id": _nameless,
    "accept_empty": lambda _: Response(b"", media_type="application/json"),
    "answer_twice": Twice,
}


def after(faults: Drawn, good: Json) -> Response:
    """What becomes of the good answer to an accepted submission."""
    for name in faults:
        if spoil := _AFTER.get(name):
            return spoil(good)
    return good
