"""What a person sees: every script, every shape, played by a real browser."""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import av
import pytest
from browser import tab
from PIL import Image, ImageDraw

from batchgen.models import Model, catalog
from batchgen.sandbox import fonts
from batchgen.sandbox.film import render
from batchgen.sandbox.fonts import Face
from batchgen.sandbox.lettering import letters, wrapped
from batchgen.sandbox.pictures import FRAMES
from batchgen.sandbox.renderer import Studio, picture_of, pixels

CLIPS = [model for model in catalog() if model.resolution]
PROMPTS = {
    "latin": "Łódź, a paper boat drifts",
    "cyrillic": "Бумажный кораблик плывёт",
    "japanese": "ゆっくりした朝を。",
    "korean": "천천히 흐르는 아침",
    "chinese": "一只纸船漂过雨后的水沟。",
    "emoji": "👩‍🚀 waves 👋🏽 at 🇩🇪 5️⃣",
    "arabic": "قارب ورقي صغير",
}
NEEDS_NOTO = ("japanese", "korean", "chinese", "emoji", "arabic")


def filmed(path: Path, model: Model, profile: str = "preview", **asked: Any) -> Path:
    fields = {"prompt": "A paper boat", "duration": 3, **asked}
    picture = picture_of(model, fields, "0123456789abcdef/1", profile)
    render(picture, fields["duration"], path, sound=bool(fields.get("sound")))
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without the extra `fonts`."""
    monkeypatch.setitem(sys.modules, "fontTools", None)
    fonts.more.cache_clear()
    fonts.letters_of.cache_clear()
    yield
    fonts.more.cache_clear()
    fonts.letters_of.cache_clear()


def drawn(text: str) -> bytes:
    mask = Image.new("L", (900, 60))
    Face(40, 600, language=text).draw(ImageDraw.Draw(mask), (0, 45), text, 255)
    return mask.tobytes()


@pytest.mark.parametrize(
    ("script", "ratio", "sound"),
    [
        *((script, "16:9", True) for script in PROMPTS),
        *(("latin", ratio, False) for ratio in ("16:9", "9:16", "1:1")),
    ],
)
def test_every_clip_decodes_to_its_last_frame(
    tmp_path: Path, script: str, ratio: str, *, sound: bool
) -> None:
    asked: dict[str, Any] = {
        "prompt": PROMPTS[script],
        "aspect_ratio": ratio,
        "sound": sound,
    }
    path = filmed(tmp_path / "clip.mp4", catalog()["kling-4k"], **asked)
    with av.open(path) as file:
        file.streams.video[0].codec_context.options = {"err_detect": "explode"}
        assert file.duration == 3_000_000
        assert len(file.streams.audio) == sound
        assert sum(1 for _ in file.decode(video=0)) == 3 * FRAMES
    if sound:
        with av.open(path) as file:
            heard = sum(frame.samples for frame in file.decode(audio=0))
        assert abs(heard - 3 * 48_000) <= 1024


@pytest.mark.parametrize("script", NEEDS_NOTO)
def test_every_script_has_letters(script: str) -> None:
    pytest.importorskip("manimgx_fonts_cjk", reason="pip install '.[fonts]'")
    noto = {source for source, _ in Face(40, 600).runs(PROMPTS[script])}
    assert noto - {fonts.INTER}
    for source, run in Face(40, 600).runs(PROMPTS[script].replace("\ufe0f", "")):
        known = fonts.letters_of(source._replace(place=0))
        assert {ord(letter) for letter in run} <= known


@pytest.mark.usefixtures("bare")
def test_a_letter_that_nobody_has_is_a_visible_box() -> None:
    assert drawn("東") == drawn("京") == drawn("🦊")
    assert sum(drawn("東")) > 255 * 300
    assert drawn("Ж") != drawn("Я")


def test_with_the_extra_no_two_letters_look_the_same() -> None:
    pytest.importorskip("manimgx_fonts_cjk", reason="pip install '.[fonts]'")
    assert len({drawn(letter) for letter in "東京🦊🐢한글لم"}) == 8


def test_han_letters_are_drawn_as_the_language_has_them() -> None:
    pytest.importorskip("manimgx_fonts_cjk", reason="pip install '.[fonts]'")
    places = {
        language: next(iter(Face(40, 600, language=language).runs("直")))[0].place
        for language in ("直", "直す", "직 直")
    }
    assert places == {"直す": 0, "직 直": 1, "直": 2}


def test_a_sign_made_of_several_is_one_sign() -> None:
    pytest.importorskip("manimgx_fonts_cjk", reason="pip install '.[fonts]'")
    face = Face(40, 600)
    assert face.length("👨\u200d👩\u200d👧") < 2 * face.length("👨")
    assert face.length("🇩🇪") < 1.5 * face.length("🦊")


def test_no_line_of_japanese_begins_with_what_ends_a_sentence() -> None:
    text = (
        "窓辺のマグカップから湯気が立ちのぼり、雨粒がガラスを伝う。「静かな朝」。" * 3
    )
    face = Face(40, 600)
    for width in range(200, 420, 20):
        lines = wrapped(text, face, width)
        assert "".join(lines) == text
        assert not any(line[0] in "、。」ー" for line in lines)
        assert not any(line[-1] == "「" for line in lines)


def test_what_differs_in_the_request_differs_in_the_picture() -> None:
    model = catalog()["kling-4k"]
    base: dict[str, Any] = {"prompt": "A fox", "duration": 5}
    changes: list[dict[str, Any]] = [
        {},
        {"prompt": "A hare"},
        {"duration": 6},
        {"sound": True},
        {"cfg_scale": 0.7},
        {"negative_prompt": "rain"},
    ]
    masks = {
        letters(picture_of(model, base | change, "name", "preview")).tobytes()
        for change in changes
    }
    assert len(masks) == len(changes)


@pytest.mark.parametrize("model", CLIPS, ids=lambda model: model.alias)
def test_a_clip_is_as_large_as_its_model_makes_them(model: Model) -> None:
    fields = {"prompt": "A fox"} | ({"image": "x"} if "image" in model.fields else {})
    picture = picture_of(model, fields, "name", "full")
    assert picture.width == {2160: 3840, 1080: 1920, 720: 1280}[picture.height]
    assert picture.height == model.resolution
    names = [name for name, _ in picture.facts]
    assert ("Cfg scale" in names) == ("cfg_scale" in model.fields)
    assert picture.title == model.title


def test_a_clip_made_of_an_image_has_its_shape(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    Image.new("RGB", (1200, 900)).save(tmp_path / "media" / "00ff", "PNG")
    (tmp_path / "media" / "0bad").write_bytes(b"no picture")
    (tmp_path / "clips").mkdir()
    studio = Studio(tmp_path / "clips", "preview")

    async def sizes() -> list[tuple[int, int]]:
        found = []
        for name in ("00ff", "00ff/boat.png", "0bad", "gone"):
            fields = {"image": f"http://127.0.0.1:1/media/{name}", "duration": 3}
            path = await studio.clip(catalog()["kling-pro-i2v"], fields, name)
            with av.open(path) as file:
                video = file.streams.video[0]
                found.append((video.width, video.height))
        return found

    assert anyio.run(sizes) == [(288, 216), (288, 216), (384, 216), (384, 216)]


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("16/9", (3840, 2160)),
        ("9/16", (2160, 3840)),
        ("1", (2160, 2160)),
        ("4/3", (2880, 2160)),
        ("5/2", (3840, 1536)),
        ("2/5", (1536, 3840)),
    ],
)
def test_no_side_is_longer_than_the_model_goes(
    ratio: str, size: tuple[int, int]
) -> None:
    assert pixels(Fraction(ratio), 2160) == size


@pytest.mark.slow
@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1"])
def test_a_browser_plays_a_clip_to_its_end(
    chromium: Any, tmp_path: Path, ratio: str, *, sound: bool
) -> None:
    asked = {"aspect_ratio": ratio, "sound": sound, "prompt": PROMPTS["japanese"]}
    filmed(tmp_path / "clip.mp4", catalog()["kling-std"], "full", **asked)
    page = tmp_path / "page.html"
    page.write_text("<video src=clip.mp4 preload=auto></video>")
    with tab(chromium) as found:
        found.page.goto(page.as_uri())
        seen = found.page.evaluate(_PLAY)
    model = catalog()["kling-std"]
    picture = picture_of(model, asked, "name", "full")
    assert seen == {
        "ended": True,
        "error": None,
        "seconds": 3,
        "width": picture.width,
        "height": picture.height,
        "sound": sound,
    }


_PLAY = """async () => {
  const video = document.querySelector("video");
  video.playbackRate = 8;
  video.volume = 0.01;
  await new Promise((done) => {
    video.onended = done;
    video.onerror = done;
    video.play().catch(done);
  });
  return {
    ended: video.ended,
    error: video.error && video.error.message,
    seconds: video.duration,
    width: video.videoWidth,
    height: video.videoHeight,
    sound: video.webkitAudioDecodedByteCount > 0,
  };
}"""
