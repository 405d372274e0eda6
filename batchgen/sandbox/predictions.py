"""A prediction: one stored row, and what the service says of it at a moment."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from batchgen.models import Model
from batchgen.money import Micros
from batchgen.sandbox.clock import SECOND, Clock, Nanoseconds

RETENTION: Nanoseconds = 7 * 24 * 3600 * SECOND
NEVER: Nanoseconds = 2**62

_TYPICAL = 180.0
"""Seconds a clip takes here; nobody published what the vendor takes."""

_FAILURES = {
    "fail_provider": (5000, "Internal error, please try again later."),
    "fail_moderation": (1200, "Content flagged as potentially sensitive."),
    "fail_invalid": (1401, "Invalid parameter."),
    "fail_media": (1402, "Failed to download the input media."),
    "fail_credit": (1407, "Insufficient credits."),
    "fail_without_code": (0, ""),
}
_ENDINGS = {
    "status_cancelled": "cancelled",
    "status_canceled": "canceled",
    "status_timeout": "timeout",
    "status_deleted": "deleted",
    "status_odd": "paused",
}
_REFUNDED = frozenset(
    {"fail_provider", "status_cancelled", "status_canceled", "status_timeout"}
)
_LATE = 3 * 3600.0
"""Seconds within which the vendor promises to have paid back."""


class Prediction(NamedTuple):
    """One row of the till: what was asked, what was charged, what will come of it.

    `begins` and `ready` are when it turns to processing and to its `ending`; all
    moments are fixed at acceptance, so its status needs nothing but the time.
    """

    id: str
    model: str
    input: str
    price: Micros
    created: Nanoseconds
    begins: Nanoseconds
    ready: Nanoseconds
    ending: str
    code: int
    error: str
    refund: Nanoseconds | None
    marks: str
    deleted: int = 0

    def status(self, now: Nanoseconds) -> str:
        """The word the service uses at this moment."""
        if self.deleted:
            return "deleted"
        if now >= self.ready:
            return self.ending
        return "processing" if now >= self.begins else "created"

    def marked(self, name: str) -> bool:
        """Whether this fault was laid into it at acceptance."""
        return name in self.marks.split(",")

    def kept(self, model: Model) -> dict[str, Any]:
        """The input as the model sees it: defaults filled in, unknown keys gone."""
        given = json.loads(self.input)
        known = model.schema["properties"]
        defaults = {k: v for k, v in model.identity_defaults.items() if k in known}
        return {**defaults, **{k: v for k, v in given.items() if k in known}}


def accepted(
    identity: str,
    model: Model,
    text: str,
    clock: Clock,
    *,
    faults: Mapping[str, float | None],
    refund_delay: float,
    free: Nanoseconds = 0,
) -> Prediction:
    """Decide everything that will ever happen to the prediction of this request.

    `free` is when the account has room for it: until then it waits as `created`.
    """
    fields = {**model.identity_defaults, **json.loads(text)}
    price = model.price.of(fields)
    if "charge_more" in faults:
        price += price // 2
    now = clock.now()
    start = max(now, free)
    takes = clock.lasting(_TYPICAL * (0.75 + 0.5 * share(identity)))
    begins, ready = start + takes // 20, start + takes
    if "stuck" in faults:
        ready = NEVER
    if "sync_completed" in faults:
        begins = ready = now
    ending, code, error = _fate(faults)
    return Prediction(
        id=identity,
        model=model.id,
        input=text,
        price=price,
        created=now,
        begins=begins,
        ready=ready,
        ending=ending,
        code=code,
        error=error,
        refund=_refund(faults, ready, clock, refund_delay) if faults else None,
        marks=",".join(faults),
    )


def _refund(
    faults: Mapping[str, float | None],
    ready: Nanoseconds,
    clock: Clock,
    usual: float,
) -> Nanoseconds | None:
    if not _REFUNDED & faults.keys() or "refund_never" in faults:
        return None
    delay = usual
    if "refund_late" in faults:
        delay = faults["refund_late"] or _LATE
    return ready + clock.lasting(delay)


def _fate(faults: Mapping[str, float | None]) -> tuple[str, int, str]:
    for name, value in faults.items():
        if name in _FAILURES:
            code, error = _FAILURES[name]
            return "failed", int(value or code), error
        if name in _ENDINGS:
            return _ENDINGS[name], 0, ""
    return "completed", 0, ""


def share(text: str) -> float:
    """A number from 0 to 1 that is always the same for the same text."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
