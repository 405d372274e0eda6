"""The clips of the sandbox: real films of the size, length and sound asked for."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import av
import pytest
from PIL import Image

from batchgen.models import DEFAULT_MODEL, catalog
from batchgen.sandbox.film import render
from batchgen.sandbox.fonts import Face
from batchgen.sandbox.lettering import letters, readable, wrapped
from batchgen.sandbox.lights import lights
from batchgen.sandbox.pictures import FRAMES, Picture, Scene
from batchgen.sandbox.renderer import Studio, picture_of

MODEL = catalog()[DEFAULT_MODEL]


def filmed(path: Path, profile: str, **fields: Any) -> Path:
    asked: Mapping[str, Any] = {"prompt": "A paper boat", "duration": 3} | fields
    picture = picture_of(MODEL, asked, "0123456789abcdef/1", profile)
    sound = bool(asked.get("sound"))
    render(picture, asked["duration"], path, sound=sound)
    return path


@pytest.mark.parametrize(
    ("profile", "ratio", "size"),
    [
        ("preview", "16:9", (384, 216)),
        ("preview", "9:16", (216, 384)),
        ("preview", "1:1", (216, 216)),
        ("full", "16:9", (3840, 2160)),
    ],
)
def test_a_clip_has_the_size_and_length_asked_for(
    tmp_path: Path, profile: str, ratio: str, size: tuple[int, int]
) -> None:
    path = filmed(tmp_path / "clip.mp4", profile, aspect_ratio=ratio)
    with av.open(path) as file:
        assert not file.streams.audio
        video = file.streams.video[0]
        assert (video.width, video.height) == size
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert video.codec_context.colorspace == 1
        assert video.average_rate == FRAMES
        assert file.duration == 3_000_000
        times = [
            frame.pts * frame.time_base
            for frame in file.decode(video)
            if frame.pts is not None and frame.time_base is not None
        ]
    assert times == [Fraction(n, FRAMES) for n in range(3 * FRAMES)]


@pytest.mark.parametrize("seconds", [3, 7, 15])
def test_sound_is_as_long_as_the_picture(tmp_path: Path, seconds: int) -> None:
    path = filmed(tmp_path / "clip.mp4", "preview", duration=seconds, sound=True)
    with av.open(path) as file:
        (audio,) = file.streams.audio
        assert audio.codec_context.name == "aac"
        assert file.duration == seconds * 1_000_000
        assert audio.duration is not None
        assert audio.time_base is not None
        assert audio.duration * audio.time_base == seconds
        samples = sum(frame.samples for frame in file.decode(audio))
    assert abs(samples - seconds * 48_000) <= 1024


def test_the_index_comes_before_the_pictures(tmp_path: Path) -> None:
    content = filmed(tmp_path / "clip.mp4", "preview").read_bytes()
    assert content[4:8] == b"ftyp"
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_every_second_begins_anew_and_looks_the_same(tmp_path: Path) -> None:
    path = filmed(tmp_path / "clip.mp4", "preview")
    with av.open(path) as file:
        frames = list(file.decode(video=0))
    keys = [n for n, frame in enumerate(frames) if frame.key_frame]
    assert keys == [0, FRAMES, 2 * FRAMES]
    first = [bytes(frame.planes[0]) for frame in frames[:FRAMES]]
    last = [bytes(frame.planes[0]) for frame in frames[-FRAMES:]]
    assert first == last
    assert len(set(first)) == FRAMES


def test_clips_of_one_input_can_be_told_apart(tmp_path: Path) -> None:
    studio = Studio(tmp_path, "preview")
    fields = {"prompt": "a", "duration": 3}

    async def shot(*names: str) -> list[Path]:
        return [await studio.clip(MODEL, fields, name) for name in names]

    one, two, again = anyio.run(shot, "1" * 32, "2" * 32, "1" * 32)
    assert one == again
    assert one.read_bytes() != two.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {one.name, two.name}


def test_clips_wanted_at_once_are_rendered_once(tmp_path: Path) -> None:
    studio = Studio(tmp_path, "preview")
    found = set()

    async def shot() -> None:
        found.add(await studio.clip(MODEL, {"prompt": "a", "duration": 3}, "name"))

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(shot)

    anyio.run(crowd)
    assert len(found) == 1


def page(*scenes: Scene, without: str = "") -> Picture:
    facts = [("Duration", "5 s"), ("Ratio", "16:9")]
    return Picture(960, 540, 0.5, "A model", scenes, without, facts)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "word " * 500,
        "x" * 2500,
        "文字" * 1000,
        "🦊\u200d🦊\ufe0f",
        "مرحبا",
        "\x00\n\t",
        "half a pair \ud83e",
    ],
)
def test_any_prompt_stays_inside_the_margins(text: str) -> None:
    picture = page(Scene(text), without=text)
    left, top, right, bottom = letters(picture).getbbox() or (0, 0, 0, 0)
    margin = picture.margin - 3
    assert left >= margin
    assert top >= margin
    assert right <= picture.width - margin
    assert bottom <= picture.height - margin


def test_every_scene_is_written_with_its_time() -> None:
    blank = letters(page(Scene("")))
    one = letters(page(Scene("first", 3)))
    two = letters(page(Scene("first", 3), Scene("second", 4)))
    assert blank != one != two
    assert ink(blank) < ink(one) < ink(two)


def ink(mask: Image.Image) -> int:
    shown = mask.tobytes()
    return len(shown) - shown.count(0)


def test_the_ground_is_dark_enough_for_white_letters() -> None:
    for step in range(12):
        for light in lights(Picture(960, 540, step / 12, "", (), "", ())):
            # 3:1 against white, as large letters need
            assert max(light.convert("L").tobytes()) < 165
            break


def test_lines_are_about_as_long_as_each_other() -> None:
    face = Face(20, 400)
    lines = wrapped("one two three four five six seven eight", face, 240)
    lengths = [face.length(line) for line in lines]
    assert len(lines) == 2
    assert max(lengths) <= 240
    assert min(lengths) > 0.7 * max(lengths)


def test_what_cannot_be_seen_is_not_drawn() -> None:
    assert readable("a\u200bb\n\nc\x07  d\ufe0f") == "ab c d"
