"""What an answer of the generation API means. Pure: bytes in, facts or errors out."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, NoReturn

from batchgen.errors import Refused, Unavailable, Uncertain
from batchgen.events import Output
from batchgen.patterns import pattern
from batchgen.profile import (
    NO_CREDIT_CODES,
    NO_CREDIT_WORDS,
    REFUSED,
    STATUS_WORDS,
    Meaning,
)

EVIDENCE = 8 * 1024
_ID = pattern(r"[A-Za-z0-9_-]{1,128}")
_FINER = pattern(r"(\.\d{6})\d+")
_DEEPEST = 64
# Fields that money hangs on.
_TOLD_ONCE = frozenset({"code", "data", "id", "status", "model", "items", "inputs"})
_MICROSECONDS = len("2026-11-22T22:00:00.000000Z")
_LONGEST_WAIT = 3600.0
_LONGEST_TEXT = 2048
_MOST_OUTPUTS = 16


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    http: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def envelope(self) -> dict[str, Any] | None:
        """The object of its body; None for what two readers could read in two ways."""
        return _object(self.body)

    @property
    def text(self) -> str:
        """The beginning of the body, for people."""
        return self.body[:EVIDENCE].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The remote object, in the API's words.

    `urls` are signed addresses of the outputs: never stored, asked for again.
    """

    id: str
    model: str
    meaning: Meaning
    word: str
    urls: tuple[str, ...]
    outputs: tuple[Output, ...]
    error: str
    code: int | None
    flagged: bool
    inference_ms: int | None
    created_at: str
    inputs: Mapping[str, Any] | None


def accepted(answer: Answer) -> Prediction:
    """What came of a submission whose answer arrived whole.

    Raises:
        Refused: a definite no, free of charge.
        Uncertain: anything that is neither a prediction nor a definite no.
    """
    envelope = answer.envelope
    message = _message(envelope) or _plain_words(answer.text)
    _refuse(answer, envelope, message)
    data = envelope.get("data") if envelope else None
    if not (200 <= answer.http < 300 and isinstance(data, dict)):  # noqa: PLR2004
        _in_doubt(answer, message)
    found = prediction(data)
    if not found.id:
        _in_doubt(answer, "an answer without a prediction id")
    return found


def _refuse(answer: Answer, envelope: dict[str, Any] | None, message: str) -> None:
    """Raise if the answer is a definite no; doubt is never a no."""
    http = answer.http
    ok = 200 <= http < 300  # noqa: PLR2004
    code = _whole(envelope.get("code")) if envelope else None
    data = envelope.get("data") if envelope else None
    if isinstance(data, dict) and data.get("id") and not ok:
        return  # a no that names a prediction contradicts itself
    says_no = http in REFUSED | {402} or (ok and not isinstance(data, dict))
    poor = code in NO_CREDIT_CODES or any(
        words in message.lower() for words in NO_CREDIT_WORDS
    )
    if says_no and (poor or http == 402):  # noqa: PLR2004
        raise Refused(message, kind="credit", http=http, retryable=True)
    if http in (401, 403):
        raise Refused(message, kind="key", http=http, retryable=True)
    if http == 429:  # noqa: PLR2004
        wait = retry_after(answer.headers)
        raise Refused(message, kind="rate", http=http, retryable=True, retry_after=wait)
    if http == 404:  # noqa: PLR2004
        raise Refused(message, kind="model", http=http)
    if http in REFUSED:
        raise Refused(message, kind="invalid", http=http)


def _in_doubt(answer: Answer, message: str) -> NoReturn:
    raise Uncertain(
        f"HTTP {answer.http}: {message}",
        phase="answered",
        http=answer.http,
        evidence=answer.text,
    )


def is_envelope(answer: Answer) -> bool:
    """Whether the API itself speaks, and not a proxy before it."""
    return _whole((answer.envelope or {}).get("code")) is not None


def read(answer: Answer) -> dict[str, Any]:
    """The `data` of a reading request.

    Raises:
        Unavailable: anything but a whole envelope that says 200.
    """
    data = _data(answer)
    if not isinstance(data, dict):
        raise Unavailable("an answer without data")
    return data


def read_list(answer: Answer) -> list[Any]:
    """The same, where `data` is a list.

    Raises:
        Unavailable: anything but a whole envelope that says 200.
    """
    data = _data(answer)
    if not isinstance(data, list):
        raise Unavailable("an answer without a list")
    return data


def _data(answer: Answer) -> object:
    envelope = answer.envelope
    if answer.http != 200 or envelope is None:  # noqa: PLR2004
        what = _message(envelope) or f"HTTP {answer.http}"
        wait = retry_after(answer.headers)
        raise Unavailable(what, http=answer.http, retry_after=wait)
    data = envelope.get("data")
    if envelope.get("code", 200) != 200 or data is None:  # noqa: PLR2004
        raise Unavailable(_message(envelope) or "an answer without data")
    return data


def prediction(data: Mapping[str, Any]) -> Prediction:
    """One prediction from its JSON object; missing and odd fields are tolerated."""
    word = str(data.get("status") or "").lower()
    flags = data.get("has_nsfw_contents")
    timings = data.get("timings")
    inputs = data.get("inputs", data.get("input"))
    raw = data.get("outputs")
    listed = (raw if isinstance(raw, list) else [raw] if raw else [])[:_MOST_OUTPUTS]
    return Prediction(
        id=_identity(data.get("id")),
        model=_text(data.get("model")),
        meaning=STATUS_WORDS.get(word, "waiting"),
        word=word,
        urls=tuple(item for item in listed if _is_url(item)),
        outputs=tuple(output(item) for item in listed),
        error=_text(data.get("error")),
        code=_whole(data.get("code")),
        flagged=isinstance(flags, list) and any(flag is True for flag in flags),
        inference_ms=_whole(timings.get("inference"))
        if isinstance(timings, dict)
        else None,
        created_at=str(data.get("created_at") or ""),
        inputs=inputs if isinstance(inputs, dict) and inputs else None,
    )


def _identity(value: object) -> str:
    """A prediction's id, or nothing: what has another form could be a path."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def output(item: object) -> Output:
    """An output as the journal keeps it: host and path, no signature."""
    if not _is_url(item):
        return Output(kind="json", value=_bounded(item))
    address = str(item).split("?", 1)[0].split("://", 1)[1]
    host, _, path = address.partition("/")
    return Output(kind="url", host=host[:256], path=f"/{path[:_LONGEST_TEXT]}")


def _bounded(item: object) -> object:
    """A JSON value that fits a line of the journal; of a larger one, its digest."""
    text = json.dumps(item)
    if len(text) <= _LONGEST_TEXT:
        return item
    return {"sha256": sha256(text.encode()).hexdigest(), "characters": len(text)}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait from `Retry-After`, 1 s to 1 h; None if it makes no sense."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        now = when(headers.get("date", ""))
        then = when(text)
        if now is None or then is None:
            return None
        seconds = (then - now).total_seconds()
    if math.isnan(seconds) or seconds < 0:
        return None
    return min(max(seconds, 1.0), _LONGEST_WAIT)


@lru_cache(maxsize=256)  # answers of one second have one date
def when(text: str) -> datetime | None:
    """A time from an HTTP header or a JSON field with up to nine decimals."""
    try:
        if text[:4].isdigit():
            if len(text) > _MICROSECONDS:
                text = _FINER.sub(r"\1", text)
            moment = datetime.fromisoformat(text)
        else:
            moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(body: bytes) -> dict[str, Any] | None:
    """The object of a body; None for what two readers could read in two ways."""
    try:
        value = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    # With fewer brackets it is not worth looking.
    if body.count(b"{") + body.count(b"[") > _DEEPEST and _is_deep(value):
        return None
    return value if isinstance(value, dict) else None


def _is_deep(value: Any) -> bool:
    """Whether lists and objects nest deeper than some reader may follow."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are told once: of two ids, which one was paid for?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs if name in _TOLD_ONCE]
        if len(set(names)) < len(names):
            raise ValueError("a key told twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Made once: `json.loads` would make one for each answer.
_JSON = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_doubles)


def _message(envelope: Mapping[str, Any] | None) -> str:
    text = envelope.get("message") if envelope else None
    return text[:_LONGEST_TEXT] if isinstance(text, str) else ""


def _plain_words(text: str) -> str:
    """What an answer that is not an envelope says to people."""
    text = text.strip()
    if text.startswith("<"):
        return "a page, not an answer of the API"
    return text[:200] or "an answer that says nothing"


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _is_url(item: object) -> bool:
    return isinstance(item, str) and item.startswith(("https://", "http://"))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
