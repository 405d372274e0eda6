"""Damaged state files: spending is refused, or nothing that was promised is lost.

Every truncation, every flipped bit, zeros at every offset, lines dropped, doubled and
swapped, and random damage on damage, over a journal and its high-water mark.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchgen.errors import BatchgenError
from batchgen.journal import refuse_rollback
from batchgen.records import Record
from batchgen.replay import replay
from batchgen.tally import Tally

GOLDEN = Path(__file__).parents[1] / "golden" / "journal-v1.jsonl"
_BLOCKS = (1, 16, 64, 512, 4096)


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file and how it came about."""

    how: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused`, `whole`, or `lost`: records that were promised are gone unseen."""

    word: str
    why: str = ""


class Judge:
    """Holds what a reader makes of damaged bytes against what was once durable.

    Without `marked` the high-water mark is gone as well: then the end may get shorter
    unseen (`shorter`), and nothing else may.
    """

    def __init__(self, data: bytes, *, marked: bool = True) -> None:
        whole = replay(data)
        self._records = whole.records
        self._mark = (whole.last, len(data)) if marked else None

    def __call__(self, data: bytes) -> Verdict:
        """What a session would do with this file; anything but an error may spend."""
        try:
            found = replay(data)
            refuse_rollback(self._mark, found)
            Tally.of(found.records)
        except BatchgenError as error:
            return Verdict("refused", error.rule)
        return self._compare(found.records)

    def _compare(self, found: Sequence[Record]) -> Verdict:
        promised = self._records
        for one, other in zip(promised, found, strict=False):
            if one != other:
                return Verdict("lost", f"record {one.n} reads otherwise")
        short = len(promised) - len(found)
        if short <= 0:
            return Verdict("whole")
        word = "lost" if self._mark else "shorter"
        return Verdict(word, f"{short} records are gone")


def cuts(data: bytes) -> Iterator[Damage]:
    """The file cut at every byte."""
    for length in range(len(data)):
        yield Damage(f"cut at {length}", data[:length])


def flips(data: bytes) -> Iterator[Damage]:
    """Every bit, one at a time."""
    for place in range(len(data)):
        for bit in range(8):
            hurt = bytearray(data)
            hurt[place] ^= 1 << bit
            yield Damage(f"bit {bit} of byte {place}", bytes(hurt))


def zeros(data: bytes) -> Iterator[Damage]:
    """A block of zeros over every offset."""
    for size in _BLOCKS:
        for place in range(len(data)):
            block = bytes(min(size, len(data) - place))
            hurt = data[:place] + block + data[place + size :]
            yield Damage(f"{size} zeros at {place}", hurt)


def lines(data: bytes) -> Iterator[Damage]:
    """Lines dropped, doubled, swapped, and moved to another place."""
    rows = data.splitlines(keepends=True)
    for number, row in enumerate(rows):
        rest = [*rows[:number], *rows[number + 1 :]]
        yield Damage(f"line {number} dropped", b"".join(rest))
        for place in range(len(rows) + 1):
            twice = [*rows[:place], row, *rows[place:]]
            yield Damage(f"line {number} again at {place}", b"".join(twice))
        for other in range(number + 1, len(rows)):
            swapped = list(rows)
            swapped[number], swapped[other] = rows[other], row
            yield Damage(f"lines {number} and {other} swapped", b"".join(swapped))
        for other in range(number + 1, len(rows) + 1):
            yield Damage(
                f"lines {number} to {other} dropped",
                b"".join([*rows[:number], *rows[other:]]),
            )


def heaps(data: bytes, count: int, seed: int) -> Iterator[Damage]:
    """Two to six random damages, one on top of the other."""
    chance = random.Random(seed)  # noqa: S311 - a seed must find it again
    for number in range(count):
        hurt = data
        for _ in range(chance.randint(2, 6)):
            hurt = chance.choice(_BLOWS)(hurt, chance)
        yield Damage(f"heap {number} of seed {seed}", hurt)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    hurt = bytearray(data)
    hurt[chance.randrange(len(hurt))] ^= 1 << chance.randrange(8)
    return bytes(hurt)


def _zero(data: bytes, chance: random.Random) -> bytes:
    place, size = chance.randint(0, len(data)), chance.choice(_BLOCKS)
    return data[:place] + bytes(min(size, len(data) - place)) + data[place + size :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randint(0, len(data))
    return data[:place] + chance.randbytes(chance.randint(1, 64)) + data[place:]


def _splice(data: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randint(0, len(data)) for _ in range(2))
    place = chance.randint(0, len(data))
    return data[:place] + data[begin:end] + data[place:]


def _drop(data: bytes, chance: random.Random) -> bytes:
    rows = data.splitlines(keepends=True)
    if rows:
        rows.pop(chance.randrange(len(rows)))
    return b"".join(rows)


def _double(data: bytes, chance: random.Random) -> bytes:
    rows = data.splitlines(keepends=True)
    if rows:
        rows.insert(chance.randint(0, len(rows)), chance.choice(rows))
    return b"".join(rows)


_BLOWS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _flip,
    _zero,
    _insert,
    _splice,
    _drop,
    _double,
)


def campaign(
    data: bytes, damages: Iterable[Damage], *, marked: bool = True
) -> tuple[Counter[str], list[tuple[Damage, Verdict]]]:
    """How often each verdict came, and every damage that lost something unseen."""
    judge = Judge(data, marked=marked)
    counts: Counter[str] = Counter()
    losses = []
    for damage in damages:
        verdict = judge(damage.data)
        counts[verdict.word] += 1
        if verdict.word == "lost":
            losses.append((damage, verdict))
    return counts, losses


def everything(data: bytes, heap: int, seed: int) -> Iterator[Damage]:
    """All kinds, with so many random heaps."""
    for kind in (cuts, flips, zeros, lines):
        yield from kind(data)
    yield from heaps(data, heap, seed)


def main(argv: Sequence[str]) -> int:
    """Run it over a journal; 1 if anything was lost unseen."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign fuzz")
    parser.add_argument("--journal", type=Path, default=GOLDEN)
    parser.add_argument("--n", type=int, default=60_000, help="random heaps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-mark", action="store_true", help="the lock file is lost")
    given = parser.parse_args(argv)
    data = given.journal.read_bytes()
    began = time.monotonic()
    damages = everything(data, given.n, given.seed)
    counts, losses = campaign(data, damages, marked=not given.no_mark)
    for damage, verdict in losses[:20]:
        print(f"LOST  {damage.how}: {verdict.why}")
    total = sum(counts.values())
    if given.no_mark:
        print(f"{counts['shorter']:,} lost records at the end, unseen without the mark")
    print(
        f"{total:,} damages of {len(data):,} bytes: {counts['refused']:,} refused, "
        f"{counts['whole']:,} lost nothing, {counts['lost']:,} lost something unseen; "
        f"{time.monotonic() - began:.0f} s"
    )
    return bool(losses)
