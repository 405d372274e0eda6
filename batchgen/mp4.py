"""Whether a file is a whole MP4, judged by its outermost boxes.

Boxes must tile the file exactly, so a cut is seen wherever it falls. Only an `mdat`
that runs "to the end of the file" hides one; the length tells there.
"""

from collections.abc import Callable

MOST_BOXES = 10_000
_HEAD = 8
_WIDE_HEAD = 16
_TO_THE_END = 0
_WIDE = 1


Reader = Callable[[int, int], bytes]
"""Gives up to so many bytes from a place on; `os.pread` on an open file will do."""


def ahead(read: Reader, most: int = 4096) -> Reader:
    """The same reader, asked for more at once: the heads of small boxes lie close."""
    begin, held = 0, b""

    def found(length: int, place: int) -> bytes:
        nonlocal begin, held
        if not begin <= place <= begin + len(held) - length:
            begin, held = place, read(max(length, most), place)
        return held[place - begin : place - begin + length]

    return found


def starts_well(head: bytes | memoryview) -> bool:
    """Whether these first bytes can begin an MP4; eight are enough to know."""
    return head[4:_HEAD] == b"ftyp"


def flaw(read: Reader, size: int, *, open_end: bool = True) -> str:
    """What is wrong with the file, in words; empty if it is whole.

    With `open_end=False` a last box of unknown size counts as a flaw: nothing would
    tell a cut from an end.
    """
    place = count = 0
    seen: set[bytes] = set()
    while place < size:
        count += 1
        if count > MOST_BOXES:
            return f"more than {MOST_BOXES:,} boxes"
        head = read(_WIDE_HEAD, place)
        kind, extent = head[4:_HEAD], _extent(head, size - place)
        if problem := _problem(kind, extent, size - place, first=not place):
            return f"{problem} at byte {place:,}"
        if _open(head) and not open_end:
            return "the last box does not say where it ends"
        if extent > _HEAD:
            seen.add(kind)
        place += extent
    missing = [name for name in ("ftyp", "moov", "mdat") if name.encode() not in seen]
    return f"no {missing[0]} box" if missing else ""


def _open(head: bytes) -> bool:
    return int.from_bytes(head[:4], "big") == _TO_THE_END


def _extent(head: bytes, left: int) -> int:
    """The length of the box with its head; 0 if the head does not say."""
    if len(head) < _HEAD:
        return 0
    extent = int.from_bytes(head[:4], "big")
    if extent == _TO_THE_END:
        return left if head[4:_HEAD] == b"mdat" else 0
    if extent == _WIDE:
        extent = int.from_bytes(head[_HEAD:_WIDE_HEAD], "big")
        return extent if len(head) == _WIDE_HEAD and extent >= _WIDE_HEAD else 0
    return extent if extent >= _HEAD else 0


def _problem(kind: bytes, extent: int, left: int, *, first: bool) -> str:
    if first and kind != b"ftyp":
        return "not an MP4 file"
    if left < _HEAD:
        return "a box is cut off"
    # Zeros, as a power failure leaves them, are not a box "to the end of the file".
    if not extent or not kind.isascii() or not kind.decode().isprintable():
        return "no box"
    if extent > left:
        return f"the {kind.decode()} box is cut off"
    return ""
