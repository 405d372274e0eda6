"""Local images: what they are, and what is wrong with them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from batchgen.images import Album, BadImage
from batchgen.models import catalog

START = catalog()["kling-4k-i2v"].fields["image"]["x-media"]


def picture(path: Path, size: tuple[int, int] = (400, 300), **more: Any) -> Path:
    Pillow.new("RGB", size, (90, 120, 60)).save(path, **more)
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "image/jpeg"), ("a.png", "image/png")]
)
def test_a_picture_is_known_by_its_content(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = picture(tmp_path / name)
    album = Album()
    image = album.look(path, START)
    assert (image.type, image.width, image.height) == (kind, 400, 300)
    assert image.ref == f"sha256:{sha256(path.read_bytes()).hexdigest()}"
    twin = tmp_path / f"twin-{name}"
    twin.write_bytes(path.read_bytes())
    assert album.look(twin, START).ref == image.ref
    assert album.files == {image.ref: twin.absolute()}


def test_a_type_is_told_by_the_first_bytes_not_by_the_name(tmp_path: Path) -> None:
    path = picture(tmp_path / "really-a-png.jpg", format="PNG")
    assert Album().look(path, START).type == "image/png"


@pytest.mark.parametrize(
    ("name", "size", "limits", "message"),
    [
        ("a.webp", (400, 400), START, "a.webp is a webp; this field takes jpg or png"),
        ("a.gif", (400, 400), START, "a.gif is a gif; this field takes jpg or png"),
        ("a.png", (299, 400), START, "a.png is 299 x 400; each side needs 300 pixels"),
        (
            "a.png",
            (300, 751),
            START,
            "a.png is 300 x 751; one side may be 2.5 times the other",
        ),
        ("a.bmp", (400, 400), {"max_bytes": 1_000}, "a.bmp has 0.5 MB, more than 0 MB"),
    ],
)
def test_a_picture_that_the_model_would_refuse(
    tmp_path: Path,
    name: str,
    size: tuple[int, int],
    limits: Mapping[str, Any],
    message: str,
) -> None:
    with pytest.raises(BadImage) as caught:
        Album().look(picture(tmp_path / name, size), limits)
    assert caught.value.message == message
    assert caught.value.label


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"%PDF-1"]
)
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BadImage) as caught:
        Album().look(path, START)
    assert caught.value.rule == "bad-image"


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (
        tmp_path,
        Path("/dev/zero"),
        tmp_path / "a\0.png",
        tmp_path / "\ud800",
    ):
        with pytest.raises(BadImage) as caught:
            Album().look(path, START)
        assert caught.value.rule == "no-file"
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(BadImage, match="has 300 MB"):
        Album().look(huge, START)


def test_a_picture_that_is_not_there_is_looked_for_once(tmp_path: Path) -> None:
    album, path = Album(), tmp_path / "late.png"
    with pytest.raises(BadImage, match="there is no image"):
        album.look(path, START)
    picture(path)
    with pytest.raises(BadImage, match="there is no image"):
        album.look(path, START)  # one command sees one state of the disk


def test_the_exact_limits_are_kept(tmp_path: Path) -> None:
    image = Album().look(picture(tmp_path / "a.png", (300, 750)), START)
    assert (image.width, image.height) == (300, 750)
