"""Whether a worker is in the very folder that the driver is in, and of its version."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchgen import __version__
from batchgen.disk import Disk, keep_folders, write_all
from batchgen.engines.pool import Unfit
from batchgen.engines.station import Greeting


@dataclass(frozen=True, slots=True)
class Probe:
    """A file that only who is in the same folder can read.

    Attributes:
        folder: of the run.
        name: of the file in its `videos`, which is locked.
        token: what it holds.
        store: address of the bucket that clips go to; then another folder will do.
    """

    folder: Path
    name: str
    token: str
    store: str = ""

    def check(self, greeting: Greeting) -> None:
        """Take a worker, or refuse it.

        Raises:
            Unfit: it runs another version, or is in another folder.
        """
        if greeting.version != __version__:
            raise Unfit(
                f"batchgen is {greeting.version} at {greeting.place}, "
                f"{__version__} here"
            )
        problem = greeting.problem
        if not (problem or self.store or self._is_there(greeting.reply)):
            problem = "what it wrote is not here"
        if problem:
            raise Unfit(
                f"the run's folder {self.folder.absolute()} is not shared with "
                f"{greeting.place}: {problem}"
            )

    def _is_there(self, reply: str) -> bool:
        if not reply.startswith(self.name):
            return False
        try:
            text = (self.folder / "videos" / reply).read_text(encoding="ascii")
        except (OSError, ValueError):
            return False
        return text == self.token


@contextmanager
def probe(folder: Path, store: str = "") -> Iterator[Probe]:
    """Lay one out, and take it and every answer away again."""
    disk = Disk()
    name, token = f".probe-{secrets.token_hex(4)}", secrets.token_hex(16)
    path = folder / "videos" / name
    keep_folders(disk, path.parent, folder)
    handle = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        disk.lock(handle)
        write_all(disk, handle, token.encode())
        yield Probe(folder, name, token, store)
    finally:
        disk.close(handle)
        for one in path.parent.glob(f"{name}*"):
            one.unlink(missing_ok=True)
