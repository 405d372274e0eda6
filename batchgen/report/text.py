"""What a person reads at the end of a run. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath

from msgspec import Struct

from batchgen import terminal
from batchgen.money import dollars
from batchgen.report.summary import Failure, Summary
from batchgen.state import REJECTED, TaskState, word
from batchgen.tally import Tally
from batchgen.tasks import Task
from batchgen.words import clips, duration, elements, money, size

_SHOWN = 8
_WHY = {
    "budget": "the cap does not cover them",
    "deadline": "the deadline came first",
    "breaker": "too much went wrong, so buying was stopped",
    "interrupted": "the run was interrupted",
    "key": "the key was refused",
    "credit": "the account is out of credit",
    "network": "the network is down",
    "disk": "the disk takes no more",
    "state": "the state file is not what it should be",
    "bug": "of a bug in batchgen",
}


class _Ending(Struct, frozen=True):
    document: Summary
    tasks: Sequence[Task]
    tally: Tally
    command: str
    service: str

    @property
    def counts(self) -> Mapping[str, int]:
        return self.document["counts"]

    def having(self, *words: str) -> list[tuple[Task, TaskState]]:
        ordered = (
            (task, self.tally.states.get(task.id, TaskState())) for task in self.tasks
        )
        return [(task, state) for task, state in ordered if word(state) in words]


def end_text(
    document: Summary,
    tasks: Sequence[Task],
    tally: Tally,
    *,
    command: str,
    service: str = "WaveSpeed",
) -> str:
    """The end of a run, for stdout; `command` is what starts it again."""
    ending = _Ending(document, tasks, tally, command, service)
    took = duration(document["wall_s"])
    head = f"{progress(document)} in {took}"
    return page(
        [
            f"{document['run']}: {head}",
            *_money(ending),
            *problems(document["failed"]),
            *_waiting(ending),
            *_files(ending),
            *_next(ending),
            *_uncertain(ending),
            *_key(ending),
        ]
    )


def progress(document: Summary) -> str:
    """`25 of 25 clips done`, and how many elements were made for them."""
    counts, made = document["counts"], document.get("elements")
    head = f"{counts['done']:,} of {clips(counts['total'])} done"
    if not made:
        return head
    return f"{head}, {made['done']:,} of {elements(made['total'])} made"


def spent(document: Summary, of: str = " of ") -> str:
    """What is charged for good, against the cap if there is one."""
    cap = document["budget_usd"]
    amount = money(document["spent_usd"])
    return amount if cap is None else f"{amount}{of}{money(cap)}"


def _money(ending: _Ending) -> Iterator[str]:
    ledger, counts = ending.tally.ledger, ending.counts
    doubt = ledger.uncertain
    more = f", and {dollars(doubt)} uncertain, which counts as spent" if doubt else ""
    yield f"  spent      {spent(ending.document)}{more}"
    if ledger.refundable:
        failed = counts["failed"] if not _failed_for_nothing(ending) else 0
        whose = clips(failed, "failed") if failed else "failed attempts"
        yield (
            f"  refund     {dollars(ledger.refundable)} expected for {whose} "
            f"({ending.service} returns failed charges within about 3 h)"
        )


def _failed_for_nothing(ending: _Ending) -> bool:
    """Whether a clip failed that was never bought, for want of its element."""
    return any(one["kind"] == "element" for one in ending.document["failed"])


def problems(failed: Sequence[Failure]) -> Iterator[str]:
    """What was given up, and why."""
    shown = failed[:_SHOWN]
    columns = max((terminal.width(one["slug"]) for one in shown), default=0)
    for one in shown:
        label = "rejected" if one["kind"] in REJECTED else "failed"
        label = "lost" if one["kind"] in ("lost", "gone") else label
        slug = terminal.left(one["slug"], columns)
        yield f"  {label:<10} {slug}   {one['kind']}: {one['message']}"
    if len(failed) > _SHOWN:
        yield f"             and {len(failed) - _SHOWN:,} more, all in results.csv"


def _waiting(ending: _Ending) -> Iterator[str]:
    counts = ending.counts
    paid = counts["rendering"] + counts["downloading"]
    if paid:
        yield (
            f"  waiting    {clips(paid)} paid for and not collected; "
            "the next run fetches them at no extra cost"
        )
    if counts["pending"]:
        price = sum(task.price for task, _ in ending.having("pending"))
        because = _WHY.get(ending.document["reason"], "")
        why = f": {because}" if because else ""
        yield f"  left       {clips(counts['pending'])} not bought{why} ({dollars(price)})"  # noqa: E501


def _files(ending: _Ending) -> Iterator[str]:
    files = ending.document["files"]
    saved = [file for _, state in ending.having("done") for file in state.files]
    beside = files.get("results") or files.get("report")
    if saved and beside:
        own = str(PurePosixPath(beside).parent / "videos")
        places = dict.fromkeys(file.store or own for file in saved)
        folder = ", ".join(places)
        total = size(sum(file.bytes for file in saved))
        many = f"{len(saved):,} file{'s' * (len(saved) != 1)}"
        yield f"  files      {folder} ({many}, {total})"
    if "report" in files:
        yield f"  report     {files['report']}"


def _next(ending: _Ending) -> Iterator[str]:
    """What to do about each kind of unfinished clip."""
    counts = ending.counts
    failed, left = counts["failed"], counts["pending"]
    if failed:
        price = sum(task.price for task, _ in ending.having("failed"))
        those = "the failed clip" if failed == 1 else f"the {clips(failed, 'failed')}"
        yield f"Run the same command to try {those} again ({dollars(price)})."
    if left and ending.document["reason"] == "budget":
        yield f"Raise the cap (--budget) and run again for the other {clips(left)}."
    elif left and not failed:
        yield f"Run the same command to go on with the other {clips(left)}."
    if counts["rejected"]:
        one = counts["rejected"] == 1
        verb, it = ("is", "it is") if one else ("are", "they are")
        yield (
            f"{clips(counts['rejected'], 'rejected')} {verb} not tried again as {it}: "
            "edit the prompt, or add --retry rejected."
        )
    if counts["lost"]:
        yield (
            f"{clips(counts['lost'], 'lost')}: paid, and no longer to be fetched; "
            "not bought a second time by itself."
        )


def _uncertain(ending: _Ending) -> Iterator[str]:
    """Plainly: what may have been paid, and that nothing is bought twice by itself."""
    doubtful = ending.having("uncertain")
    if not doubtful:
        return
    it = "it" if len(doubtful) == 1 else "them"
    yield ""
    yield (
        f"error: {clips(len(doubtful))} may have been bought without us hearing back "
        "[uncertain]"
    )
    for task, state in doubtful[:_SHOWN]:
        yield f"  {task.slug}: {_doubt(state)}"
    if len(doubtful) > _SHOWN:
        yield f"  and {len(doubtful) - _SHOWN:,} more"
    there = "it is" if len(doubtful) == 1 else "they are"
    yield (
        f"  batchgen will not buy {it} again on its own. It looks in the account's "
        f"history at every start; if {there} not there:"
    )
    yield (
        f"    {ending.command} --retry absent         "
        f"buys {it} again once the history is conclusive"
    )


def _key(ending: _Ending) -> Iterator[str]:
    """A key that was refused in the middle of a night."""
    if ending.document["reason"] != "key":
        return
    done = clips(ending.counts["done"])
    yield ""
    yield f"error: the key was refused by {ending.service} (401) [bad-key]"
    yield (
        "  new keys stay inactive until the account's first top-up. "
        f"Stopped; {done} done, nothing lost. Fix the key and run the same command."
    )


def _doubt(state: TaskState) -> str:
    latest = state.latest
    message = state.trouble.message if state.trouble else "no usable answer came"
    window = latest.window if latest else None
    at = f" at {_clock(window.since)}" if window else ""
    cost = dollars(latest.reserve if latest else 0)
    return f"{message.rstrip('.')}{at}. It counts as {cost} spent until settled."


def _clock(moment: str) -> str:
    """A time of day on the clock of the machine, `02:14:09`."""
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def page(lines: Iterable[str]) -> str:
    """Lines that are safe to print."""
    return "\n".join(map(terminal.safe, lines)) + "\n"
