"""Elements of local pictures in 4K clips, by the whole program, also when killed."""

import json
import random
import signal
import sqlite3
import struct
import subprocess
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from batchgen import journal
from batchgen.tally import Tally
from conftest import Story

SEED = 20_261_122
SIDE = 320


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )


def picture(path: Path, shade: int) -> None:
    """A whole PNG of one colour."""
    rows = (b"\0" + bytes([shade] * 3) * SIDE) * SIDE
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b""))


def shoot(story: Story, salt: str, shade: int, clips: int = 3) -> Path:
    """A manifest with two elements and clips that show one, the other, or both."""
    for number, name in enumerate(("front", "side", "mug")):
        picture(story.root / f"{salt}-{name}.png", shade + number)
    tumbler, mug = f"{salt}Tumbler", f"{salt}Mug"
    shows = [[tumbler], [mug], [mug, tumbler]]
    rows = [
        json.dumps(
            {
                "id": f"c{number}",
                "prompt": f"{salt} {number}: " + " and ".join(f"@{e}" for e in shown),
                "element_list": shown,
            }
        )
        for number, shown in enumerate(shows[n % 3] for n in range(clips))
    ]
    text = f"""\
name: {salt.lower()}
model: kling-o3-4k
settings: {{duration: 3}}
elements:
  {tumbler}:
    image: {salt}-front.png
    references: [{salt}-side.png]
    description: Steel
  {mug}: {{image: {salt}-mug.png, description: Stone}}
prompts:
"""
    path = story.root / f"{salt.lower()}.yaml"
    path.write_text(text + "".join(f"  - {row}\n" for row in rows), encoding="utf-8")
    return path


def charges(story: Story, salt: str) -> Counter[str]:
    """How often each element and clip was paid for, by the till."""
    connection = sqlite3.connect(f"file:{story.data / 'sandbox.db'}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT input FROM predictions").fetchall()
    finally:
        connection.close()
    bodies = [json.loads(raw) for (raw,) in rows]
    assert not any("sha256:" in json.dumps(body) for body in bodies)
    names = [body.get("prompt") or body["name"] for body in bodies]
    return Counter(name for name in names if name.startswith(salt))


@pytest.mark.slow
def test_one_element_fails_and_its_clips_cost_nothing(story: Story) -> None:
    path = shoot(story, "Fail", 10)
    planned = story.command("plan", str(path))
    assert planned.returncode == 0, planned.stderr
    assert "3 clips and 2 elements" in planned.stdout
    assert "(elements) x 2" in planned.stdout
    faults = f"{story.api}/__sandbox__/faults"
    # The first submission of a session goes alone, so it is known whom it strikes.
    assert httpx.post(faults, content="fail_provider,refund_never").status_code == 200
    found = story.command("run", str(path))
    assert found.returncode == 1, found.stderr
    assert "1 of 3 clips done, 1 of 2 elements made" in found.stdout
    assert found.stdout.count("element: element Fail") == 2
    assert "expected for failed attempts" in found.stdout
    assert sum(charges(story, "Fail").values()) == 3
    found = story.command("run", str(path))
    assert found.returncode == 0, found.stderr
    assert "3 of 3 clips done, 2 of 2 elements made" in found.stdout
    paid = charges(story, "Fail")
    assert sorted(paid.values()) == [1, 1, 1, 1, 2]
    assert {name for name, times in paid.items() if times == 2} < {
        "FailTumbler",
        "FailMug",
    }
    found = story.command("run", str(path))
    assert found.returncode == 0
    assert charges(story, "Fail") == paid
    sidecar = story.folder(path) / "videos" / "c2.json"
    assert sidecar.read_text(encoding="utf-8").count("sha256:") == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_during_elements_and_uploads_pay_for_nothing_twice(story: Story) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a series that can be had again
    kills = doubts = 0
    for number in range(8):
        salt = f"Kill{number:02d}x"
        path = shoot(story, salt, 20 + 3 * number, clips=6)
        while killed(story, path, lines(story, path) + chance.randint(1, 7)):
            kills += 1
            doubts += in_doubt(story, path)
            assert max(charges(story, salt).values(), default=0) <= 1
        found = story.command("run", str(path), "--retry", "absent")
        assert found.returncode == 0, found.stdout + found.stderr
        paid = charges(story, salt)
        assert len(paid) == sum(paid.values()) == 8, paid
    print(f"{kills} kills, {doubts} attempts in doubt")  # noqa: T201
    assert kills > 20


def in_doubt(story: Story, path: Path) -> int:
    """Attempts that the death left without an outcome."""
    if not (story.folder(path) / journal.NAME).exists():
        return 0
    return len(list(Tally.of(journal.read(story.folder(path))).doubtful()))


def lines(story: Story, path: Path) -> int:
    """How much stands in the state file."""
    file = story.folder(path) / journal.NAME
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed(story: Story, path: Path, after: int) -> bool:
    """Kill a session once so many lines are written; False if it ended before."""
    running = story.start("run", str(path), "-c", "2")
    while lines(story, path) < after:
        with suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=0.005)
            return False
    running.kill()
    running.communicate()
    return running.returncode == -signal.SIGKILL
