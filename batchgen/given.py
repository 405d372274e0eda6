"""What a manifest says, in plain types: also of one that says nothing. Pure.

A sheet of prompts is a manifest without keys. It needs none of the validators that
keys need, and those take longer to load than a plan of ten prompts to make.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, field

from batchgen.models import DEFAULT_MODEL

RATE = r"([1-9][0-9]{0,5}) ?/ ?(s|min|h)"
NAME = "{{ slug }}.mp4"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Rate(Struct, frozen=True):
    """So many in so many seconds."""

    count: int
    seconds: float


def rate(value: Any) -> Rate:
    """Read `5/min`.

    Raises:
        ValueError: another shape.
    """
    found = re.fullmatch(RATE, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"not a rate: {value}")
    return Rate(int(found[1]), _SECONDS[found[2]])


class Retry(Struct, frozen=True):
    """How often a task the provider failed is bought again, and how long between."""

    attempts: int = 1
    backoff: float = 5.0
    max_backoff: float = 300.0


class Output(Struct, frozen=True):
    """Names of the files: a template, and what else is wished of them."""

    name: str = NAME
    ascii: bool = False
    flagged: Literal["keep", "quarantine"] = "keep"
    sidecar: bool = True
    store: str | None = None
    links: str | None = None


class Unwritten(Struct, frozen=True):
    """The keys of a manifest that has none; `keys.Written` says what they mean."""

    model: str = DEFAULT_MODEL
    version: int = 1
    name: None = None
    description: str = ""
    price: None = None
    prompt: None = None
    prompts: None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    elements: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    matrix: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[Any] = ()
    overrides: Sequence[Any] = ()
    include: Sequence[Any] = ()
    takes: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    budget: None = None
    tier: None = None
    concurrency: None = None
    rate: None = None
    reads: None = None
    deadline: None = None
    task_timeout: float = 3600.0
    stop_after_failures: int = 10
    retry: int = 1
    uncertain: Literal["hold"] = "hold"
    output: str = NAME
    notify: Sequence[Any] = ()
