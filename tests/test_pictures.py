"""Pictures of a request, as a manifest names them."""

from pathlib import Path

import pytest

from batchgen import manifest, models, tasks


def said(folder: Path, image: str, key: str = "image") -> list[tuple[str, int]]:
    path = folder / "m.yaml"
    first = "" if key == "image" else "image: https://a.example/a.jpg, "
    text = f"model: kling-4k-i2v\nprompts: [{{{first}{key}: '{image}', prompt: A fox}}]"
    path.write_text(text, encoding="utf-8")
    found = manifest.load(path, environ={}, catalog=models.catalog(), live=True)
    expansion = tasks.check(found, models.catalog(), live=True)
    list(expansion)
    return [(one.rule, one.place.line) for one in expansion.findings]


@pytest.mark.parametrize("key", ["image", "end_image"])
def test_a_path_never_goes_out_as_it_is(tmp_path: Path, key: str) -> None:
    (tmp_path / "fox.jpg").write_bytes(b"x")
    (tmp_path / "fox.gif").write_bytes(b"x")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(11 << 20)
    assert said(tmp_path, "https://a.example/fox.jpg", key) == []
    assert said(tmp_path, "fox.jpg", key) == [("not-yet", 2)]
    assert said(tmp_path, "fxo.jpg", key) == [("no-file", 2)]
    assert said(tmp_path, "fox.gif", key) == [("format", 2)]
    assert said(tmp_path, "huge.png", key) == [("too-large", 2)]
    assert said(tmp_path, "http://a.example/fox.jpg", key) == [("bad-url", 2)]
