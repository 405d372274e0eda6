"""What the bytes of a journal say: the verdict on every line, a page at a time. Pure.

Whoever wants to know what happened hears it while the file is read, so that a file of
any length is read in the room of a few pages.
"""

import gc
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import pack
from typing import Any, Literal, NamedTuple
from zlib import crc32

from msgspec import Struct
from msgspec.json import Decoder

from batchgen.errors import JournalDamaged
from batchgen.events import KNOWN, Event, parse, pick_lines, read_lines
from batchgen.records import FORMAT, TAIL, TAIL_FORM, Record, checksum, parsed, seal

_PAGE = 1 << 18  # bytes
_MUCH = 100_000  # objects that the collector would look through
_STRETCH = 1 << 13  # events: clips take turns, and most of one's life stands in so many

Source = Callable[[int, int], bytes]
"""At most so many bytes from an offset; none at the end."""


class _Head(Struct, frozen=True, gc=False):
    """What stands before every event."""

    v: Literal[1]
    n: int
    at: Any = ""  # it is for people; whoever edited a line may have left it out


_HEADS = Decoder(_Head)
_BODY, _TAIL = slice(None, -TAIL), slice(-TAIL, None)
_START = b'{"v":%d,"n":%%d,"t":"' % FORMAT  # of a line as `encode` writes it


class Page(NamedTuple):
    """Records that stand together in a file.

    `others` are the records of a page that has more in it than those; any other is
    `plain`, and can be read again with `read_page`.
    """

    offset: int
    length: int
    lines: Sequence[bytes]
    events: Sequence[Event]
    others: Sequence[Record] | None = None

    @property
    def plain(self) -> bool:
        """Whether all its lines are records, each the one after the last."""
        return self.others is None

    @property
    def records(self) -> Sequence[Record]:
        """The events with their numbers and times."""
        if self.others is not None:
            return self.others
        return _joined(self.lines, self.events)


Hear = Callable[[Sequence[Page]], None]


def nobody(_: Sequence[Page]) -> None:
    """Does not listen."""


class End(Struct, frozen=True):
    """How a journal ends.

    `last` is the highest number, which includes records named `x-…` that are ignored.
    `keep` is the length of the good part; what lies behind it is the torn tail.
    `unended` means that the last good line lacks only its line feed.
    """

    last: int
    keep: int
    torn: bytes
    unended: bool

    @property
    def size(self) -> int:
        """Of the whole file, in bytes."""
        return self.keep + len(self.torn)


class Replay(End, frozen=True):
    """A whole journal in memory."""

    records: tuple[Record, ...]


def replay(data: bytes) -> Replay:
    """Read a journal that is in memory as a whole; see `scan`."""
    found: list[Record] = []
    end = scan(
        lambda length, offset: data[offset : offset + length],
        lambda pages: found.extend(one for page in pages for one in page.records),
    )
    return Replay(end.last, end.keep, end.torn, end.unended, tuple(found))


def scan(source: Source, hear: Hear) -> End:
    """Read a whole journal; `hear` is told every page of it, in order, some at once.

    An unterminated or zeroed last line is a torn tail: a batch that was never
    acknowledged. Junk between two records is harmless for the same reason, and
    because the numbers stay contiguous.

    Raises:
        JournalDamaged: a record is missing, edited, doubled with another content, or
            written by a newer batchgen: reading is fine, spending is not. What stands
            before it was heard.
    """
    reader = _Reader(hear)
    rest = b""
    with undisturbed(), reader.telling():
        # A line that does not end is looked at in ever larger pieces.
        while block := source(max(_PAGE, len(rest)), reader.offset + len(rest)):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            if end:
                reader.take(block[:end])
        unended = bool(rest) and reader.take_unended(rest)
    # Junk that ends in a line feed stays: only what has none could be glued to the
    # next record.
    torn = b"" if unended else rest
    return End(reader.last, reader.offset, torn, unended)


def read_page(data: bytes, kinds: frozenset[type[Event]] | None = None) -> list[Record]:
    """The records of a plain page; with `kinds` only those.

    Raises:
        ValueError: it is another one.
    """
    events = read_lines(data) if kinds is None else pick_lines(data, kinds)
    return _joined(data.split(b"\n")[:-1], events)


def _joined(lines: Sequence[bytes], events: Sequence[Event | None]) -> list[Record]:
    pairs = zip(lines, events, strict=True)
    heads = [(_HEADS.decode(line), event) for line, event in pairs if event is not None]
    return [Record(head.n, str(head.at), event) for head, event in heads]


class _Reader:
    """The verdict on every line, in order."""

    def __init__(self, hear: Hear) -> None:
        self.offset = 0
        self._hear = hear
        self._pages: list[Page] = []  # that were not heard yet
        self._kept = 0  # lines of those
        self._lines = 0
        self._sums = array("I")

    @property
    def last(self) -> int:
        """The highest number so far."""
        return len(self._sums)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While lines are taken; whatever ends it, what was good is heard."""
        try:
            yield
        finally:
            self._tell()

    def _tell(self) -> None:
        pages, self._pages, self._kept = self._pages, [], 0
        if pages:
            self._hear(pages)

    def _keep(self, page: Page) -> None:
        self._pages.append(page)
        self._kept += len(page.lines)  # also of a page without an event
        if self._kept >= _STRETCH:
            self._tell()

    def take(self, block: bytes) -> None:
        """Take whole lines."""
        lines = block.split(b"\n")
        lines.pop()
        if not self._take_plain(lines, block):
            self._take_each(lines, len(block))
        self._lines += len(lines)
        self.offset += len(block)

    def take_unended(self, line: bytes) -> bool:
        """Take a last line without a line feed, if it is a record; whether it is."""
        value = parsed(line)
        if value is None or checksum(line) is None:
            return False
        self._take_each([line], len(line))
        self.offset += len(line)
        return True

    def _take_plain(self, lines: list[bytes], block: bytes) -> bool:
        """Take lines that are just what was to be expected, all or none of them."""
        sums = [crc32(line[_BODY]) for line in lines]
        tails = b"".join([line[_TAIL] for line in lines])
        if tails != _tails(sums):
            return False
        if not _follow(lines, self.last + 1):
            return False
        try:
            events = read_lines(block)
        except ValueError:
            return False
        self._sums.extend(sums)
        self._keep(Page(self.offset, len(block), lines, events))
        return True

    def _take_each(self, lines: list[bytes], length: int) -> None:
        """Take lines one by one; those before a damaged one are heard."""
        records: list[Record] = []
        try:
            for number, line in enumerate(lines, self._lines + 1):
                value = parsed(line)
                n = 0 if value is None else self._number(value, line, number)
                if value is not None and n and not str(value.get("t")).startswith("x-"):
                    at = str(value.get("at", ""))
                    records.append(Record(n, at, _event(value, number)))
        finally:
            events = [one.event for one in records]
            self._keep(Page(self.offset, length, lines, events, records))

    def _number(self, value: dict[str, Any], line: bytes, number: int) -> int:
        """The number of a line that parsed; 0 if it is a double."""
        summed = checksum(line)
        if summed is None:
            raise damaged(
                number,
                "was edited or damaged: its checksum does not fit",
                rule="edited",
                advice="If you edited it and mean it: batchgen state RUN reseal.",
            )
        if value.get("v") != FORMAT:
            raise damaged(number, "was written by a newer batchgen")
        n = value.get("n")
        if not isinstance(n, int) or n < 1:
            raise damaged(number, "has no number")
        if n <= self.last:
            if self._sums[n - 1] != summed:
                raise damaged(number, f"repeats record {n} with another content")
            return 0
        if n != self.last + 1:
            raise damaged(number, f"is record {n}; record {self.last + 1} is missing")
        self._sums.append(summed)
        return n


def _follow(lines: list[bytes], first: int) -> bool:
    """Whether these lines begin as records do, with numbers from `first` on.

    A second version or number in a line is not looked for: `encode` and `reseal` write
    each once, and no accident leaves a checksum that fits.
    """
    numbers = range(first, first + len(lines))
    if len(str(first)) != len(str(numbers[-1])):
        return all(map(bytes.startswith, lines, map(_START.__mod__, numbers)))
    length = len(_START % first)
    starts = b"".join([line[:length] for line in lines])
    return starts == _START * len(lines) % tuple(numbers)


def _tails(sums: list[int]) -> bytes:
    """`TAIL_FORM % checksum` of each, one behind the other."""
    numbers = pack(f">{len(sums)}I", *sums).hex("_", 4)
    head, tail = TAIL_FORM.decode().split("%08x")
    return f"{head}{numbers.replace('_', tail + head)}{tail}".encode()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector: of what a journal makes nothing is garbage.

    Nor does it look through all of that as soon as it is back, if that is much: to
    freeze and unfreeze is to count what there is among the old. What somebody has
    frozen thaws by that, so it is not done for little.
    """
    busy = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if busy:
            if gc.get_count()[0] > _MUCH:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


class Edited(Struct, frozen=True):
    """A line whose checksum does not fit: an editor was here, or a disk failed."""

    number: int
    n: int
    before: str  # the checksum it has, if any
    after: str  # the one it would need
    text: str


def reseal(data: bytes) -> tuple[bytes, list[Edited]]:
    """The same file with checksums that fit, and the lines that did not.

    Only for a person who has looked at every one of them.

    Raises:
        JournalDamaged: more is wrong with it than checksums.
    """
    lines = data.split(b"\n")
    edits = []
    for number, line in enumerate(lines[:-1], 1):
        value = parsed(line)
        if value is None or checksum(line) is not None:
            continue
        before = value.pop("c", None)
        new = seal(value).rstrip(b"\n")
        lines[number - 1] = new
        n = value.get("n")
        edits.append(
            Edited(
                number,
                n if isinstance(n, int) else 0,
                str(before or ""),
                new[-TAIL:].decode()[6:14],
                line.decode("utf-8", "backslashreplace"),
            )
        )
    mended = b"\n".join(lines)
    replay(mended)
    return mended, edits


def _event(value: dict[str, Any], number: int) -> Event:
    kind = value.get("t")
    if kind not in KNOWN:
        raise damaged(number, f"holds {kind!r}, which this batchgen does not know")
    try:
        return parse(value)
    except ValueError:
        raise damaged(number, f"is not a proper {kind}") from None


def damaged(
    number: int, what: str, *, rule: str = "", advice: str = ""
) -> JournalDamaged:
    """What is said of a line that stops spending."""
    return JournalDamaged(
        f"line {number} of the state file {what}",
        rule=rule,
        advice="Nothing was submitted. Reading commands still work; restore the file "
        f"from before the change to go on.{chr(10) * bool(advice)}{advice}",
    )
