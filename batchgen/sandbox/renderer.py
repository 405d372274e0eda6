"""Which clip belongs to a prediction; rendered once, kept in a folder."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from batchgen.models import Model
from batchgen.sandbox.film import render
from batchgen.sandbox.pictures import Picture, Scene
from batchgen.sandbox.predictions import share

_VERSION = 1
_AT_ONCE = 2
"""Clips rendered side by side: each is a matter of the processor alone."""

_SIDES = {
    # of the profile: the long side, and the side of a square
    "full": (3840, 2160),
    "preview": (384, 384),
    "plain": (384, 384),
}


class Studio:
    """Renders clips when they are first wanted and keeps them in a folder."""

    def __init__(self, folder: Path, profile: str) -> None:
        self._folder = folder
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
        picture = picture_of(model, fields, name, self._profile)
        seconds = int(fields.get("duration", 5))
        render(picture, seconds, fresh, sound=bool(fields.get("sound")))
        fresh.replace(path)


def picture_of(
    model: Model, fields: Mapping[str, Any], name: str, profile: str
) -> Picture:
    """What the clip of this input shows."""
    ratio = str(fields.get("aspect_ratio", "16:9"))
    width, height = pixels(ratio, profile)
    scenes = [
        Scene(str(scene["prompt"]), int(scene.get("duration", 0)))
        for scene in fields.get("multi_prompt") or ()
    ]
    if fields.get("prompt"):
        scenes.insert(0, Scene(str(fields["prompt"])))
    wide, high = pixels(ratio, "full")
    facts = [
        ("Duration", f"{fields.get('duration', 5)} s"),
        ("Ratio", ratio),
        ("Size", f"{wide} \u00d7 {high}"),
        ("Sound", "On" if fields.get("sound") else "Off"),
        (
            "Cfg scale",
            f"{fields['cfg_scale']:g}" if "cfg_scale" in fields else "\u2013",
        ),
        ("Prediction", name[:8]),
    ]
    return Picture(
        width=width,
        height=height,
        hue=0.36
        + 0.68 * share(name),  # past the yellows, which are no ground for white
        title=model.title,
        scenes=scenes,
        without=str(fields.get("negative_prompt") or ""),
        facts=facts,
    )


def pixels(ratio: str, profile: str) -> tuple[int, int]:
    """Width and height of a picture, both even."""
    long, square = _SIDES[profile]
    width, height = (int(part) for part in ratio.split(":"))
    if width == height:
        return square, square
    short = long * min(width, height) / max(width, height) / 2
    even = 2 * round(short)
    return (long, even) if width > height else (even, long)
