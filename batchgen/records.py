"""A record: one line of the journal, an event with its number, time and checksum.

`{"v":1,"n":42,"t":"AttemptStarted","at":"…", … ,"c":"9f1c20ab"}`: ASCII, ended by a
line feed, `n` contiguous from 1 over the whole file, `c` the CRC-32 of everything
before the fixed tail of 16 bytes. The checksum is against accidents only: an edited
line stops spending, it does not authenticate anybody.
"""

import gc
import json
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn
from zlib import crc32

from msgspec import Struct
from msgspec.json import Decoder

from batchgen.errors import JournalDamaged, JournalError
from batchgen.events import KNOWN, Event, dump, parse, read_lines

FORMAT = 1
MAX_LINE = 64 * 1024
_TAIL = 16
_BLOCK = 1 << 17  # so many bytes are looked at together
_END = b',"c":"%08x"}'


class Record(Struct, frozen=True, gc=False):
    """An event that was written down: `n` counts from 1, `at` is for people."""

    n: int
    at: str
    event: Event


class _Head(Struct, frozen=True, gc=False):
    """What stands before every event."""

    v: Literal[1]
    n: int
    at: str


_HEADS = Decoder(_Head)


def encode(record: Record) -> bytes:
    """The line, with its line feed.

    Raises:
        JournalError: the line would pass 64 KiB, or could not be read again.
    """
    fields = dump(record.event)
    try:
        parse(fields)
    except ValueError as error:
        raise JournalError(f"this {record.event.t} is no proper one: {error}") from None
    head = {"v": FORMAT, "n": record.n, "t": fields.pop("t"), "at": record.at}
    line = seal(head | fields)
    if len(line) > MAX_LINE:
        raise JournalError(f"a record of {len(line)} bytes does not fit a line")
    return line


def seal(value: Mapping[str, Any]) -> bytes:
    """A line of these fields with its checksum."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    body = text[:-1].encode("ascii")
    return body + b',"c":"%08x"}\n' % crc32(body)


def unseal(line: bytes) -> dict[str, Any] | None:
    """The fields of a line without its line feed; None if its checksum is wrong."""
    return _parsed(line) if _checksum(line) is not None else None


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
        value = _parsed(line)
        if value is None or _checksum(line) is not None:
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
                new[-_TAIL:].decode()[6:14],
                line.decode("utf-8", "backslashreplace"),
            )
        )
    mended = b"\n".join(lines)
    replay(mended)
    return mended, edits


class Replay(Struct, frozen=True):
    """What a journal's bytes say.

    `last` is the highest number, which includes records named `x-…` that are ignored.
    `keep` is the length of the good part; what lies behind it is the torn tail.
    `unended` means that the last good line lacks only its line feed.
    """

    records: tuple[Record, ...]
    last: int
    keep: int
    torn: bytes
    unended: bool


def readable(data: bytes) -> tuple[Record, ...]:
    """What stands before the first damage: enough to look at, not to spend on."""
    reader = _Reader()
    with suppress(JournalDamaged), undisturbed():
        reader.read(data, torn_is_fine=True)
    return tuple(reader.records)


def replay(data: bytes) -> Replay:
    """Read a whole journal.

    An unterminated or zeroed last line is a torn tail: a batch that was never
    acknowledged. Junk between two records is harmless for the same reason, and
    because the numbers stay contiguous.

    Raises:
        JournalDamaged: a record is missing, edited, doubled with another content, or
            written by a newer batchgen: reading is fine, spending is not.
    """
    reader = _Reader()
    with undisturbed():
        tail, unended = reader.read(data)
    # Junk that ends in a line feed stays: only what has none could be glued to the
    # next record.
    keep = len(data) if unended else len(data) - tail
    return Replay(tuple(reader.records), reader.last, keep, data[keep:], unended)


class _Reader:
    """The verdict on every line, in order."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._sums = array("I")

    @property
    def last(self) -> int:
        """The highest number so far."""
        return len(self._sums)

    def read(self, data: bytes, *, torn_is_fine: bool = False) -> tuple[int, bool]:
        """Take all lines; the length of an unended last one, and whether it counts."""
        start = number = 0
        while end := data.rfind(b"\n", start, start + _BLOCK) + 1 or (
            data.find(b"\n", start) + 1
        ):
            lines = data[start:end].split(b"\n")[:-1]
            if not self._expected(lines, data[start:end]):
                for line_number, line in enumerate(lines, number + 1):
                    self._take(line, line_number, torn_is_fine=torn_is_fine)
            start, number = end, number + len(lines)
        unended = self._take(data[start:], number + 1, torn_is_fine=True)
        return len(data) - start, unended

    def _expected(self, lines: list[bytes], block: bytes) -> bool:
        """Take lines that are just what was to be expected, all or none of them."""
        first = len(self._sums) + 1
        sums = [crc32(line[:-_TAIL]) for line in lines]
        if not all(map(bytes.endswith, lines, map(_END.__mod__, sums))):
            return False
        try:
            heads, events = _HEADS.decode_lines(block), read_lines(block)
        except ValueError:
            return False
        if [head.n for head in heads] != [*range(first, first + len(lines))]:
            return False
        self._sums.extend(sums)
        self.records += [
            Record(head.n, head.at, event)
            for head, event in zip(heads, events, strict=True)
        ]
        return True

    def _take(self, line: bytes, number: int, *, torn_is_fine: bool) -> bool:
        """Take a line; False if it is junk that nobody was promised."""
        value = _parsed(line)
        if value is None:
            return False
        summed = _checksum(line)
        if summed is None:
            if torn_is_fine:
                return False
            _damaged(
                number,
                "was edited or damaged: its checksum does not fit",
                rule="edited",
                advice="If you edited it and mean it: batchgen state RUN reseal.",
            )
        if value.get("v") != FORMAT:
            _damaged(number, "was written by a newer batchgen")
        n = value.get("n")
        if not isinstance(n, int) or n < 1:
            _damaged(number, "has no number")
        if n <= len(self._sums):
            if self._sums[n - 1] != summed:
                _damaged(number, f"repeats record {n} with another content")
            return True
        if n != len(self._sums) + 1:
            _damaged(number, f"is record {n}; record {len(self._sums) + 1} is missing")
        self._sums.append(summed)
        if not str(value.get("t")).startswith("x-"):
            self.records.append(_record(n, value, number))
        return True


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector: of what a journal makes nothing is garbage."""
    busy = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if busy:
            gc.enable()


def _record(n: int, value: dict[str, Any], number: int) -> Record:
    kind = value.get("t")
    if kind not in KNOWN:
        _damaged(number, f"holds {kind!r}, which this batchgen does not know")
    try:
        return Record(n, str(value.get("at", "")), parse(value))
    except ValueError:
        _damaged(number, f"is not a proper {kind}")


def _checksum(line: bytes) -> int | None:
    """The checksum of a line if it fits."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    summed = crc32(body)
    return summed if tail == b',"c":"%08x"}' % summed else None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None for a blank line, zeros or any other junk."""
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _damaged(number: int, what: str, *, rule: str = "", advice: str = "") -> NoReturn:
    raise JournalDamaged(
        f"line {number} of the state file {what}",
        rule=rule,
        advice="Nothing was submitted. Reading commands still work; restore the file "
        f"from before the change to go on.{chr(10) * bool(advice)}{advice}",
    )
