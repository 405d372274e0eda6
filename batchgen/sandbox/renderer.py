"""Which clip belongs to a prediction; rendered once, kept in a folder."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from PIL import Image

from batchgen.models import Model
from batchgen.sandbox.film import render
from batchgen.sandbox.pictures import Picture, Scene
from batchgen.sandbox.predictions import share

_VERSION = 2
_AT_ONCE = 2
"""Clips rendered side by side: each is a matter of the processor alone."""

_SMALL = 216
"""Pixels of the short side where nobody looks: profiles other than `full`."""
_UPLOADED = re.compile(r"/media/([0-9a-f]+)")
_WIDE = Fraction(16, 9)
"""No clip is longer than this is at its model's short side."""


class Studio:
    """Renders clips when they are first wanted and keeps them in a folder.

    Pictures that a client uploaded lie beside that folder, in `media`.
    """

    def __init__(self, folder: Path, profile: str) -> None:
        self._folder = folder
        self._media = folder.parent / "media"
        self._profile = profile
        self._rooms = anyio.CapacityLimiter(_AT_ONCE)
        self._locks: dict[str, anyio.Lock] = {}
        for half in folder.glob("*.part"):  # of a process that was killed
            half.unlink()

    async def clip(self, model: Model, fields: Mapping[str, Any], name: str) -> Path:
        """The file of one output; `name` makes clips of equal input differ.

        The profile `plain` has one clip for each shape and length, for whoever
        counts clips by the thousand and looks at none.
        """
        if self._profile == "plain":
            shape = ("duration", "aspect_ratio", "sound")
            fields = {key: fields[key] for key in shape if key in fields}
            fields, name = {**fields, "prompt": "Plain"}, "plain"
        shown = json.dumps([_VERSION, self._profile, model.id, fields, name])
        digest = hashlib.blake2b(shown.encode(), digest_size=16).hexdigest()
        path = self._folder / f"{digest}.mp4"
        if path.exists():
            return path
        async with self._locks.setdefault(digest, anyio.Lock()):
            if not path.exists():
                await anyio.to_thread.run_sync(
                    self._render, path, model, fields, name, limiter=self._rooms
                )
        self._locks.pop(digest, None)
        return path

    def _render(
        self, path: Path, model: Model, fields: Mapping[str, Any], name: str
    ) -> None:
        fresh = path.with_suffix(f".{os.getpid()}.part")
        frame = _proportions(fields.get("image"), self._media)
        picture = picture_of(model, fields, name, self._profile, frame)
        seconds = int(fields.get("duration", 5))
        render(picture, seconds, fresh, sound=bool(fields.get("sound")))
        fresh.replace(path)


def picture_of(
    model: Model,
    fields: Mapping[str, Any],
    name: str,
    profile: str,
    frame: Fraction | None = None,
) -> Picture:
    """What the clip of this input shows; `frame` is the first frame's width by height.

    A first frame that nobody can look at counts as 16:9.
    """
    ratio = _ratio(fields, frame)
    short = model.resolution if profile == "full" else min(_SMALL, model.resolution)
    width, height = pixels(ratio, short)
    scenes = [
        Scene(str(scene["prompt"]), int(scene.get("duration", 0)))
        for scene in fields.get("multi_prompt") or ()
    ]
    if fields.get("prompt"):
        scenes.insert(0, Scene(str(fields["prompt"])))
    return Picture(
        width=width,
        height=height,
        hue=0.36
        + 0.68 * share(name),  # past the yellows, which are no ground for white
        title=model.title,
        scenes=scenes,
        without=str(fields.get("negative_prompt") or ""),
        facts=[*_facts(model, fields, ratio), ("Prediction", name[:8])],
    )


def _facts(
    model: Model, fields: Mapping[str, Any], ratio: Fraction
) -> Iterator[tuple[str, str]]:
    """What else was asked for, as far as the model has it."""
    wide, high = pixels(ratio, model.resolution)
    yield "Duration", f"{fields.get('duration', 5)} s"
    yield "Ratio", f"{ratio.numerator}:{ratio.denominator}"
    yield "Size", f"{wide} \u00d7 {high}"
    yield "Sound", "On" if fields.get("sound") else "Off"
    if "cfg_scale" in model.fields:
        scale = fields.get("cfg_scale")
        yield "Cfg scale", "\u2013" if scale is None else f"{scale:g}"
    if "image" in model.fields:
        yield "Frames", "First, last" if fields.get("end_image") else "First"
    if "images" in model.fields:
        yield "Images", str(len(fields.get("images") or ()))
    if fields.get("element_list"):
        yield "Elements", str(len(fields["element_list"]))


def _ratio(fields: Mapping[str, Any], frame: Fraction | None) -> Fraction:
    if "image" in fields:
        return frame or Fraction(16, 9)
    return Fraction(str(fields.get("aspect_ratio", "16:9")).replace(":", "/"))


def _proportions(address: object, media: Path) -> Fraction | None:
    """Width by height of a picture that was uploaded here, in small numbers."""
    found = _UPLOADED.search(address) if isinstance(address, str) else None
    if found is None:
        return None
    try:
        with Image.open(media / found[1]) as image:
            return Fraction(image.width, image.height).limit_denominator(30)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def pixels(ratio: Fraction, short: int) -> tuple[int, int]:
    """Width and height of a picture, both even; `short` is a side of a square one."""
    stretch = max(ratio, 1 / ratio)
    long = short * min(stretch, _WIDE)
    sides = 2 * round(long / 2), 2 * round(long / stretch / 2)
    return sides if ratio > 1 else (sides[1], sides[0])
