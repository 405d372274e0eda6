"""The letters of a clip: white, more or less opaque."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from PIL import Image, ImageDraw, ImageFont

from batchgen.sandbox.pictures import FRAMES, Picture

_FONT = str(resources.files("fontpkg_inter") / "files" / "Inter[opsz,wght].ttf")
_STRONG, _PLAIN, _QUIET, _FAINT = 255, 215, 165, 100
_SIZES = (120, 104, 92, 80, 70, 62, 54, 48, 42, 36, 31, 27, 24)
_NARROW = 0.35
"""Room that the narrowest text takes for a letter, in squares of its size; a size
that cannot do need not be measured, which would take a while for a long prompt."""
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
        self.mask = Image.new("L", (picture.width, picture.height))
        self._draw = ImageDraw.Draw(self.mask)

    def _font(self, size: float, weight: int) -> ImageFont.FreeTypeFont:
        font = ImageFont.truetype(_FONT, max(4.0, size * self._u))
        font.set_variation_by_axes([min(32, max(14, size / 2)), weight])
        return font

    def header(self) -> float:
        """The word SANDBOX and the model; returns where they end."""
        u, top = self._u, self._picture.margin
        font = self._font(25, 700)
        end = self._spaced(self._left + 22 * u, top + 27 * u, "SANDBOX", font, 0.16)
        box = (self._left, top, end + 22 * u, top + 54 * u)
        width = max(1, round(2 * u))
        self._draw.rounded_rectangle(box, 27 * u, outline=_PLAIN, width=width)
        note = (end + 46 * u, top + 27 * u)
        self._draw.text(
            note, "a make-believe clip", _QUIET, self._font(25, 450), anchor="lm"
        )
        right = self._left + self._width
        self._draw.text(
            (right, top + 27 * u),
            self._picture.title,
            _PLAIN,
            self._font(27, 500),
            anchor="rm",
        )
        return top + 54 * u

    def footer(self) -> float:
        """What was asked for, in columns; returns the height of the line above."""
        u, picture = self._u, self._picture
        columns = len(picture.facts) if picture.width > picture.height else 3
        rows = -(-len(picture.facts) // columns)
        line = picture.height - picture.margin - (rows * 92 + 8) * u
        self._ruler(line)
        label, value = self._font(17, 600), self._font(29, 500)
        for place, (name, text) in enumerate(picture.facts):
            row, column = divmod(place, columns)
            x = self._left + column * self._width / columns
            y = line + (46 + row * 92) * u
            self._spaced(x, y, name.upper(), label, 0.1, _QUIET)
            self._draw.text((x, y + 40 * u), text, _STRONG, value, anchor="lm")
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
        font: ImageFont.FreeTypeFont,
        spacing: float,
        strength: int = _STRONG,
    ) -> float:
        for letter in text:
            self._draw.text((x, y), letter, strength, font, anchor="lm")
            x += font.getlength(letter) + spacing * font.size
        return x - spacing * font.size

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
                font = self._font(22, 600)
                at = (self._left, y - line.height * 0.26)
                self._draw.text(at, line.label, _QUIET, font, anchor="ls")
            at = (self._left + line.indent, y - line.height * 0.26)
            self._draw.text(at, line.text, line.strength, line.font, anchor="ls")

    def _lines(self, size: float) -> Iterator["_Line"]:
        u, scenes = self._u, self._picture.scenes
        font = self._font(size, 600)
        start = 0
        for number, scene in enumerate(scenes):
            indent = 150 * u if scene.seconds else 0.0
            label = f"{start}\u2013{start + scene.seconds} s" if scene.seconds else ""
            start += scene.seconds
            for text in wrapped(readable(scene.text), font, self._width - indent):
                yield _Line(text, label, font, _STRONG, indent, 1.16 * size * u)
                label = ""
            if number < len(scenes) - 1:
                yield _Line("", "", font, 0, 0.0, 0.45 * size * u)
        if without := readable(self._picture.without):
            small = self._font(max(24.0, 0.4 * size), 450)
            height = 1.4 * small.size
            yield _Line("", "", small, 0, 0.0, 0.4 * height)
            for text in wrapped(f"Without {without}", small, self._width):
                yield _Line(text, "", small, _QUIET, 0.0, height)


@dataclass(slots=True)
class _Line:
    text: str
    label: str
    font: ImageFont.FreeTypeFont
    strength: int
    indent: float
    height: float

    def shorten(self, width: float) -> None:
        """Say that there would be more."""
        kept = self.text.removesuffix(" …")
        while kept and self.font.getlength(f"{kept} …") > width - self.indent:
            kept = kept[:-1]
        self.text = f"{kept} …"


def readable(text: str) -> str:
    """One line of what can be seen; a character without a letter shape is a box."""
    shown = (
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs") and not "\ufe00" <= c <= "\ufe0f"
    )
    return " ".join("".join(shown).split())


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines no wider than `width` and about as long as each other.

    A word that is wider is broken.
    """
    measured = [
        (piece, font.getlength(piece))
        for word in text.split(" ")
        for piece in _broken(word, font, width)
    ]
    space = font.getlength(" ")
    lines = _filled(measured, space, width)
    if not 1 < len(lines) <= _FEW:
        return lines
    low, high = width / 2, width
    while high - low > width / 50:
        middle = (low + high) / 2
        even = _filled(measured, space, middle)
        if len(even) > len(lines):
            low = middle
        else:
            lines, high = even, middle
    return lines


def _filled(
    words: Sequence[tuple[str, float]], space: float, width: float
) -> list[str]:
    lines: list[list[str]] = []
    used = width
    for word, length in words:
        if not lines or used + space + length > width:
            lines.append([])
            used = -space
        lines[-1].append(word)
        used += space + length
    return [" ".join(line) for line in lines]


def _broken(word: str, font: ImageFont.FreeTypeFont, width: float) -> Iterator[str]:
    if len(word) < _LONG or font.getlength(word) <= width:
        yield word
        return
    piece, used = "", 0.0
    lengths = {letter: font.getlength(letter) for letter in set(word)}
    for letter in word:
        if piece and used + lengths[letter] > width:
            yield piece
            piece, used = "", 0.0
        piece += letter
        used += lengths[letter]
    yield piece
