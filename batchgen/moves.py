"""An edit of the manifest moves files; it never overwrites and never buys.

A renamed task's clip follows its new name. The clip of a task that a changed one has
replaced gives up its name and goes to `_previous/`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from batchgen.events import Move, OutputsMoved, SavedFile, TaskPlanned
from batchgen.names import FLAGGED, PREVIOUS, numbered, with_hash
from batchgen.state import Status, TaskState
from batchgen.tasks import Task

if TYPE_CHECKING:  # it would load the downloads, and a plan moves nothing
    from batchgen.stores import Store


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


def carry_out(
    relocation: Relocation, stores: "Mapping[str, Store]"
) -> OutputsMoved | None:
    """Move the files of one task; None if there was nothing left to move.

    What was moved before a crash counts as moved. A name that is taken stays with
    whoever has it: the file then gets 8 characters of its own hash.

    `stores` are those at hand, by address; a file in another one keeps its name.

    Raises:
        StoreError: a file cannot be moved.
    """
    moves = []
    for file, target in relocation.files:
        store = stores.get(file.store)
        name = store.move(file, target) if store else None
        if name is not None and name != file.name:
            moves.append(Move(source=file.name, target=name))
    return OutputsMoved(task=relocation.task, moves=tuple(moves)) if moves else None


def _at_home(file: SavedFile, name: str) -> bool:
    """Whether a file has its name, or had to add its hash to it."""
    return file.name in (name, with_hash(name, file.sha256))


def _previous(file: SavedFile, task: str) -> str:
    """The same name in `_previous/`, told apart by the task it was."""
    path = PurePosixPath(file.name)
    return str(PurePosixPath(PREVIOUS) / path.with_stem(f"{path.stem}~{task[:8]}"))
