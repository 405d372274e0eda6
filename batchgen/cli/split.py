"""A run and its shards on this disk: who is beside whom, and whose is what."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from batchgen import logbook
from batchgen.disk import Disk
from batchgen.errors import JournalError, StoreError, UsageError
from batchgen.models import Catalog
from batchgen.money import Micros, dollars, round_up
from batchgen.plan import Plan
from batchgen.shards import Shard, key_of, number_of, told
from batchgen.tally import Tally
from batchgen.task import Task

_NOBODY: frozenset[int] = frozenset()


class Cut:
    """Which tasks are this shard's, and what each shard has to pay in all.

    What clips of several shards show is made by each of them: they may run at the same
    time, and none has to wait for another.

    Attributes:
        loads: what all tasks of each shard cost; empty without a shard.
    """

    def __init__(self, shard: Shard | None, models: Catalog) -> None:
        self.loads: list[Micros] = [0] * (shard.count if shard else 0)
        self._shard = shard
        self._models = models
        self._shown: dict[str, frozenset[int]] = {}

    @property
    def used(self) -> AbstractSet[str]:
        """References of the elements that clips show, of whatever shard."""
        return self._shown.keys()

    def has(self, task: Task) -> bool:
        """Whether this clip is the shard's."""
        if self._shard is None:
            for ref in task.elements:
                self._shown[ref] = _NOBODY
            return True
        number = number_of(key_of(task, self._models), self._shard.count)
        self.loads[number - 1] += task.price
        for ref in task.elements:
            self._shown[ref] = self._shown.get(ref, _NOBODY) | {number}
        return number == self._shard.number

    def has_element(self, task: Task) -> bool:
        """Whether this element is the shard's, once all clips were asked about."""
        if self._shard is None:
            return True
        own = number_of(key_of(task, self._models), self._shard.count)
        numbers = self._shown.get(task.ref) or {own}
        for number in numbers:
            self.loads[number - 1] += task.price
        return self._shard.number in numbers


def folder_name(run: str, shard: Shard | None) -> str:
    """Each shard has its own folder, where nobody works without `--shard`.

    Raises:
        UsageError: the name of the run is that of a shard.
    """
    found = told(run)
    if found is None:
        return shard.folder(run) if shard else run
    whole, its = found
    raise UsageError(
        f"{run} is the folder of shard {its} of {whole}",
        rule="bad-name",
        advice=f"Nothing was submitted. Say: --run {whole} --shard {its}",
    )


def parts(outputs: Path, run: str) -> Iterator[tuple[Shard, Path]]:
    """The shards of a run that have a state file in a folder of runs, in order.

    Several ways of cutting one run stand one after the other.
    """
    found = ((told(path.parent.name), path.parent) for path in _states(outputs))
    yield from sorted((its[1], path) for its, path in found if its and its[0] == run)


def missing(folders: Iterable[Path]) -> list[Shard]:
    """Shards that some folders leave out, if they are shards of one run in one cut."""
    found = [told(folder.name) for folder in folders]
    names = {(its[0], its[1].count) if its else None for its in found}
    if len(names) != 1 or None in names:
        return []
    here = {its[1] for its in found if its}
    count = next(iter(here)).count
    every = (Shard(count, number) for number in range(1, count + 1))
    return [shard for shard in every if shard not in here]


def _states(outputs: Path) -> Iterator[Path]:
    yield from outputs.glob(f"*.shard-*-of-*/{logbook.NAME}")


def refuse_another(folder: Path, shard: Shard | None, *, held: bool = False) -> None:
    """Refuse to buy what the same run, cut in another way, has bought already.

    Args:
        folder: of this run or this shard of it.
        shard: which one; None for the whole.
        held: we hold this run's lock: whoever works on it in another way at this
            moment counts as well, so of two that begin at once not both go on.

    Raises:
        UsageError: it was begun with another number of shards, or without any.
    """
    found = told(folder.name) if shard else None
    run = found[0] if found else folder.name
    whole = folder.with_name(run)
    others: list[tuple[Shard | None, Path]] = [
        (its, path)
        for its, path in parts(folder.parent, run)
        if shard is None or its.count != shard.count
    ]
    if shard and (whole / logbook.NAME).exists():
        others.insert(0, (None, whole))
    bought = [
        (its, path) for its, path in others if _bought(path) or (held and _busy(path))
    ]
    if not bought:
        return
    its, first = bought[0]
    more = f" and {len(bought) - 1} more" if len(bought) > 1 else ""
    now = f"in {shard.count} shards" if shard else "without shards"
    before = f"--shard I/{its.count}" if its else "no --shard"
    raise UsageError(
        f"clips of this run were bought in {first}{more}; {now} it would buy some of "
        "them again",
        rule="other-shards",
        advice=f"Nothing was submitted. Go on as it was begun, with {before}. To buy "
        "everything once more, in another way: --run NAME.",
    )


def _bought(folder: Path) -> bool:
    """Whether anything was bought there, or may have been."""
    try:
        tally = Tally()
        logbook.read(folder, hear=tally.hear)
    except (JournalError, StoreError):
        return True  # nobody can tell
    return bool(tally.owned or tally.ledger.committed)


def _busy(folder: Path) -> bool:
    """Whether a process holds that run."""
    try:
        with (folder / logbook.NAME).open("rb") as file:
            Disk().lock(file.fileno())
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def short_of(
    shard: Shard, cap: Micros, loads: Sequence[Micros], need: Micros
) -> str | None:
    """What to say if this shard's part of the cap does not cover what it has to buy.

    Args:
        shard: which one.
        cap: of the whole run.
        loads: what all tasks of each shard cost.
        need: what this shard has committed and has still to buy.
    """
    part = shard.part(cap)
    if need <= part:
        return None
    return (
        f"shard {shard} needs {dollars(need)}, and its part of the cap {dollars(cap)} "
        f"is {dollars(part)}: it will stop there. {_enough(shard, [*loads, need])}"
    )


def _enough(shard: Shard, loads: Sequence[Micros]) -> str:
    dearest = max(loads)
    return (
        f"A cap of {round_up(dearest * shard.count)} covers every shard (the dearest "
        f"needs {dollars(dearest)})."
    )


def lines(
    shard: Shard,
    clips: int,
    loads: Sequence[Micros],
    cap: Micros | None,
    need: Micros,
    plan: Plan,
) -> Iterator[str]:
    """What a plan says of its shard.

    Args:
        shard: which one.
        clips: of the whole run.
        loads: what all tasks of each shard cost.
        cap: of the whole run.
        need: what this shard has committed and has still to buy.
        plan: of this shard.
    """
    least, most = dollars(min(loads)), dollars(max(loads))
    yield (
        f"shard {shard} has {plan.total:,} of {clips:,} clips; all of a shard's tasks "
        f"cost {least} to {most}"
    )
    if plan.elements:
        yield (
            f"the elements that they show ({plan.elements:,}) are made for this shard; "
            "others that show them make their own"
        )
    if cap is None:
        return
    short = short_of(shard, cap, loads, need)
    if short:
        yield short
        return
    part = f"its part of the cap {dollars(cap)} is {dollars(shard.part(cap))}"
    uneven = max(loads) > cap // shard.count
    more = f", and others need more. {_enough(shard, loads)}" if uneven else ""
    yield f"{part}{more}"
