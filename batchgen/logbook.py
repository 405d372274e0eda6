"""A run's journal as anybody may read it: without its lock, and changing nothing."""

from collections.abc import Callable
from pathlib import Path

from batchgen.disk import Disk
from batchgen.errors import JournalDamaged, StoreError
from batchgen.history import Records
from batchgen.replay import Hear, nobody
from batchgen.statefile import NAME, unlocked

__all__ = ["NAME", "read"]


def read(
    folder: Path, warn: Callable[[str], None] | None = None, hear: Hear = nobody
) -> Records:
    """The records of a run without its lock: whole lines only, nothing repaired.

    With `warn`, a damaged file is told about and read as far as it is sound: that is
    enough to look at, and never enough to spend on. `hear` is told every page of it.

    Raises:
        JournalDamaged: the file is not what a runner wrote, and there is no `warn`.
        StoreError: it cannot be read.
    """
    path = folder / NAME
    records = Records(unlocked(Disk(), path))
    try:
        records.scan(hear)
    except FileNotFoundError:
        return records
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except JournalDamaged as error:
        if warn is None:
            raise
        warn(f"{error.message}; shown is what stands before")
    return records
