"""A run's journal as anybody may read it: without its lock, and changing nothing."""

from collections.abc import Callable
from pathlib import Path

from batchgen.disk import Disk, read_all
from batchgen.errors import JournalDamaged, StoreError
from batchgen.records import Record, readable, replay
from batchgen.statefile import NAME

__all__ = ["NAME", "read"]


def read(folder: Path, warn: Callable[[str], None] | None = None) -> tuple[Record, ...]:
    """The records of a run without its lock: whole lines only, nothing repaired.

    With `warn`, a damaged file is told about and read as far as it is sound: that is
    enough to look at, and never enough to spend on.

    Raises:
        JournalDamaged: the file is not what a runner wrote, and there is no `warn`.
        StoreError: it cannot be read.
    """
    try:
        data = read_all(Disk(), folder / NAME)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"{folder / NAME}: {error.strerror}") from error
    try:
        return replay(data).records
    except JournalDamaged as error:
        if warn is None:
            raise
        warn(f"{error.message}; shown is what stands before")
        return readable(data)
