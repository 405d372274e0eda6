"""What is inside a clip, and whether that is what was paid for. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

_SECONDS = 0.5
_SHAPE = 0.02
_SHORT_SIDE_OF_4K = 2000


class Media(Struct, frozen=True):
    """What a look into one file showed.

    Attributes:
        seconds: length of the picture.
        width: in pixels.
        height: in pixels.
        audio: whether there is a sound track.
        poster: path of a JPEG below the run's folder; empty if there is none.
    """

    seconds: float
    width: int
    height: int
    audio: bool
    poster: str = ""


def flaws(media: Media, asked: Mapping[str, Any], model: str) -> Iterator[str]:
    """Where a clip is not what the request asked for: "paid but wrong".

    `asked` is the request with the model's defaults filled in.
    """
    wanted = asked.get("duration")
    if isinstance(wanted, int) and abs(media.seconds - wanted) > _SECONDS:
        yield f"{media.seconds:.1f} s long, {wanted} s were ordered"
    ratio = shape(str(asked.get("aspect_ratio", "")))
    if ratio and media.height and abs(media.width / media.height / ratio - 1) > _SHAPE:
        size = f"{media.width} x {media.height}"
        yield f"{size} pixels, {asked['aspect_ratio']} was ordered"
    elif "4k" in model and min(media.width, media.height) < _SHORT_SIDE_OF_4K:
        yield f"{media.width} x {media.height} pixels, 4K was ordered"
    if asked.get("sound") is True and not media.audio:
        yield "no sound track, sound was ordered"


def shape(ratio: str) -> float:
    """Width by height of `16:9`; 0 if it is no ratio."""
    width, _, height = ratio.partition(":")
    fine = width.isdecimal() and height.isdecimal() and int(height)
    return int(width) / int(height) if fine else 0.0
