"""Tasks that get in each other's way: one name, one file or one request for two."""

import itertools
from array import array
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from batchgen import names
from batchgen.drafts import Draft
from batchgen.findings import Finding, Gathered, Place
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


class Twins(Struct, frozen=True):
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
        hash(names.clash(task.output or task.slug)),
    )


def _twice(numbers: "array[int]") -> frozenset[int]:
    if len(set(numbers)) == len(numbers):
        return frozenset()
    ordered = sorted(numbers)
    return frozenset(one for one, other in itertools.pairwise(ordered) if one == other)


class Clashes:
    """Compares tasks with each other: those that may have a twin.

    Keeps little, though a million rows may be one and the same.
    """

    def __init__(self, variants: Variants, twins: Twins) -> None:
        self._variants = variants
        self._twins = twins
        self._slugs: dict[str, tuple[str, Place | None]] = {}
        self._outputs: dict[str, str] = {}
        self._ids: dict[str, tuple[str, Place | None, tuple[str, ...]]] = {}
        self._same_slug = Gathered()
        self._same_output: dict[str, tuple[str, str, int]] = {}
        self._same_request = Gathered()
        self._doubled: tuple[Draft, tuple[str, ...]] | None = None
        self._count = self._price = 0

    def remember(self, task: Sold, draft: Draft) -> None:
        """Compare a task with all before it."""
        key, slug, output = _numbers(task)
        doubled = key in self._twins.ids and self._request(task, draft)
        if slug in self._twins.slugs:
            self._name(task, silent=doubled)
        if task.output and output in self._twins.outputs:
            self._file(task)

    def _request(self, task: Sold, draft: Draft) -> bool:
        """Whether a task of another name asks for the same."""
        ids = tuple(value.id for value in draft.choices.values())
        known = self._ids.setdefault(task.id, (task.slug, task.place, ids))
        if known[0] == task.slug:
            return False
        self._doubled = self._doubled or (draft, known[2])
        self._count += 1
        self._price += task.price
        if task.place is not None:
            where = f", line {known[1].line}" if known[1] else ""
            message = f"the same request as {known[0]}{where}"
            self._same_request.append(
                Finding(task.place, "identical-requests", message)
            )
        return True

    def _name(self, task: Sold, *, silent: bool) -> None:
        here = (task.slug, task.place)
        first = self._slugs.setdefault(names.clash(task.slug), here)
        if silent or first == here or task.place is None or first[1] is None:
            return
        message = f"the id `{task.slug}` is used twice"
        label = f"first in line {first[1].line}"
        self._same_slug.append(Finding(task.place, "duplicate-id", message, label))

    def _file(self, task: Sold) -> None:
        owner = self._outputs.setdefault(names.clash(task.output), task.slug)
        if owner != task.slug:
            _, second, count = self._same_output.get(task.output, ("", task.slug, 1))
            self._same_output[task.output] = (owner, second, count + 1)

    def findings(self) -> Iterator[Finding]:
        """All clashes."""
        yield from self._same_slug
        yield from self._identical()
        yield from self._overwritten()

    def _identical(self) -> Iterator[Finding]:
        if self._doubled is None:
            return
        draft, first = self._doubled
        twice = "request would" if self._count == 1 else "requests would each"
        price = dollars(self._price)
        cost = f"{self._count} {twice} be bought twice: {price} for nothing new"
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
        advice = f"{cost}\nremove one, or say `takes: 2` if you want two"
        for found in itertools.islice(self._same_request, 50):
            more = f"\n{found.advice}" if found.advice else ""
            yield replace(found, advice=advice + more)

    def _overwritten(self) -> Iterator[Finding]:
        document = self._variants.manifest.document
        for output, found in itertools.islice(self._same_output.items(), 20):
            first, second, count = found
            more = f" and {count - 2} more" if count > 2 else ""  # noqa: PLR2004
            message = f"{count} tasks would be saved as {output}"
            advice = f"{first}, {second}{more}"
            fix = ""
            if document is not None and document.node(("output",)):
                place = document.place(("output", "name"))
                stem = self._variants.manifest.output.name.removesuffix(".mp4")
                if "slug" not in stem:
                    fix = f'output: "{stem}/{{{{ slug }}}}.mp4"'
            else:
                place = Place(str(self._variants.manifest.path), 0, 0, 0)
            yield Finding(place, "name-clash", message, fix=fix, advice=advice)
