"""A task: one generation fully spelled out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchgen.findings import Place
from batchgen.money import Micros


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to buy.

    Attributes:
        id: identity, 32 hex characters: a hash of model, input and take.
        slug: the name people see; unique inside a manifest.
        model: full id of the model.
        input: the request body as it is sent.
        take: 1 for the first; further takes of one input count up.
        price: upper bound of the charge, micro-dollars.
        seconds: length of the clip.
        labels: axis ids, label columns and `labels`.
        output: file name below the run's videos folder, with `/` between folders.
        place: where the author wrote it; None once it comes from a journal.
    """

    id: str
    slug: str
    model: str
    input: Mapping[str, Any]
    take: int
    price: Micros
    seconds: int
    labels: Mapping[str, str]
    output: str
    place: Place | None = None
