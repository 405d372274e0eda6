"""The ground of a clip: lamps that sway once a second behind dark glass."""

import math
from collections.abc import Iterator
from colorsys import hls_to_rgb

from PIL import Image, ImageChops

from batchgen.sandbox.pictures import FRAMES, Picture

_SIDE = 240
_RIM = 179
"""Value of Pillow's radial gradient where it meets the sides of its square."""


def lights(picture: Picture) -> Iterator[Image.Image]:
    """One seamless second of background, small; it is meant to be scaled up."""
    scale = _SIDE / max(picture.width, picture.height)
    size = round(picture.width * scale), round(picture.height * scale)
    glow = Image.radial_gradient("L").point(
        [round(255 * _ease(max(0.0, 1 - v / _RIM))) for v in range(256)]
    )
    for frame in range(FRAMES):
        turn = math.tau * frame / FRAMES
        canvas = Image.new("RGB", size, _colour(picture.hue + 0.03, 0.045, 0.6))
        for x, y, reach, shift, bright, phase in _LAMPS:
            at = (
                x + 0.014 * math.cos(turn + phase),
                y + 0.022 * math.sin(turn + phase),
            )
            shine = bright * (1 + 0.05 * math.sin(turn + 2 * phase))
            lamp = _placed(glow, size, at, reach)
            colour = _colour(picture.hue + shift, shine, 0.8)
            tinted = Image.composite(
                Image.new("RGB", size, colour), Image.new("RGB", size), lamp
            )
            canvas = ImageChops.screen(canvas, tinted)
        yield canvas


_LAMPS = (
    # centre and reach in parts of the picture, shift of hue, brightness, phase
    (0.88, 0.06, 1.05, 0.00, 0.30, 0.0),
    (0.52, -0.12, 0.80, 0.12, 0.17, 1.9),
    (1.04, 0.70, 0.85, -0.13, 0.20, 3.4),
    (0.02, 1.10, 0.80, 0.05, 0.07, 5.0),
)


def _placed(
    glow: Image.Image, size: tuple[int, int], at: tuple[float, float], reach: float
) -> Image.Image:
    radius = reach * max(size)
    step = 128 / radius
    left, top = at[0] * size[0] - radius, at[1] * size[1] - radius
    return glow.transform(
        size,
        Image.Transform.AFFINE,
        (step, 0, -left * step, 0, step, -top * step),
        resample=Image.Resampling.BICUBIC,
    )


def _ease(x: float) -> float:
    return x * x * (3 - 2 * x)


def _colour(hue: float, light: float, saturation: float) -> tuple[int, int, int]:
    """A colour of a given luminance, so that yellow is no brighter than blue."""
    pure = [_linear(part) for part in hls_to_rgb(hue % 1, 0.5, saturation)]
    seen = sum(weight * part for weight, part in zip(_EYE, pure, strict=True))
    level = light**2.2 / seen
    white = max(0.0, level * max(pure) - 1)  # a deep blue needs some, to be so bright
    mixed = [min(1.0, level * part + 0.35 * white) for part in pure]
    red, green, blue = (round(255 * part ** (1 / 2.2)) for part in mixed)
    return red, green, blue


_EYE = (0.2126, 0.7152, 0.0722)


def _linear(part: float) -> float:
    return float(part**2.2)
