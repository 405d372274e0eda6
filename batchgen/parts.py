"""The unfinished file of a download, and how it gets its final name.

A part is kept across crashes with a note beside it that says what it is a part of.
Nothing that has a final name is ever overwritten.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from msgspec import Struct, structs
from msgspec import json as fast

from batchgen import mp4
from batchgen.disk import Disk, Entry, read_all, write_all
from batchgen.errors import StoreError, Unavailable
from batchgen.events import SavedFile

BLOCK = 1 << 20
SYNC_EVERY = 64 << 20  # what a power failure may cost; each sync holds the line up
MOST_BYTES = 2 << 30
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
)
# Made once: `json.dumps` would make one for each sidecar.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class BadClip(StoreError):
    """The service gives something else than a clip, again and again."""

    rule = "bad-clip"


class Note(Struct, frozen=True, omit_defaults=True):
    """What is known of a part; stands beside it."""

    asked: str = ""  # the link as given, if its path alone names the file
    served: str = ""  # where the bytes came from, after redirects, without the query
    etag: str = ""  # strong, or empty
    last_modified: str = ""  # older than the answer, or empty
    total: int | None = None
    synced: int = 0
    boot: str = ""
    sha256: str = ""  # once verified
    bad: bool = False  # an earlier copy was damaged

    @property
    def validator(self) -> str:
        """What tells this version of the file from another."""
        return self.etag or self.last_modified


class Part:
    """The unfinished file beside its note."""

    def __init__(self, target: Path, disk: Disk, boot: str) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.size = 0
        self.note = Note()
        self._kept = 0
        self._note_path = target.with_name(f"{target.name}.part.json")
        self._disk = disk
        self._boot = boot
        self._handle = -1
        self._digest = hashlib.sha256()
        self._noted = True  # as far as anybody knows, a note is there
        self._found = 0  # bytes in the file when it was opened

    def open(self, asked: str) -> SavedFile | None:
        """Find what an earlier attempt left, and keep everybody else away from it.

        Returns:
            The final file, if a crash came after it was verified and got its name.

        Raises:
            Unavailable: somebody is at it: a worker that was believed dead.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with on_disk(self.path):
            self._handle = self._disk.open(self.path, flags, 0o644)
            entry = self._claim()
            if saved := self._adopted(asked):
                return saved
            if not entry.is_file or entry.links > 1:
                # It is a finished file under its first name: not to be written to.
                self.close()
                self._disk.unlink(self.path)
                self._handle = self._disk.open(self.path, flags | os.O_EXCL, 0o644)
                entry = self._claim()
        size = self._found = entry.size
        # A dead process leaves its bytes to the system; a dead system loses the tail.
        same_boot = self._boot and self._boot == self.note.boot
        kept = size if same_boot else self.note.synced
        if kept <= size and self.note.total is not None and kept <= self.note.total:
            self._kept = kept
        return None

    def _claim(self) -> Entry:
        """Two writers of one part would mix their bytes."""
        try:
            self._disk.lock(self._handle)
        except BlockingIOError as error:
            raise Unavailable(f"{self.path.name} is being written") from error
        except OSError:
            # No locks here; then nobody but this process may write here.
            entry = self._disk.entry(self._handle)
        else:
            entry = self._disk.entry(self._handle)
            if not entry.links:
                raise Unavailable(f"{self.path.name} was finished just now")
        self._recall()
        return entry

    def _recall(self) -> None:
        try:
            data = read_all(self._disk, self._note_path)
            self.note = fast.decode(data, type=Note)
        except FileNotFoundError:
            self._noted = False
        except (OSError, ValueError):
            pass

    def _adopted(self, asked: str) -> SavedFile | None:
        if not self.note.sha256 or self.note.asked != asked or not asked:
            return None
        for name in self._names(self.note.sha256):
            if self._sum(name) == self.note.sha256:
                return self._settle(name)
        return None

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            self._disk.close(handle)

    def whole_copy_of(self, asked: str) -> bool:
        """Whether all bytes of exactly this file are here; then they are kept."""
        whole = bool(asked) and asked == self.note.asked and self.is_whole
        if whole:
            self.keep()
        return whole

    @property
    def is_begun(self) -> bool:
        """Whether some of its bytes are there that may be good."""
        return bool(self._kept)

    @property
    def is_whole(self) -> bool:
        """Whether every byte is there."""
        return bool(self._kept) and self._kept == self.note.total

    def range_of(self, served: str) -> dict[str, str]:
        """The headers that ask for the rest, where that is safe."""
        if not self._kept or not self.note.validator or served != self.note.served:
            return {}
        return {"Range": f"bytes={self._kept}-", "If-Range": self.note.validator}

    def continued_by(self, headers: Mapping[str, str]) -> bool:
        """Whether a 206 is the rest of this very part."""
        total = self.note.total or 0
        if headers.get("content-range") != f"bytes {self._kept}-{total - 1}/{total}":
            return False
        if self.note.etag:
            return headers.get("etag") == self.note.etag
        return headers.get("last-modified") == self.note.last_modified

    def keep(self) -> None:
        """Go on where the earlier attempt ended."""
        with on_disk(self.path):
            self._disk.truncate(self._handle, self._kept)
            with self._disk.reader(self.path) as file:
                self._digest = hashlib.file_digest(file, "sha256")
            self.size = self._kept
            self._know(synced=min(self.note.synced, self._kept), boot=self._boot)
            self._tell()

    def restart(self, note: Note) -> None:
        """Begin with the first byte."""
        with on_disk(self.path):
            if self._found:
                self._disk.truncate(self._handle, 0)
                self._digest = hashlib.sha256()
            self._found = self.size = 0
            self.note = structs.replace(note, bad=self.note.bad, boot=self._boot)
            if self._noted:  # of what these bytes are no longer a part of
                self._tell()

    def make_room(self) -> None:
        """StoreError if the rest, and a twentieth of the whole, does not fit."""
        total = self.note.total or 0
        with on_disk(self.path):
            free = self._disk.free(self.target.parent)
        if free < total + total // 20 - self.size:
            raise StoreError(
                f"{self.path.parent}: {free:,} bytes free, too few for "
                f"{self.target.name} of {total:,}",
                rule="disk-full",
            )

    def append(self, block: memoryview) -> None:
        """Add bytes to the end."""
        if not self.size and not mp4.starts_well(block):
            raise Unavailable("what came is not an MP4 file")
        if self.size + len(block) > MOST_BYTES:
            self.discard(Note())
            raise BadClip(too_big(self.target.name))
        with on_disk(self.path):
            # What comes whole and at once needs no note: nothing is left to resume.
            if not self._noted and self.size + len(block) != self.note.total:
                self._tell()
            try:
                write_all(self._disk, self._handle, block)
            except OSError:
                self._leave_a_note()
                raise
        self._digest.update(block)
        self.size += len(block)
        if self.size - self.note.synced >= SYNC_EVERY:
            self._sync()
            with on_disk(self.path):
                self._know(synced=self.size)
                self._tell()

    def finish(self) -> SavedFile:
        """Verify the whole part, and give it its final name."""
        self._sync()
        read = mp4.ahead(partial(self._disk.pread, self._handle))
        with on_disk(self.path):
            sized = self.note.total is not None
            problem = mp4.flaw(read, self.size, open_end=sized)
        if problem:
            self._reject(problem)
        self._know(synced=self.size, sha256=self._digest.hexdigest())
        with on_disk(self.target):
            # Not synced: whoever reads it looks whether the file has this sum. Without
            # a note, a crash costs that what came at once comes once more.
            if self._noted:
                self._tell()
            try:
                return self._named()
            except OSError:
                self._leave_a_note()
                raise

    def _named(self) -> SavedFile:
        for name in self._names(self.note.sha256):
            with suppress(FileExistsError):
                self._link(name)
                return self._settle(name, self.size)
            if self._sum(name) == self.note.sha256:
                return self._settle(name)
        raise StoreError(f"{self.target}: another file has this name")

    def _leave_a_note(self) -> None:
        """Let the next attempt know what is here, if that is possible."""
        with suppress(OSError):
            if not self._noted:
                self._tell()

    def discard(self, note: Note) -> None:
        """Throw the bytes away; only the note goes on."""
        self.close()
        with on_disk(self.path):
            self._disk.unlink(self.path)
            self.note = note
            self._tell()

    def _reject(self, problem: str) -> NoReturn:
        if not self.note.bad:
            self.discard(Note(bad=True))
            raise Unavailable(f"{self.target.name} came damaged: {problem}")
        kept = self.target.with_name(f"{self.target.name}.bad")
        with on_disk(kept):
            self._disk.rename(self.path, kept)
            self._disk.unlink(self._note_path)
        raise BadClip(
            f"{self.target.name} came damaged twice: {problem}",
            advice=f"kept for inspection: {kept.name}",
        )

    def _sync(self) -> None:
        with on_disk(self.path):
            try:
                self._disk.sync(self._handle)
            except OSError:
                # Nobody can say which bytes were lost.
                self.discard(Note(bad=self.note.bad))
                raise

    def _know(self, **news: int | str) -> None:
        self.note = structs.replace(self.note, **news)

    def _tell(self) -> None:
        """Write down what is known."""
        _replace(self._disk, self._note_path, fast.encode(self.note), sync=False)
        self._noted = True

    def _names(self, sha256: str) -> Iterator[Path]:
        """The name that is wanted, then the one that is left if that is taken."""
        target = self.target
        yield target
        yield target.with_name(f"{target.stem}~{sha256[:8]}{target.suffix}")

    def _link(self, name: Path) -> None:
        try:
            self._disk.link(self.path, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._copy(name)

    def _copy(self, name: Path) -> None:
        if not self._noted:
            self._tell()
        if self._begins_with(name):
            self._disk.unlink(name)  # a copy that a crash cut short
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = self._disk.open(name, flags, 0o644)
        try:
            with self._disk.reader(self.path) as file:
                while block := file.read(BLOCK):
                    write_all(self._disk, handle, block)
            self._disk.sync(handle)
        except BaseException:
            self._disk.unlink(name)
            raise
        finally:
            self._disk.close(handle)

    def _begins_with(self, name: Path) -> bool:
        """Whether a file is the beginning of this one, and no more."""
        entry = self._disk.find(name)
        if entry is None or not entry.is_file or entry.size >= self.size:
            return False
        with self._disk.reader(name) as file, self._disk.reader(self.path) as part:
            while block := file.read(BLOCK):
                if block != part.read(len(block)):
                    return False
        return True

    def _settle(self, name: Path, synced: int | None = None) -> SavedFile:
        """Make the final name durable and sweep; the last thing that can fail.

        `synced` is the size of a file whose bytes are on the platter already.
        """
        size = self._synced(name) if synced is None else synced
        with suppress(FileNotFoundError):
            self._disk.unlink(self.path)
        self._disk.sync_folder(name.parent)
        if self._noted:
            with suppress(FileNotFoundError):
                self._disk.unlink(self._note_path)
        note = self.note
        return SavedFile(
            name=name.name, bytes=size, sha256=note.sha256, validator=note.validator
        )

    def _synced(self, name: Path) -> int:
        """The size of a file, once its bytes are on the platter."""
        handle = self._disk.open(name, os.O_RDONLY)
        try:
            self._disk.sync(handle)
            return self._disk.size(handle)
        finally:
            self._disk.close(handle)

    def _sum(self, path: Path) -> str:
        """The SHA-256 of a regular file, empty if there is none of that name."""
        entry = self._disk.find(path)
        if entry is None or not entry.is_file:
            return ""
        with self._disk.reader(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def write_sidecar(
    path: Path, value: Mapping[str, Any], *, disk: Disk | None = None
) -> None:
    """Put a JSON object beside a clip: whole or not at all.

    Power loss may take its name; what it says stands in the state file, too.
    """
    text = _JSON.encode(value)
    try:
        data = fast.format(text.encode(), indent=2) + b"\n"
    except UnicodeEncodeError:  # half a pair of UTF-16: no JSON to the strict
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        data = text.encode("utf-8", "backslashreplace") + b"\n"
    disk = disk or Disk()
    with disk.inside(path.parent), on_disk(path):
        _replace(disk, path, data, sync=True)


def too_big(name: str) -> str:
    """What is said of a file that cannot be a clip."""
    return f"{name}: more than {MOST_BYTES >> 30} GiB is no clip"


class on_disk:  # noqa: N801 - it stands after `with`
    """Turn an OSError into a StoreError that names the file."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing happens yet."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise the other error in its place."""
        if not isinstance(error, OSError):
            return
        if error.errno in _FULL:
            full = f"{self._path}: the disk is full"
            raise StoreError(full, rule="disk-full") from error
        raise StoreError(f"{self._path}: {error.strerror or error}") from error


def _replace(disk: Disk, path: Path, data: bytes, *, sync: bool) -> None:
    """Exchange a small file in one move."""
    fresh = path.with_name(f"{path.name}.tmp")
    handle = disk.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(disk, handle, data)
        if sync:
            disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(fresh, path)
