"""The records of a file, read again from it whenever they are asked for.

A run of a night has a million of them, and what it decides by is in its tally. So the
file keeps them, and this knows only which page of it holds which.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from batchgen.errors import StoreError
from batchgen.events import Event
from batchgen.records import Record
from batchgen.replay import End, Hear, Page, Source, nobody, read_page, scan


class _Leaf(NamedTuple):
    offset: int
    length: int
    kinds: frozenset[type[Event]]
    records: Sequence[Record] | None  # of a page with more in it than its records


class Records(Sequence[Record]):
    """The records of a journal, in order, once it was scanned.

    Raises StoreError where the file is no longer what was heard.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._leaves: list[_Leaf] = []
        self._firsts: list[int] = []
        self._count = 0
        self._held: tuple[int, Sequence[Record]] = (-1, ())

    def scan(self, hear: Hear = nobody) -> End:
        """Read the whole journal, check it, and let somebody hear it.

        Raises:
            JournalDamaged: see `replay.scan`.
        """

        def both(pages: Sequence[Page]) -> None:
            for page in pages:
                self._note(page)
            hear(pages)

        return scan(self._source, both)

    def _note(self, page: Page) -> None:
        if not page.events:
            return
        kinds = frozenset(map(type, page.events))
        kept = None if page.plain else page.records
        self._leaves.append(_Leaf(page.offset, page.length, kinds, kept))
        self._firsts.append(self._count)
        self._count += len(page.events)

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[Record]:
        """All of them, a page at a time."""
        for leaf in self._leaves:
            yield from self._read(leaf)

    def __reversed__(self) -> Iterator[Record]:
        """The same from the end."""
        for leaf in reversed(self._leaves):
            yield from reversed(self._read(leaf))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        """One of them, or those of a slice."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        index = index + self._count if index < 0 else index
        if not 0 <= index < self._count:
            raise IndexError(index)
        number = bisect_right(self._firsts, index) - 1
        if self._held[0] != number:
            self._held = (number, self._read(self._leaves[number]))
        return self._held[1][index - self._firsts[number]]

    def only(self, kinds: frozenset[type[Event]]) -> Iterator[Record]:
        """Those of some kinds; pages without one of them are not read."""
        for leaf in self._leaves:
            if not leaf.kinds.isdisjoint(kinds):
                yield from self._read(leaf, kinds)

    def _read(
        self, leaf: _Leaf, kinds: frozenset[type[Event]] | None = None
    ) -> Sequence[Record]:
        if leaf.records is not None:
            return [
                one for one in leaf.records if kinds is None or type(one.event) in kinds
            ]
        data = self._source(leaf.length, leaf.offset)
        try:
            return read_page(data, kinds)
        except ValueError as error:
            raise StoreError("the state file changed while it was read") from error


def only(records: Iterable[Record], *kinds: type[Event]) -> Iterator[Record]:
    """The records of some kinds, in order."""
    wanted = frozenset(kinds)
    if isinstance(records, Records):
        return records.only(wanted)
    return (record for record in records if type(record.event) in wanted)
