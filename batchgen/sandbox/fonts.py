"""Letters for every script: Inter, and Noto where Inter has none.

Noto comes with the extra `fonts`. Without it, what Inter lacks is drawn as a box.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.util import find_spec
from itertools import groupby
from typing import NamedTuple

from PIL import ImageDraw, ImageFont

_INTER = str(resources.files("fontpkg_inter") / "files" / "Inter[opsz,wght].ttf")
_JAPANESE, _KOREAN, _CHINESE = 0, 1, 2
"""Places in the collection of Noto Sans CJK."""

_KEYCAP = "\u20e3"
"""What makes a key of the digit before it."""

Point = tuple[float, float]


class Source(NamedTuple):
    """A font in a file, by its place there."""

    path: str
    place: int = 0


INTER = Source(_INTER)


class Face:
    """One size and weight of every font, for one picture."""

    def __init__(
        self, size: float, weight: int, unit: float = 1.0, language: str = ""
    ) -> None:
        """`size` is in units of `unit` pixels; `language` is a text written in it."""
        self.size = max(4.0, size * unit)
        self._axes = {"weight": weight, "optical size": size / 2}
        self._east = _east(language)
        self._fonts: dict[Source, ImageFont.FreeTypeFont] = {}
        self._lengths: dict[str, float] = {}

    def length(self, text: str) -> float:
        """How wide it is, in pixels."""
        if text not in self._lengths:
            runs = self.runs(text)
            width = sum(self._font(source).getlength(run) for source, run in runs)
            self._lengths[text] = width
        return self._lengths[text]

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        at: Point,
        text: str,
        strength: int,
        anchor: str = "ls",
    ) -> None:
        """Write on a mask; `anchor` is Pillow's, from the left or from the right."""
        x, y = at
        if anchor[0] == "r":
            x -= self.length(text)
        for source, run in self.runs(text):
            font = self._font(source)
            # The middle is Inter's for all, so that all stand on one line.
            down = self._middle() if anchor[1] == "m" else 0.0
            draw.text((x, y + down), run, strength, font, anchor="ls")
            x += font.getlength(run)

    def _middle(self) -> float:
        up, down = self._font(INTER).getmetrics()
        return (up - down) / 2

    def _font(self, source: Source) -> ImageFont.FreeTypeFont:
        if source not in self._fonts:
            font = ImageFont.truetype(source.path, self.size, index=source.place)
            axes = font.get_variation_axes()
            font.set_variation_by_axes([self._value(axis) for axis in axes])
            self._fonts[source] = font
        return self._fonts[source]

    def _value(self, axis: ImageFont.Axis) -> float:
        low, high = axis["minimum"] or 0, axis["maximum"] or 0
        wish = self._axes.get(str(axis["name"] or b"", "ascii").casefold())
        return min(high, max(low, axis["default"] or 0 if wish is None else wish))

    def runs(self, text: str) -> Iterator[tuple[Source, str]]:
        """Pieces of a text, each with a font that has its letters."""
        if text.isascii():
            return iter([(INTER, text)])
        sources: list[Source] = []
        for letter in text:
            last = sources[-1] if sources else INTER
            sources.append(self._source(letter, last))
            if letter == _KEYCAP:
                sources[-2:] = sources[-1:] * len(sources[-2:])
        pairs = groupby(zip(sources, text, strict=True), key=lambda pair: pair[0])
        return ((source, "".join(c for _, c in run)) for source, run in pairs)

    def _source(self, letter: str, last: Source) -> Source:
        if _leans(letter, last):
            known = last._replace(place=0)  # its siblings have the same letters
            if ord(letter) in letters_of(known):
                return last
        if ord(letter) in letters_of(INTER):
            return INTER
        for source in more():
            if ord(letter) in letters_of(source):
                return source._replace(place=self._east) if _is_east(source) else source
        return INTER


def _leans(letter: str, last: Source) -> bool:
    """Whether it belongs to what stands before it: signs, joiners, marks, spaces."""
    if last == INTER or (letter == " " and "Emoji" in last.path):
        return False  # a space among emoji is as wide as an emoji
    return unicodedata.category(letter)[0] in "ZPSMC"


def _east(text: str) -> int:
    """Han letters look different in Japanese, Korean and Chinese."""
    if any("\u3040" <= c <= "\u30ff" for c in text):
        return _JAPANESE
    if any("\uac00" <= c <= "\ud7a3" or "\u1100" <= c <= "\u11ff" for c in text):
        return _KOREAN
    return _CHINESE


def _is_east(source: Source) -> bool:
    return source.path.endswith(".ttc")


@cache
def more() -> tuple[Source, ...]:
    """The fonts of the extra, those for emoji before those with mere signs."""
    found: list[Source] = []
    if find_spec("fontTools") is None:
        return ()
    for package in ("manimgx_fonts", "manimgx_fonts_cjk"):
        if find_spec(package) is not None:
            files = [str(file) for file in resources.files(package).iterdir()]
            fonts = sorted(file for file in files if file.endswith((".ttf", ".ttc")))
            found += [Source(file) for file in fonts if "Italic" not in file]
    return tuple(found)


@cache
def letters_of(source: Source) -> frozenset[int]:
    """The characters a font has a shape for; of Inter all, if nobody can tell."""
    if not more():
        return frozenset(range(0x110000))
    # It comes with the extra, and without types.
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # noqa: PLC0415

    with TTFont(source.path, fontNumber=source.place, lazy=True) as font:
        return frozenset(font.getBestCmap())
