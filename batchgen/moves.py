"""An edit of the manifest moves files; it never overwrites and never buys.

A renamed task's clip follows its new name. The clip of a task that a changed one has
replaced gives up its name and goes to `_previous/`.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from batchgen.disk import Disk, Entry, make_folders
from batchgen.errors import StoreError
from batchgen.events import Move, OutputsMoved, SavedFile, TaskPlanned
from batchgen.state import Status, TaskState
from batchgen.tasks import Task

PREVIOUS = "_previous"
FLAGGED = "_flagged"


@dataclass(frozen=True, slots=True)
class Relocation:
    """Files of one finished task, each with the name it should have."""

    task: str
    files: tuple[tuple[SavedFile, str], ...]


def renamed(
    tasks: Collection[Task], states: Mapping[str, TaskState]
) -> Iterator[TaskPlanned]:
    """Known tasks whose slug, labels or output name the manifest has changed."""
    for task in tasks:
        state = states.get(task.id)
        before = state.planned if state else None
        if before is None:
            continue
        after = replace(
            before, slug=task.slug, labels=dict(task.labels), output=task.output
        )
        if after != before:
            yield after


def relocations(
    tasks: Collection[Task],
    states: Mapping[str, TaskState],
    *,
    quarantine: bool = False,
) -> Iterator[Relocation]:
    """What must give way, then what must follow its task's new name.

    Args:
        tasks: of the manifest.
        states: of every task the run knows.
        quarantine: flagged clips live in a folder of their own.
    """
    names = {task.id: task.output for task in tasks}
    claimed = set(names.values())
    done = {t: state for t, state in states.items() if state.status is Status.DONE}
    for task, state in done.items():
        if task not in names and any(file.name in claimed for file in state.files):
            yield retired(task, state.files)
    for task, state in done.items():
        if task in names:
            apart = quarantine and state.flagged
            name = f"{FLAGGED}/{names[task]}" if apart else names[task]
            moving = homeward(task, name, state.files)
            if moving.files:
                yield moving


def retired(task: str, files: Iterable[SavedFile]) -> Relocation:
    """Files that give up their names to newer ones."""
    there = f"{PREVIOUS}/"
    return Relocation(
        task,
        tuple(
            (file, _previous(file, task))
            for file in files
            if not file.name.startswith(there)
        ),
    )


def homeward(task: str, name: str, files: Iterable[SavedFile]) -> Relocation:
    """Those of a task's files that have another name than this one."""
    wanted = ((file, numbered(name, count)) for count, file in enumerate(files, 1))
    return Relocation(task, tuple(pair for pair in wanted if not _at_home(*pair)))


def carry_out(videos: Path, relocation: Relocation, disk: Disk) -> OutputsMoved | None:
    """Move the files of one task; None if there was nothing left to move.

    What was moved before a crash counts as moved. A name that is taken stays with
    whoever has it: the file then gets 8 characters of its own hash.

    Raises:
        StoreError: a file cannot be moved.
    """
    moves = []
    for file, target in relocation.files:
        try:
            name = _carry(videos, file, target, disk)
        except OSError as error:
            raise StoreError(
                f"cannot move {videos / file.name}: {error.strerror}"
            ) from error
        if name is not None and name != file.name:
            moves.append(Move(source=file.name, target=name))
    return OutputsMoved(task=relocation.task, moves=tuple(moves)) if moves else None


def numbered(name: str, number: int) -> str:
    """`clip.mp4`, then `clip-2.mp4` for a second output of one prediction."""
    path = PurePosixPath(name)
    return name if number == 1 else str(path.with_stem(f"{path.stem}-{number}"))


def _at_home(file: SavedFile, name: str) -> bool:
    """Whether a file has its name, or had to add its hash to it."""
    return file.name in (name, _with_hash(name, file))


def _with_hash(name: str, file: SavedFile) -> str:
    path = PurePosixPath(name)
    return str(path.with_stem(f"{path.stem}~{file.sha256[:8]}"))


def _previous(file: SavedFile, task: str) -> str:
    """The same name in `_previous/`, told apart by the task it was."""
    path = PurePosixPath(file.name)
    return str(PurePosixPath(PREVIOUS) / path.with_stem(f"{path.stem}~{task[:8]}"))


def _carry(videos: Path, file: SavedFile, target: str, disk: Disk) -> str | None:
    """Where the file is now; None if it is nowhere."""
    source, wanted = videos / file.name, videos / target
    there = disk.find(source)
    if there is None:
        homes = (target, _with_hash(target, file))
        return next((name for name in homes if _is(videos / name, file, disk)), None)
    make_folders(disk, wanted.parent)
    # The same file under both names: a crash came between link and unlink.
    if not _free_for(disk, wanted, there):
        wanted = videos / _with_hash(target, file)
    if wanted == source:
        return file.name
    if disk.find(wanted) is None:
        disk.link(source, wanted)
    if not _free_for(disk, wanted, there):
        return file.name  # both names are taken: it stays where it is
    disk.sync_folder(wanted.parent)
    disk.unlink(source)
    disk.sync_folder(source.parent)
    beside = source.with_suffix(".json")
    if disk.find(beside) is not None:
        disk.rename(beside, wanted.with_suffix(".json"))
    return wanted.relative_to(videos).as_posix()


def _free_for(disk: Disk, name: Path, file: Entry) -> bool:
    """Whether a name is free, or stands for this very file."""
    there = disk.find(name)
    return there is None or there.inode == file.inode


def _is(path: Path, file: SavedFile, disk: Disk) -> bool:
    entry = disk.find(path)
    if entry is None or not entry.is_file or entry.size != file.bytes:
        return False
    with disk.reader(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
