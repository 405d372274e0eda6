"""Reading what a request asks for: objects, pages, moments."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from batchgen.sandbox.clock import Nanoseconds, moment

MAX_BODY = 10 * 2**20
_LAST = 10**9


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


async def body_object(request: Request) -> dict[str, Any]:
    """The same, read from a request.

    Raises:
        ValueError: it is too long or not one JSON object.
    """
    return parsed(await request.body())


def paging(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Page, from 1, and rows on a page; both must be there.

    Raises:
        ValueError: one is missing or out of range, in the words of a refusal.
    """
    page, size = asked.get("page"), asked.get("page_size")
    if type(page) is not int or not 1 <= page <= _LAST:
        raise ValueError('field "page" must be at least 1')
    if type(size) is not int or not 1 <= size <= 100:  # noqa: PLR2004
        raise ValueError('field "page_size" must be between 1 and 100')
    return page, size


def read_moment(
    asked: Mapping[str, Any], name: str, missing: Nanoseconds
) -> Nanoseconds:
    """A moment in RFC 3339.

    Raises:
        ValueError: it is none, in the words of a refusal.
    """
    text = asked.get(name)
    if not text:
        return missing
    try:
        return moment(str(text))
    except (ValueError, OverflowError):
        raise ValueError(f'field "{name}" must be an RFC 3339 time') from None
