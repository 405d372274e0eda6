"""What `plan` says before a cent is spent. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from msgspec import Struct

from batchgen import terminal
from batchgen.money import Micros, dollars
from batchgen.plan import Edit, Plan
from batchgen.shapes import Rehearsal
from batchgen.words import about, clips, duration, ordered

_ROWS = 20
_PROMPT_LINES = 3
_COLUMNS = 80
_INDENT = 4
NO_SEED = "The models take no seed: a final clip will not equal the rehearsed one."
"""What a rehearsal does not promise."""
_SIGNS = {"new": "+", "changed": "~", "failed": "!", "renamed": ">", "removed": "-"}


class First(Struct, frozen=True):
    """The first clip to buy, so that a person sees one prompt as it is sent."""

    slug: str
    hash: str
    prompt: str


class Night(Struct, frozen=True):
    """Whether a plan fits before its deadline.

    Attributes:
        deadline: after it nothing starts; in the zone it is shown in.
        short_by_s: by how many seconds it comes too early; 0 if it does not.
        clips_in_time: how many clips start before it.
        zone: the name of that zone, where the manifest gives it.
    """

    deadline: datetime
    short_by_s: int
    clips_in_time: int
    zone: str = ""


class Quote(Struct, frozen=True):
    """Everything the plan's page shows.

    Attributes:
        run: the run's name.
        model: the model's title.
        plan: what would be done, and its cost.
        cap: for the run's whole life; None without one.
        committed: what the cap is held against already.
        axis: heading of the rows: the name of the first axis.
        product: how the clips multiply; empty if there is nothing to say.
        first: the first clip to buy.
        pace: `3 at a time, 5 starts a minute`.
        eta_s: how long it may take; None if unknown.
        measured: whether `eta_s` rests on clips of this account.
        plan_id: what `--plan` takes.
        command: what starts it.
        fresh: no run of this name exists yet.
        done_cost: what the clips that are done have cost.
        night: how the deadline suits it; None without one.
        detailed: whether every edited task has a line, and what changed in it.
        rehearsal: the same clips on a cheaper model; None without one.
        final: what they cost without `--model`; None where it is not in use.
        shard: what there is to say of the part of the run that this is.
    """

    run: str
    model: str
    plan: Plan
    cap: Micros | None
    plan_id: str
    command: str
    committed: Micros = 0
    axis: str = "clips"
    product: str = ""
    first: First | None = None
    pace: str = ""
    eta_s: float | None = None
    measured: bool = False
    fresh: bool = True
    done_cost: Micros = 0
    night: Night | None = None
    detailed: bool = False
    rehearsal: Rehearsal | None = None
    final: Micros | None = None
    shard: Sequence[str] = ()


def plan_text(quote: Quote) -> str:
    """The page: what changed, what it costs, one prompt, and how to start."""
    blocks = (
        [_head(quote)],
        _changes(quote),
        _edits(quote.plan) if quote.detailed else (),
        _table(quote),
        [*_shard(quote), *_rehearsal(quote), *_product(quote), *_prompt(quote)],
        _start(quote),
    )
    texts = ("\n".join(map(terminal.safe, block)) for block in map(list, blocks))
    return "\n\n".join(filter(None, texts)) + "\n"


def _head(quote: Quote) -> str:
    state = "no run yet" if quote.fresh else "continues a run"
    return "   ".join(
        (quote.run, quote.model, ordered(quote.plan.total, quote.plan.elements), state)
    )


def _changes(quote: Quote) -> Iterator[str]:
    """Only for a run that exists: signs beside their words."""
    if quote.fresh:
        return
    counts = quote.plan.counts
    spent = f" ({dollars(quote.done_cost)})" if quote.done_cost else ""
    parts = (
        (_SIGNS["new"], counts.get("new", 0), "new"),
        (_SIGNS["changed"], counts.get("changed", 0), "changed"),
        (_SIGNS["failed"], counts.get("failed", 0), "failed, tried again"),
        (_SIGNS["renamed"], counts.get("renamed", 0), "renamed"),
        (_SIGNS["removed"], len(quote.plan.removed), "removed"),
        ("o", counts.get("open", 0), "open, not bought again"),
        ("=", counts.get("done", 0), f"done already{spent}"),
    )
    shown = [f"{sign} {count:,} {name}" for sign, count, name in parts if count]
    yield "  " + "   ".join(shown)


def _edits(plan: Plan) -> Iterator[str]:
    """A line for each task that is not done as it stands, and what became of it."""
    rows = [(_SIGNS[edit.change], _name(edit), edit.cost, edit) for edit in plan.edits]
    rows.sort(key=lambda row: list(_SIGNS.values()).index(row[0]))
    gone = [(_SIGNS["removed"], terminal.safe(slug), 0, None) for slug in plan.removed]
    columns = max((terminal.width(row[1]) for row in (*rows, *gone)), default=0)
    for sign, name, cost, edit in (*rows, *gone):
        yield f"  {sign} {terminal.left(name, columns)}   {dollars(cost):>9}"
        yield from _differences(edit) if edit else ()


def _name(edit: Edit) -> str:
    if edit.change == "renamed" and edit.before is not None:
        return terminal.safe(f"{edit.before.slug} -> {edit.slug}")
    return terminal.safe(edit.slug)


def _differences(edit: Edit) -> Iterator[str]:
    if edit.before is None or edit.after is None:
        return
    old = {"model": edit.before.model, **edit.before.input}
    new = {"model": edit.after.model, **edit.after.input}
    from batchgen import diff  # noqa: PLC0415 - only where a clip was edited

    for line in diff.fields(old, new):
        first, *more = terminal.wrap(terminal.safe(line), _COLUMNS - _INDENT - 4)
        yield f"      {first}"
        yield from (f"        {rest}" for rest in more)


def _table(quote: Quote) -> Iterator[str]:
    plan = quote.plan
    if not plan.buys:
        yield "  nothing to buy"
        return
    total = ("to buy", f"{plan.to_buy:,}", f"{plan.seconds:,}", dollars(plan.cost))
    head = (quote.axis, "clips", "seconds", "cost")
    rows = [head, *_rows(plan), total]
    names = max(10, *(terminal.width(row[0]) for row in rows))
    widths = [
        max(least, *(len(row[n]) for row in rows))
        for n, least in ((1, 8), (2, 8), (3, 9))
    ]
    lines = [_row(row, names, widths) for row in rows]
    yield from lines[:-1]
    yield "  " + "-" * (terminal.width(lines[-1]) - 2)
    yield f"{lines[-1]}     {_cap(quote)}"


def _rows(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    made, price = plan.made
    if made:
        yield f"(elements) x {made:,}", "", "", dollars(price)
    for name, (count, seconds, cost) in islice(plan.rows.items(), _ROWS):
        label = terminal.cut(terminal.safe(name), 36)
        yield label, f"{count:,}", f"{seconds:,}", dollars(cost)
    rest = list(plan.rows.values())[_ROWS:]
    if rest:
        count, seconds, cost = map(sum, zip(*rest, strict=True))
        label = f"({len(rest):,} more)"
        yield label, f"{count:,}", f"{seconds:,}", dollars(cost)


def _row(row: Sequence[str], names: int, widths: Sequence[int]) -> str:
    numbers = (
        cell.rjust(width + 2) for cell, width in zip(row[1:], widths, strict=True)
    )
    return f"  {terminal.left(row[0], names)}{''.join(numbers)}"


def _cap(quote: Quote) -> str:
    if quote.cap is None:
        return "no cap yet"
    left = quote.cap - quote.committed - quote.plan.cost
    verb = "leaves" if left >= 0 else "short by"
    return f"cap {dollars(quote.cap)}, {verb} {dollars(abs(left))}"


def _rehearsal(quote: Quote) -> Iterator[str]:
    """Both prices, so that nobody finds out afterwards that there was a cheaper one."""
    cheap, cost = quote.rehearsal, dollars(quote.plan.cost)
    if quote.final is not None:
        yield f"  rehearse {cost}, final {dollars(quote.final)} (without --model)"
    elif cheap is not None:
        yield f"  rehearse {dollars(cheap.cost)} (--model {cheap.model}), final {cost}"
    if quote.detailed and (cheap or quote.final is not None):
        yield f"    {NO_SEED}"


def _shard(quote: Quote) -> Iterator[str]:
    for text in quote.shard:
        yield from (f"  {line}" for line in terminal.wrap(text, _COLUMNS - 2))


def _product(quote: Quote) -> Iterator[str]:
    if quote.product:
        yield f"  {quote.product}"


def _prompt(quote: Quote) -> Iterator[str]:
    first = quote.first
    if first is None:
        return
    yield f"  first prompt ({first.slug}, {first.hash}):"
    room = _COLUMNS - _INDENT - 2
    lines = terminal.wrap(terminal.safe(first.prompt), room)
    shown = list(islice(lines, _PROMPT_LINES))
    if next(lines, None) is not None:
        shown[-1] += " …"
    yield from (" " * _INDENT + line for line in shown)


def _start(quote: Quote) -> Iterator[str]:
    parts = [f"pace {quote.pace}"] if quote.pace else []
    if quote.eta_s is not None:
        guess = "" if quote.measured else " (guess: no timings yet)"
        parts.append(f"{about(quote.eta_s)}{guess}")
    if parts and quote.plan.buys:
        yield "  " + "   ".join(parts)
    if quote.night is not None:
        yield f"  {_fits(quote.night, quote.plan.to_buy)}"
    yield f"  plan {quote.plan_id}   start with: {quote.command}"


def _fits(night: Night, clips_wanted: int) -> str:
    text = f"deadline {night.deadline:%a %H:%M} {night.zone}".rstrip()
    if not night.short_by_s:
        those = f"all {clips(clips_wanted)} start"
        those = "the one clip starts" if clips_wanted == 1 else those
        return f"{text}   {those} before it"
    return (
        f"{text}   the time is {duration(night.short_by_s)} too short for this plan: "
        f"about {night.clips_in_time:,} of {clips(clips_wanted)} start before it"
    )
