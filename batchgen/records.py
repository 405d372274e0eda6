"""A record: one line of the journal, an event with its number, time and checksum.

`{"v":1,"n":42,"t":"AttemptStarted","at":"…", … ,"c":"9f1c20ab"}`: ASCII, ended by a
line feed, `n` contiguous from 1 over the whole file, `c` the CRC-32 of everything
before the fixed tail of 16 bytes. The checksum is against accidents only: an edited
line stops spending, it does not authenticate anybody.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from zlib import crc32

from msgspec import Struct

from batchgen.errors import JournalError
from batchgen.events import Event, dump, parse

FORMAT = 1
MAX_LINE = 64 * 1024
TAIL = 16
TAIL_FORM = b',"c":"%08x"}'
# Made once: `json.dumps` would make one for each line.
_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class Record(Struct, frozen=True, gc=False):
    """An event that was written down: `n` counts from 1, `at` is for people."""

    n: int
    at: str
    event: Event


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
    body = _JSON.encode(value)[:-1].encode("ascii")
    return body + TAIL_FORM % crc32(body) + b"\n"


def unseal(line: bytes) -> dict[str, Any] | None:
    """The fields of a line without its line feed; None if its checksum is wrong."""
    return parsed(line) if checksum(line) is not None else None


def checksum(line: bytes) -> int | None:
    """The checksum of a line if it fits."""
    body, tail = line[:-TAIL], line[-TAIL:]
    summed = crc32(body)
    return summed if tail == TAIL_FORM % summed else None


def parsed(line: bytes) -> dict[str, Any] | None:
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
