"""The letters of a clip: white, more or less opaque."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from batchgen.sandbox.fonts import Face
from batchgen.sandbox.pictures import FRAMES, Picture

_STRONG, _PLAIN, _QUIET, _FAINT = 255, 215, 165, 100
_SIZES = (120, 104, 92, 80, 70, 62, 54, 48, 42, 36, 31, 27, 24)
_NARROW = 0.35
"""Room that the narrowest text takes for a letter, in squares of its size; a size
that cannot do need not be measured, which would take a while for a long prompt."""
_JOINER = "\u200d"
_EAST = "\u2e80-\u2fdf\u3003-\u3007\u3021-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_OPEN = "「『（《〈【〔"  # noqa: RUF001 - these very brackets
_CLOSE = "、。，．・：；？！ーゝゞ々」』）》〉】〕”’…"  # noqa: RUF001 - these very signs
_EASTERN = re.compile(
    f"[{_OPEN}]*[{_EAST}][{_CLOSE}]*|[^{_EAST}{_OPEN}]+[{_CLOSE}]*|[{_OPEN}]+"
)
"""A Han letter or kana with the signs that stick to it, or a word without any."""
_LONG = 6
"""Letters of a word that could be wider than a line."""
_FEW = 8
"""Lines that are worth evening out: longer texts look even by themselves."""


def letters(picture: Picture) -> Image.Image:
    """How opaque white letters are at each point of the picture."""
    page = _Page(picture)
    top = page.header()
    bottom = page.footer()
    page.body(top, bottom)
    return page.mask


def playhead(picture: Picture) -> tuple[float, float, float]:
    """Where the mark that runs once a second starts, its height, and how far."""
    page = _Page(picture)
    return picture.margin, page.footer(), picture.width - 2 * picture.margin


class _Page:
    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._u = picture.unit
        self._left = picture.margin
        self._width = picture.width - 2 * picture.margin
        self._language = "".join(scene.text for scene in picture.scenes)
        self.mask = Image.new("L", (picture.width, picture.height))
        self._draw = ImageDraw.Draw(self.mask)

    def _face(self, size: float, weight: int) -> Face:
        return Face(size, weight, self._u, self._language)

    def header(self) -> float:
        """The word SANDBOX and the model; returns where they end."""
        u, top = self._u, self._picture.margin
        middle, right = top + 27 * u, self._left + self._width
        strong = self._face(25, 700)
        end = self._spaced(self._left + 22 * u, middle, "SANDBOX", strong, 0.16)
        box = (self._left, top, end + 22 * u, top + 54 * u)
        width = max(1, round(2 * u))
        self._draw.rounded_rectangle(box, 27 * u, outline=_PLAIN, width=width)
        title, title_face = self._picture.title, self._face(27, 500)
        title_face.draw(self._draw, (right, middle), title, _PLAIN, "rm")
        note, note_face = "a make-believe clip", self._face(25, 450)
        start = end + 46 * u
        room = right - title_face.length(title) - 46 * u - start
        if note_face.length(note) <= room:
            note_face.draw(self._draw, (start, middle), note, _QUIET, "lm")
        return top + 54 * u

    def footer(self) -> float:
        """What was asked for, in columns; returns the height of the line above."""
        u, picture = self._u, self._picture
        columns = len(picture.facts) if picture.width > picture.height else 3
        rows = -(-len(picture.facts) // columns)
        line = picture.height - picture.margin - (rows * 92 + 8) * u
        self._ruler(line)
        label, value = self._face(17, 600), self._face(29, 500)
        for place, (name, text) in enumerate(picture.facts):
            row, column = divmod(place, columns)
            x = self._left + column * self._width / columns
            y = line + (46 + row * 92) * u
            self._spaced(x, y, name.upper(), label, 0.1, _QUIET)
            value.draw(self._draw, (x, y + 40 * u), text, _STRONG, "lm")
        return line

    def _ruler(self, y: float) -> None:
        u, gap = self._u, self._width / FRAMES
        for tick in range(FRAMES + 1):
            x, tall = self._left + tick * gap, 14 if tick % 6 == 0 else 7
            box = (x - u, y - tall * u, x + u, y)
            self._draw.rectangle(box, _QUIET if tick % 6 == 0 else _FAINT)

    def _spaced(
        self,
        x: float,
        y: float,
        text: str,
        face: Face,
        spacing: float,
        strength: int = _STRONG,
    ) -> float:
        for letter in text:
            face.draw(self._draw, (x, y), letter, strength, "lm")
            x += face.length(letter) + spacing * face.size
        return x - spacing * face.size

    def body(self, top: float, bottom: float) -> None:
        """The prompt or the scenes, as large as there is room, above the line."""
        floor = bottom - 72 * self._u
        room = floor - top - 60 * self._u
        lines: list[_Line] = []
        count = sum(len(scene.text) for scene in self._picture.scenes)
        most = room * self._width / (_NARROW * max(1, count) * self._u**2)
        for size in _SIZES:
            if size**2 > most and size != _SIZES[-1]:
                continue
            lines = list(self._lines(size))
            if sum(line.height for line in lines) <= room:
                break
        while sum(line.height for line in lines) > room:
            lines.pop()
            lines[-1].shorten(self._width)
        y = floor - sum(line.height for line in lines)
        for line in lines:
            y += line.height
            if line.label:
                at = (self._left, y - line.height * 0.26)
                self._face(22, 600).draw(self._draw, at, line.label, _QUIET)
            at = (self._left + line.indent, y - line.height * 0.26)
            line.face.draw(self._draw, at, line.text, line.strength)

    def _lines(self, size: float) -> Iterator["_Line"]:
        u, scenes = self._u, self._picture.scenes
        face = self._face(size, 600)
        start = 0
        for number, scene in enumerate(scenes):
            indent = 150 * u if scene.seconds else 0.0
            label = f"{start}\u2013{start + scene.seconds} s" if scene.seconds else ""
            start += scene.seconds
            for text in wrapped(readable(scene.text), face, self._width - indent):
                yield _Line(text, label, face, _STRONG, indent, 1.16 * size * u)
                label = ""
            if number < len(scenes) - 1:
                yield _Line("", "", face, 0, 0.0, 0.45 * size * u)
        if without := readable(self._picture.without):
            small = self._face(max(24.0, 0.4 * size), 450)
            height = 1.4 * small.size
            yield _Line("", "", small, 0, 0.0, 0.4 * height)
            for text in wrapped(f"Without {without}", small, self._width):
                yield _Line(text, "", small, _QUIET, 0.0, height)


@dataclass(slots=True)
class _Line:
    text: str
    label: str
    face: Face
    strength: int
    indent: float
    height: float

    def shorten(self, width: float) -> None:
        """Say that there would be more."""
        kept = self.text.removesuffix(" …")
        while kept and self.face.length(f"{kept} …") > width - self.indent:
            kept = kept[:-1]
        self.text = f"{kept} …"


def readable(text: str) -> str:
    """One line of what can be seen; a joiner is kept, as it makes one sign of two."""
    shown = (
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs") or c == _JOINER
    )
    plain = "".join(c for c in "".join(shown) if not "\ufe00" <= c <= "\ufe0f")
    return " ".join(plain.split())


def wrapped(text: str, face: Face, width: float) -> list[str]:
    """Lines no wider than `width` and about as long as each other.

    A word that is wider is broken; Han letters and kana may be parted anywhere, but
    no line begins with what closes a sentence.
    """
    pieces = [
        (piece, face.length(piece), space and first)
        for word, space in _words(text)
        for piece, first in _broken(word, face, width)
    ]
    gap = face.length(" ")
    lines = _filled(pieces, gap, width)
    if not 1 < len(lines) <= _FEW:
        return lines
    low, high = width / 2, width
    while high - low > width / 50:
        middle = (low + high) / 2
        even = _filled(pieces, gap, middle)
        if len(even) > len(lines):
            low = middle
        else:
            lines, high = even, middle
    return lines


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """What may not be parted, and whether a space comes before it."""
    for word in text.split(" "):
        if word.isascii():
            yield word, True
            continue
        space = True
        for piece in _EASTERN.findall(word):
            yield piece, space
            space = False


def _filled(
    pieces: Sequence[tuple[str, float, bool]], gap: float, width: float
) -> list[str]:
    lines: list[str] = []
    used = 0.0
    for piece, length, space in pieces:
        more = gap + length if space else length
        if lines and used + more <= width:
            lines[-1] += f" {piece}" if space else piece
            used += more
        else:
            lines.append(piece)
            used = length
    return lines


def _broken(word: str, face: Face, width: float) -> Iterator[tuple[str, bool]]:
    """A word in parts no wider than a line; whether each is the first."""
    if len(word) < _LONG or face.length(word) <= width:
        yield word, True
        return
    piece, used, first = "", 0.0, True
    for letter in word:
        length = face.length(letter)
        if piece and used + length > width:
            yield piece, first
            piece, used, first = "", 0.0, False
        piece += letter
        used += length
    yield piece, first
