"""Which tasks were ordered last, without a look at every one of them.

`.tasks.ids` stands beside `tasks.jsonl` and says so for just that one: to count what a
state file knows of an order takes no more. Who edits the order makes it worthless, and
then the tasks themselves are read. It is never the truth.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from zlib import crc32

from msgspec import Struct
from msgspec.json import Decoder, encode

from batchgen import report
from batchgen.cli.ordered import NAME, ordered
from batchgen.models import catalog
from batchgen.tally import Tally
from batchgen.task import Task, to_line

IDS = ".tasks.ids"
_BLOCK = 1 << 17  # bytes


class _Ids(Struct, frozen=True):
    """Which tasks a `tasks.jsonl` of this size and checksum holds, in order."""

    size: int
    crc32: int
    ids: list[str]
    elements: list[str]


_IDS = Decoder(_Ids)


def written(tasks: Iterable[Task]) -> dict[str, str]:
    """What a run leaves of its order: the files by their names, and their texts."""
    makers, lines, ids, elements = _makers(), [], [], []
    size = summed = 0
    for task in tasks:
        line = f"{to_line(task)}\n"
        data = line.encode()
        size, summed = size + len(data), crc32(data, summed)
        lines.append(line)
        ids.append(task.id)
        if task.model in makers:
            elements.append(task.id)
    left = _Ids(size, summed, ids, elements)
    return {NAME: "".join(lines), IDS: encode(left).decode()}


class Ordered:
    """The tasks that were ordered last; those that were planned, if nobody knows."""

    def __init__(self, folder: Path, tally: Tally, *, whole: bool) -> None:
        """With `whole`, all will be looked at anyway."""
        self._folder, self._tally = folder, tally
        self._left = None if whole else _left(folder)

    @cached_property
    def tasks(self) -> list[Task]:
        """All of them."""
        tasks = list(ordered(self._folder, self._tally))
        return tasks or list(report.known(self._tally))

    @cached_property
    def ids(self) -> Sequence[str]:
        """Which they are."""
        return self._left.ids if self._left else [task.id for task in self.tasks]

    @property
    def elements(self) -> Sequence[str]:
        """Those of them that make what clips show."""
        if self._left:
            return self._left.elements
        makers = _makers()
        return [task.id for task in self.tasks if task.model in makers]

    def some(self, ids: Collection[str]) -> list[Task]:
        """The tasks of some ids; a few are read without the others."""
        if not self._left:
            return [task for task in self.tasks if task.id in ids]
        lines = frozenset(n for n, one in enumerate(self.ids) if one in ids)
        found = ordered(self._folder, self._tally, lines) if lines else ()
        # Another order may have been left since.
        return [task for task in found if task.id in ids]


def _makers() -> frozenset[str]:
    """The models that make elements."""
    return frozenset(model.id for model in catalog() if model.kind == "elements")


def _left(folder: Path) -> _Ids | None:
    """Which tasks were ordered; None where that is not of this `tasks.jsonl`."""
    try:
        left = _IDS.decode((folder / IDS).read_bytes())
        with (folder / NAME).open("rb") as stream:
            size = summed = 0
            while block := stream.read(_BLOCK):
                size, summed = size + len(block), crc32(block, summed)
    except (OSError, ValueError):
        return None
    fits = left.ids and (left.size, left.crc32) == (size, summed)
    return left if fits else None
