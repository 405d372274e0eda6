"""What a purchase promises: a real client, a real file, a make-believe world."""

import re
import socket
import threading
import time
from pathlib import Path

import anyio
import pytest
from test_client import Script, Server, reply

from batchgen import journal
from batchgen.disk import Disk
from batchgen.events import AttemptAccepted, AttemptUncertain
from conftest import Story

pytestmark = pytest.mark.anyio

CLOSE = {"Connection": "close"}


def provider(submitted: Script) -> Script:
    """A service whose clips all fail and whose history is empty."""

    def script(peer: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode() if request else ""
        data: object = {"items": [], "page": {}}
        if is_submission(request):
            submitted(peer, request)
            return
        if path.endswith("/result"):
            name = path.split("/")[-2]
            data = {"id": name, "status": "failed", "error": "content policy"}
        peer.sendall(reply(200, {"code": 200, "data": data}, CLOSE))

    return script


def accepts(name: str, after: float = 0) -> Script:
    def submitted(peer: socket.socket, request: bytes) -> None:
        model = request.split(b" ")[1].decode().removeprefix("/api/v3/")
        time.sleep(after)
        data = {"id": name, "model": model, "status": "created"}
        peer.sendall(reply(200, {"code": 200, "data": data}, CLOSE))

    return submitted


def is_submission(request: bytes) -> bool:
    """A model is what is bought from; the history and the bills are only read."""
    return bool(re.match(rb"POST /api/v3/\S+/text-to-video ", request))


def submissions(server: Server) -> int:
    return sum(map(is_submission, server.requests))


def events(story: Story, manifest: Path) -> list[object]:
    return [record.event for record in journal.read(story.folder(manifest))]


class Slow(Disk):
    """Takes its time to bring an intent to the platter, and looks around meanwhile."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent: list[int] = []
        self._intent = False

    def write(self, handle: int, data: bytes | memoryview) -> int:
        self._intent = b'"AttemptStarted"' in bytes(data)
        return super().write(handle, data)

    def sync(self, handle: int) -> None:
        if self._intent:
            self._intent = False
            time.sleep(0.3)
            self.sent.append(submissions(self.server))
        super().sync(handle)


async def test_nothing_leaves_before_its_intent_is_on_the_platter(
    tmp_path: Path,
) -> None:
    with Server(provider(accepts("p1"))) as server:
        story, disk = Story(tmp_path, server.url, tmp_path), Slow(server)
        await story.session(story.manifest(["early boat"]), disk=disk)
        assert disk.sent == [0]
        assert submissions(server) == 1


async def test_an_id_that_has_an_owner_is_a_doubt(tmp_path: Path) -> None:
    with Server(provider(accepts("same"))) as server:
        story = Story(tmp_path, server.url, tmp_path)
        manifest = story.manifest(["one boat", "two boat"])
        with anyio.move_on_after(8):
            await story.session(manifest)
    found = events(story, manifest)
    owners = [one for one in found if isinstance(one, AttemptAccepted)]
    doubts = [one for one in found if isinstance(one, AttemptUncertain)]
    assert [one.prediction for one in owners] == ["same"]
    assert "another clip's" in doubts[0].error


async def test_three_doubts_in_a_row_end_the_buying(tmp_path: Path) -> None:
    def broken(peer: socket.socket, request: bytes) -> None:
        del request
        peer.sendall(reply(503, {"code": 503, "message": "busy"}, CLOSE))

    with Server(provider(broken)) as server:
        story = Story(tmp_path, server.url, tmp_path)
        runner, tally = await story.session(
            story.manifest([f"break boat {n}" for n in range(9)])
        )
        assert submissions(server) == 3
    assert tally.counts["uncertain"] == 3
    assert runner.stopped is not None
    assert runner.stopped.reason == "breaker"


async def test_a_purchase_under_way_is_written_down_whoever_is_in_a_hurry(
    tmp_path: Path,
) -> None:
    arrived = threading.Event()

    def slow(peer: socket.socket, request: bytes) -> None:
        arrived.set()
        accepts("late", after=0.4)(peer, request)

    with Server(provider(slow)) as server:
        story = Story(tmp_path, server.url, tmp_path)
        manifest = story.manifest(["hurry boat"])
        async with anyio.create_task_group() as group:
            group.start_soon(story.session, manifest)
            assert await anyio.to_thread.run_sync(arrived.wait, 10)
            group.cancel_scope.cancel()
    found = events(story, manifest)
    names = [one.prediction for one in found if isinstance(one, AttemptAccepted)]
    assert names == ["late"]


def test_buying_waits_until_what_is_paid_comes_in_early_enough(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[bool] = []

    def slow_line(needed: float, life: float, **state: bool) -> bool:
        assert life > needed == 0
        paused.append(state["paused"])
        return len(paused) in (2, 3)

    monkeypatch.setattr("batchgen.backlog.endangered", slow_line)
    manifest = story.manifest([f"patient boat {number}" for number in range(3)])
    runner, tally = anyio.run(lambda: story.session(manifest))
    assert runner.failure is None
    assert tally.counts["done"] == 3
    assert paused[:4] == [False, False, True, True]
    wait, on = (text for text in story.notices if "paid" in text)
    assert "Nothing more is bought until there is time enough" in wait
    assert on == "the clips that are paid come in early enough; buying goes on"


@pytest.mark.parametrize("linked", ["spring", "_flagged/spring"])
def test_nothing_is_bought_for_a_folder_of_clips_that_is_a_link(
    story: Story, tmp_path: Path, linked: str
) -> None:
    word = f"link{len(linked)}"
    prompts = [f"{word} boat {number}" for number in range(2)]
    manifest = story.manifest(prompts, 'output: "spring/deep/{{ slug }}.mp4"')
    videos = story.folder(manifest) / "videos"
    place = videos / linked
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path, target_is_directory=True)
    found = story.command("run", str(manifest))
    assert found.returncode == 8
    assert f"{linked} is a link" in found.stderr
    assert "Nothing was submitted" in found.stderr
    assert story.till(word) == []
    place.unlink()
    (videos / "winter").symlink_to(tmp_path, target_is_directory=True)
    assert story.command("run", str(manifest)).returncode == 0
    assert len(story.till(word)) == 2
    assert list(tmp_path.iterdir()) == []
