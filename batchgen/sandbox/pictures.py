"""What a clip has to show."""

from collections.abc import Sequence
from dataclasses import dataclass

FRAMES = 24
"""Frames of the second that is repeated."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A passage of text with its length in seconds; 0 if it is the whole clip."""

    text: str
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything a clip shows.

    Attributes:
        width: of the picture in pixels.
        height: of the picture in pixels.
        hue: its colour, from 0 to 1.
        title: the model's.
        scenes: what was asked for; one without a length, or several.
        without: the negative prompt.
        facts: label and value of what else was asked for.
    """

    width: int
    height: int
    hue: float
    title: str
    scenes: Sequence[Scene]
    without: str
    facts: Sequence[tuple[str, str]]

    @property
    def unit(self) -> float:
        """A pixel of a picture whose short side is 1080."""
        return min(self.width, self.height) / 1080

    @property
    def margin(self) -> float:
        """Room kept free on all sides."""
        return 84 * self.unit
