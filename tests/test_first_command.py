"""What a newcomer sees: the README's first command, on the real manifest, in 4K."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import av
import pytest

MANIFEST = Path(__file__).parent.parent / "manifests" / "spring-launch.yaml"
SIZES = {"16:9": (3840, 2160), "9:16": (2160, 3840), "1:1": (2160, 2160)}
COST = 52_080_000


def command(outputs: Path) -> "subprocess.CompletedProcess[str]":
    """The program as the README starts it."""
    return subprocess.run(
        [sys.executable, "-m", "batchgen", "run", str(MANIFEST), "--sandbox"],
        capture_output=True,
        text=True,
        env={**os.environ, "BATCHGEN_OUTPUTS": str(outputs)},
        timeout=600,
        check=False,
    )


def charged(folder: Path) -> tuple[int, int]:
    """How many predictions the till has sold, and for how much."""
    uri = f"file:{folder / 'sandbox' / 'sandbox.db'}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    try:
        query = "SELECT count(*), sum(price) FROM predictions"
        count, total = connection.execute(query).fetchone()
    finally:
        connection.close()
    return count, total


def check_clip(path: Path) -> None:
    """Decode a clip and hold it against what its sidecar says was asked for."""
    asked = json.loads(path.with_suffix(".json").read_text("utf-8"))["request"]
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        stream.thread_type = "AUTO"
        frames = sum(1 for _ in clip.decode(stream))
        assert (stream.width, stream.height) == SIZES[asked["aspect_ratio"]], path
        assert stream.average_rate == 24, path
        assert frames == 24 * asked["duration"], path
        assert bool(clip.streams.audio) is asked["sound"], path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_first_command_buys_twenty_five_clips_once(tmp_path: Path) -> None:
    first = command(tmp_path)
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "spring-launch.sandbox"
    assert charged(folder) == (25, COST)
    clips = sorted((folder / "videos").glob("*.mp4"))
    assert len(clips) == 25
    for clip in clips:
        check_clip(clip)
    again = command(tmp_path)
    assert again.returncode == 0, again.stderr
    assert charged(folder) == (25, COST)


def test_a_plan_starts_without_what_only_a_run_needs(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("prompts: [A fox]\n", encoding="utf-8")
    heavy = "httpx jinja2 asyncio batchgen.client batchgen.buyer"
    code = f"""
import sys
from batchgen.cli import call
assert call(["plan", {str(path)!r}]) == 0
print(*(name for name in {heavy.split()!r} if name in sys.modules))
"""
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == ""
