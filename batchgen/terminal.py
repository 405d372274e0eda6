"""Text for terminals: nothing in it is obeyed, and columns are columns. Pure."""

import unicodedata
from collections.abc import Iterator

from batchgen.patterns import pattern

_SEQUENCES = pattern(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor moves
    "|(?:\x1b[P\\]X^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]"
)
_BLANKS = pattern("[\t\n\v\f\r\x85\u2028\u2029]+")
_OBEYED = pattern(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_HALVES = pattern("[\ud800-\udfff]")


def safe(text: str) -> str:
    """One line without anything a terminal would obey or a reader would not see."""
    if text.isprintable():
        return text
    text = _BLANKS.sub(" ", _SEQUENCES.sub("", text))
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", _OBEYED.sub("", text))


def plain(text: str, *, utf8: bool) -> str:
    """The same text as the stream can carry it."""
    return text if utf8 else text.encode("ascii", "backslashreplace").decode()


def width(text: str) -> int:
    """Columns a terminal needs; most letters of East Asia take two."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def cut(text: str, columns: int, mark: str = "…") -> str:
    """The beginning of a text, marked if anything is missing."""
    if width(text) <= columns:
        return text
    room = columns - width(mark)
    for end, letter in enumerate(text):
        room -= _columns(letter)
        if room < 0:
            return text[:end].rstrip() + mark
    return text


def left(text: str, columns: int) -> str:
    """Filled up with spaces behind."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    """Filled up with spaces in front."""
    return " " * (columns - width(text)) + text


def wrap(text: str, columns: int) -> Iterator[str]:
    """Lines of at most so many columns; scripts without spaces break anywhere."""
    line = ""
    for word in text.split():
        if line and width(line) + 1 + width(word) <= columns:
            line += f" {word}"
            continue
        if line:
            yield line
        *full, line = _slices(word, columns)
        yield from full
    if line:
        yield line


def _slices(word: str, columns: int) -> list[str]:
    slices = [""]
    for letter in word:
        if slices[-1] and width(slices[-1]) + _columns(letter) > columns:
            slices.append("")
        slices[-1] += letter
    return slices


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
