"""I8: whoever changes, cuts or puts back the state file stops the spending."""

import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from batchgen.errors import JournalError
from batchgen.journal import NAME, Journal
from batchgen.world import World

from .oracle import Violation
from .replay import lines


def edited(data: bytes, last: int, chance: random.Random) -> bytes:
    """The file with one digit changed, in a record up to number `last`."""
    rows = data.split(b"\n")
    known = [n for n, row in enumerate(rows) for one in lines(row) if one["n"] <= last]
    n = chance.choice(known)
    row = bytearray(rows[n])
    digits = [k for k, byte in enumerate(row[:-16]) if chr(byte).isdigit()]
    k = chance.choice(digits)
    row[k] = ord("0") + (row[k] - ord("0") + 1) % 10
    return b"\n".join([*rows[:n], bytes(row), *rows[n + 1 :]])


def cut(data: bytes, last: int, chance: random.Random) -> bytes:
    """The file without record `last` and all that came after it, or without more."""
    keep = chance.randrange(last)
    kept = [row for row in data.split(b"\n") for one in lines(row) if one["n"] <= keep]
    return b"".join(row + b"\n" for row in kept)


def refused(
    folder: Path, last: int, older: Sequence[bytes], chance: random.Random
) -> None:
    """Try every kind of it on a copy of a run; the run itself stays as it is.

    Args:
        folder: of the run.
        last: the highest record whose durability was promised.
        older: what the state file held at some moments before.
        chance: where it is changed.

    Raises:
        Violation: it was opened for spending all the same.
    """
    data = (folder / NAME).read_bytes()
    tries = {"edited": edited(data, last, chance), "cut": cut(data, last, chance)}
    for copy in older:
        numbers = [one["n"] for one in lines(copy)]
        if max(numbers, default=0) < last:
            tries["put back"] = copy
    for what, bad in tries.items():
        with tempfile.TemporaryDirectory(prefix="batchgen-") as place:
            there = Path(place) / "run"
            shutil.copytree(folder, there)
            (there / NAME).write_bytes(bad)
            try:
                Journal.open(there, World()).close()
            except JournalError:
                continue
        raise Violation(f"I8: a state file that was {what} was opened for spending")
