"""Tasks that get in each other's way: one name, one file or one request for two."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from batchgen import names
from batchgen.drafts import Draft
from batchgen.findings import Finding, Place
from batchgen.money import Micros, dollars
from batchgen.variants import Variants


class Sold(Protocol):
    """What this module knows of a task."""

    @property
    def id(self) -> str:
        """Its identity."""

    @property
    def slug(self) -> str:
        """Its name."""

    @property
    def output(self) -> str:
        """Its file."""

    @property
    def price(self) -> Micros:
        """What it costs."""

    @property
    def place(self) -> Place | None:
        """Where it was written."""


class Prints:
    """What is remembered of every task: three numbers, enough to see a twin.

    Two tasks may share a number by chance; then `Clashes` finds that they differ.
    """

    def __init__(self) -> None:
        self._ids = array("q")
        self._slugs = array("q")
        self._outputs = array("q")

    def remember(self, task: Sold) -> None:
        """Keep the numbers of a task."""
        key, slug, output = _numbers(task)
        self._ids.append(key)
        self._slugs.append(slug)
        self._outputs.append(output)

    def twins(self) -> "Twins":
        """The numbers that came more than once."""
        return Twins(_twice(self._ids), _twice(self._slugs), _twice(self._outputs))


@dataclass(frozen=True, slots=True)
class Twins:
    """Numbers of tasks that came more than once: identities, names, files."""

    ids: frozenset[int]
    slugs: frozenset[int]
    outputs: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.ids or self.slugs or self.outputs)

    def __contains__(self, task: Sold) -> bool:
        key, slug, output = _numbers(task)
        return key in self.ids or slug in self.slugs or output in self.outputs


def _numbers(task: Sold) -> tuple[int, int, int]:
    return (
        hash(task.id),
        hash(names.clash(task.slug)),
        hash(names.clash(task.output)),
    )


def _twice(numbers: "array[int]") -> frozenset[int]:
    if len(set(numbers)) == len(numbers):
        return frozenset()
    ordered = sorted(numbers)
    return frozenset(one for one, other in pairwise(ordered) if one == other)


class Clashes:
    """Compares tasks with each other: all of them, or those that may have a twin."""

    def __init__(self, variants: Variants) -> None:
        self._variants = variants
        self._slugs: dict[str, tuple[str, Place | None]] = {}
        self._outputs: dict[str, str] = {}
        self._ids: dict[str, tuple[str, Place | None, tuple[str, ...]]] = {}
        self._same_slug: list[tuple[str, Place | None, Place | None]] = []
        self._same_output: dict[str, list[str]] = {}
        self._same_request: list[tuple[Sold, Draft, tuple[str, ...]]] = []
        self._first_request: list[tuple[str, Place | None]] = []

    def remember(self, task: Sold, draft: Draft) -> None:
        """Compare a task with all before it."""
        ids = tuple(value.id for value in draft.choices.values())
        slug = names.clash(task.slug)
        first = self._slugs.setdefault(slug, (task.slug, task.place))
        known = self._ids.setdefault(task.id, (task.slug, task.place, ids))
        if known[0] != task.slug:
            self._same_request.append((task, draft, known[2]))
            self._first_request.append((known[0], known[1]))
        elif first[0] != task.slug or first[1] != task.place:
            self._same_slug.append((task.slug, task.place, first[1]))
        output = names.clash(task.output)
        owner = self._outputs.setdefault(output, task.slug)
        if owner != task.slug:
            self._same_output.setdefault(task.output, [owner]).append(task.slug)

    def findings(self) -> Iterator[Finding]:
        """All clashes."""
        yield from self._duplicates()
        yield from self._identical()
        yield from self._overwritten()

    def _duplicates(self) -> Iterator[Finding]:
        for slug, place, first in self._same_slug[:50]:
            if place is not None and first is not None:
                message = f"the id `{slug}` is used twice"
                label = f"first in line {first.line}"
                yield Finding(place, "duplicate-id", message, label)

    def _identical(self) -> Iterator[Finding]:
        if not self._same_request:
            return
        _, draft, first = self._same_request[0]
        count = len(self._same_request)
        price = dollars(sum(twin.price for twin, _, __ in self._same_request))
        twice = "request would" if count == 1 else "requests would each"
        cost = f"{count} {twice} be bought twice: {price} for nothing new"
        for axis, one, other in zip(
            self._variants.axes, first, draft.choices.values(), strict=False
        ):
            if one != other.id:
                yield axis.origin.error(
                    "identical-requests",
                    f"{len(axis.values)} {axis.name}s, one and the same request",
                    f"`{axis.name}` is never used",
                    advice=f"{cost}\nuse {{{{ {axis.name} }}}} in the prompt, remove "
                    "the axis, or say `takes: 2` if you want two",
                    key=True,
                )
                return
        for (twin, _, __), (slug, place) in zip(
            self._same_request[:50], self._first_request, strict=False
        ):
            if twin.place is not None:
                where = f", line {place.line}" if place else ""
                message = f"the same request as {slug}{where}"
                advice = f"{cost}\nremove one, or say `takes: 2` if you want two"
                yield Finding(twin.place, "identical-requests", message, advice=advice)

    def _overwritten(self) -> Iterator[Finding]:
        document = self._variants.manifest.document
        for output, slugs in list(self._same_output.items())[:20]:
            more = f" and {len(slugs) - 2} more" if len(slugs) > 2 else ""  # noqa: PLR2004
            message = f"{len(slugs)} tasks would be saved as {output}"
            advice = ", ".join(slugs[:2]) + more
            fix = ""
            if document is not None and document.node(("output",)):
                place = document.place(("output", "name"))
                stem = self._variants.manifest.output.name.removesuffix(".mp4")
                if "slug" not in stem:
                    fix = f'output: "{stem}/{{{{ slug }}}}.mp4"'
            else:
                place = Place(str(self._variants.manifest.path), 0, 0, 0)
            yield Finding(place, "name-clash", message, fix=fix, advice=advice)
