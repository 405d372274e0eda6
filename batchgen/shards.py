"""One run on several machines: which of them does a task, and with what money. Pure.

Nothing here depends on other tasks, on their order or on what was bought: machines that
never hear of each other agree, and an edit of the manifest moves no task.
"""

from collections.abc import Mapping
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from batchgen.models import Catalog
from batchgen.models.canonical import digest
from batchgen.patterns import pattern
from batchgen.profile import Limits
from batchgen.task import Task

MOST = 10_000
"""Shards of one run: what the largest arrays of schedulers have."""

_WRITTEN = pattern("([0-9]{1,9})/([0-9]{1,9})")
_FOLDER = pattern(r"(.+)\.shard-([0-9]+)-of-([0-9]+)((?:\.sandbox)?)")


class Shard(Struct, frozen=True, order=True):
    """One of `count` parts of a run, counted from 1."""

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `3/8`.

        Raises:
            ValueError: it is none; the message says why, and what to write.
        """
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a shard, like 3/8: the third of eight")
        number, count = map(int, found.groups())
        if not 1 <= count <= MOST:
            raise ValueError(f"{text}: a run has 1 to {MOST:,} shards")
        if number == 0:
            raise ValueError(
                f"{text}: shards are counted from 1, so the first is 1/{count}. Where "
                "a scheduler counts from 0 (JOB_COMPLETION_INDEX, "
                f'AWS_BATCH_JOB_ARRAY_INDEX), write --shard "$((INDEX + 1))/{count}"'
            )
        if number > count:
            raise ValueError(f"{text}: there is no shard {number} of {count}")
        return cls(count, number)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, key: str) -> bool:
        """Whether what has this key, of `key_of`, is done by this shard."""
        return number_of(key, self.count) == self.number

    def part(self, amount: int) -> int:
        """This shard's part of a whole number; all parts sum to it exactly.

        It must not depend on the tasks. Shares of the plan's cost would be fairer, but
        shards that ran before and after an edit would have shares of different plans,
        and those sum to more than the whole.
        """
        each, rest = divmod(amount, self.count)
        return each + (self.number <= rest)

    def pace(self, limits: Limits) -> Limits:
        """This shard's part of what the account may do at once and in a minute."""
        concurrency = max(1, self.part(limits.concurrency))
        if limits.starts is None:
            return replace(limits, concurrency=concurrency)
        if limits.starts >= self.count:
            return replace(
                limits, concurrency=concurrency, starts=self.part(limits.starts)
            )
        seconds = limits.seconds * self.count / limits.starts
        return Limits(concurrency, 1, seconds)

    def folder(self, run: str) -> str:
        """The folder of this shard of a run, by the name of the whole run's folder."""
        name = run.removesuffix(".sandbox")
        return f"{name}.shard-{self.number}-of-{self.count}{run[len(name) :]}"


def number_of(key: str, count: int) -> int:
    """The number of the shard that has a key, from 1."""
    return int(key, 16) % count + 1


def key_of(task: Task, models: Catalog) -> str:
    """What decides on a task's shard: the identity of its first take.

    So equal requests are always in one shard. Which prediction belongs to which of
    them is found by what was asked for, and one process has to know them all.
    """
    if task.take == 1:
        return task.id
    return key_of_request(task.model, task.input, models)


def key_of_request(model: str, fields: Mapping[str, Any], models: Catalog) -> str:
    """The same of a request, as planned or as the service shows it."""
    known = models.find(model)
    canonical = known.canonical(fields) if known else fields
    return digest(model, canonical, 1)[:32]


def told(folder: str) -> tuple[str, Shard] | None:
    """The whole run's folder and the shard, by the name of a shard's folder.

    None if it is not the name of one.
    """
    found = _FOLDER.fullmatch(folder)
    if found is None:
        return None
    run, number, count, end = found.groups()
    try:
        return run + end, Shard.parse(f"{number}/{count}")
    except ValueError:
        return None
