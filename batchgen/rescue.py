"""Paid ids that the journal does not take: into every other place there is.

Each is a line with a checksum of its own, beside the journal, in the user's runtime
folder and on stderr. Whatever of it is left brings the id back.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from batchgen.disk import Disk, make_folders, write_all
from batchgen.events import AttemptAccepted, dump, parse
from batchgen.patterns import pattern
from batchgen.records import seal, unseal
from batchgen.world import World

WORD = "BATCHGEN-RECOVER"
_DONE = ".done"
# A terminal may have broken the line, and a mail may have put words around it.
_LINE = pattern(r'\{"v":1,"run":".*?,"c":"[0-9a-f\s]{8,40}"\s*\}', re.DOTALL)


class Rescued(Struct, frozen=True):
    """A paid id with the name of its run."""

    run: str
    event: AttemptAccepted


class Rescue:
    """Writes what the journal does not take; the same id only once."""

    def __init__(self, folder: Path, world: World) -> None:
        self._folder = folder
        self._world = world
        self._saved: set[tuple[str, int]] = set()
        self._name = ""

    def save(self, event: AttemptAccepted) -> None:
        """Write it wherever it can be written; nothing is raised."""
        key = event.task, event.attempt
        if key in self._saved:
            return
        self._saved.add(key)
        head = {"v": 1, "run": self._folder.name, "t": event.t}
        line = seal(head | dump(event))
        if not self._name:
            moment = re.sub(r"\D", "", self._world.stamp())
            self._name = f"rescue-{moment}-{os.getpid()}.jsonl"
        runtime = self._world.runtime
        self._append(self._folder / self._name, line)
        with suppress(OSError):
            make_folders(self._world.disk, runtime, 0o700)
        if _is_ours(self._world.disk, runtime):
            self._append(runtime / f"{_mark(self._folder)}-{self._name}", line)
        self._world.alarm(f"{WORD} {line.decode().rstrip()}")

    def _append(self, path: Path, line: bytes) -> None:
        disk = self._world.disk
        with suppress(OSError):
            handle = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                write_all(disk, handle, line)
                disk.sync(handle)
                disk.sync_folder(path.parent)
            finally:
                disk.close(handle)


def waiting(folder: Path, world: World) -> list[Path]:
    """Rescue files of a run that were not imported yet."""
    here = _files(world.disk, folder, "rescue-")
    return here + _files(world.disk, world.runtime, f"{_mark(folder)}-rescue-")


def put_away(path: Path, disk: Disk) -> None:
    """Rename a file that was imported, so that it is not looked at again."""
    disk.rename(path, path.with_name(f"{path.name}{_DONE}"))
    disk.sync_folder(path.parent)


def found(text: str) -> Iterator[Rescued]:
    """Every sound line in a text, whatever stands around it."""
    for match in _LINE.finditer(text):
        value = unseal(re.sub(r"[\r\n]+", "", match.group()).encode())
        if value is None or value.get("t") != "AttemptAccepted":
            continue
        with suppress(ValueError):
            event = parse(value)
            if isinstance(event, AttemptAccepted):
                yield Rescued(str(value.get("run")), event)


def _files(disk: Disk, folder: Path, begin: str) -> list[Path]:
    try:
        names = disk.names(folder)
    except OSError:
        return []
    fitting = [n for n in names if n.startswith(begin) and n.endswith(".jsonl")]
    return [folder / name for name in fitting if _is_ours(disk, folder / name)]


def _is_ours(disk: Disk, path: Path) -> bool:
    """Whether nobody else can have put it there, in a folder that many may share."""
    with suppress(OSError):
        entry = disk.find(path)
        return (
            entry is not None and entry.kind != "link" and entry.owner == os.geteuid()
        )
    return False


def _mark(folder: Path) -> str:
    """Tells runs of one name apart in the folder that all of them share."""
    return sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
