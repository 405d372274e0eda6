"""Files follow an edit of the manifest, whatever dies in between."""

import contextlib
import hashlib
from pathlib import Path

import pytest

from batchgen.disk import Disk
from batchgen.events import Move, OutputsMoved, SavedFile, TaskPlanned
from batchgen.moves import Relocation, carry_out, relocations, renamed
from batchgen.names import numbered
from batchgen.state import Status, TaskState
from batchgen.stores import FolderStore
from batchgen.tasks import Task

A, B = "a" * 32, "b" * 32


def task(key: str, name: str) -> Task:
    return Task(key, name, "m", {}, 1, 10, 3, {}, f"{name}.mp4")


def saved(name: str, body: bytes = b"clip") -> SavedFile:
    digest = hashlib.sha256(body).hexdigest()
    return SavedFile(name=name, bytes=len(body), sha256=digest)


def done(key: str, name: str, *files: SavedFile) -> TaskState:
    plan = TaskPlanned(
        task=key,
        slug=name,
        labels={},
        model="m",
        input={},
        take=1,
        price=7,
        seconds=3,
        output=f"{name}.mp4",
    )
    return TaskState(Status.DONE, plan, files=files or (saved(f"{name}.mp4"),))


def targets(found: list[Relocation]) -> list[tuple[str, str]]:
    return [(one.files[0][0].name, one.files[0][1]) for one in found]


def test_a_clip_under_its_name_stays() -> None:
    states = {A: done(A, "one")}
    assert list(relocations([task(A, "one")], states)) == []
    assert list(renamed([task(A, "one")], states)) == []


def test_a_renamed_task_keeps_the_price_it_was_bought_for() -> None:
    states = {A: done(A, "one")}
    assert targets(list(relocations([task(A, "two")], states))) == [
        ("one.mp4", "two.mp4")
    ]
    (event,) = renamed([task(A, "two")], states)
    assert (event.slug, event.output, event.price) == ("two", "two.mp4", 7)


def test_a_replaced_clip_gives_way_before_others_follow() -> None:
    states = {A: done(A, "one"), B: done(B, "two")}
    found = list(relocations([task(B, "one")], states))
    assert targets(found) == [
        ("one.mp4", f"_previous/one~{A[:8]}.mp4"),
        ("two.mp4", "one.mp4"),
    ]


def test_a_removed_task_keeps_its_clip() -> None:
    assert list(relocations([task(B, "two")], {A: done(A, "one")})) == []


def test_further_outputs_are_numbered() -> None:
    assert [numbered("x/clip.mp4", n) for n in (1, 2)] == [
        "x/clip.mp4",
        "x/clip-2.mp4",
    ]


class Dead(BaseException):
    """The process is gone."""


class Dying(Disk):
    """Dies at the n-th call that changes a name."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Dead

    def link(self, source: Path, target: Path) -> None:
        self._live()
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._live()
        super().unlink(path)

    def rename(self, source: Path, target: Path) -> None:
        self._live()
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._live()
        super().sync_folder(folder)


@pytest.mark.parametrize("calls", range(6))
@pytest.mark.parametrize("taken", [False, True])
def test_a_move_that_died_is_finished_by_the_next(
    tmp_path: Path, calls: int, *, taken: bool
) -> None:
    (tmp_path / "one.mp4").write_bytes(b"clip")
    (tmp_path / "one.json").write_bytes(b"{}")
    if taken:
        (tmp_path / "two.mp4").write_bytes(b"mine")
    file = saved("one.mp4")
    wanted = Relocation(A, ((file, "two.mp4"),))
    with contextlib.suppress(Dead):
        carry_out(wanted, {"": FolderStore(tmp_path, Dying(calls))})
    event = carry_out(wanted, {"": FolderStore(tmp_path, Disk())})
    name = f"two~{file.sha256[:8]}.mp4" if taken else "two.mp4"
    assert event == OutputsMoved(task=A, moves=(Move(source="one.mp4", target=name),))
    assert (tmp_path / name).read_bytes() == b"clip"
    assert not (tmp_path / "one.mp4").exists()
    if taken:
        assert (tmp_path / "two.mp4").read_bytes() == b"mine"


def test_what_is_nowhere_is_not_moved(tmp_path: Path) -> None:
    (tmp_path / "two.mp4").write_bytes(b"else")
    assert (
        carry_out(
            Relocation(A, ((saved("one.mp4"), "two.mp4"),)),
            {"": FolderStore(tmp_path, Disk())},
        )
        is None
    )
