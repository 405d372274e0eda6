"""`batchgen plan`: what a run would do and cost. Reads, spends nothing."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from batchgen import logbook
from batchgen.cli import exits, settings, split
from batchgen.cli.colour import say
from batchgen.cli.order import Flags, Order, cap_of, command, place, policy_of
from batchgen.clock import iso, now
from batchgen.deadline import zone_of
from batchgen.errors import JournalError, ManifestError, StoreError, UsageError
from batchgen.findings import as_json as finding_json
from batchgen.findings import render
from batchgen.forecast import Forecast, render_time
from batchgen.given import Rate
from batchgen.models import Price
from batchgen.money import Micros, plain
from batchgen.plan import Plan
from batchgen.profile import TIERS, WAVESPEED, Limits, Profile, profile_for
from batchgen.quote import First, Night, Quote, plan_text
from batchgen.readers import sources
from batchgen.records import Record
from batchgen.shapes import Rehearsal, rehearsal
from batchgen.shards import Shard
from batchgen.starts import deadline_of
from batchgen.state import Status
from batchgen.tally import Tally
from batchgen.task import to_line
from batchgen.words import duration

_RENDER_GUESS = 240.0  # seconds a 4K clip may take; nobody publishes it
_SANDBOX_GUESS = 1.5
_OTHER_RUNS = 3  # the newest runs may know how long a clip takes
_LONGEST_JOURNAL = 20_000_000  # bytes; a plan is a matter of a moment


def plan(
    *,
    manifest: Path,
    select: Sequence[str],
    limit: int | None,
    run_name: str | None,
    model: str | None,
    shard: Shard | None,
    max_tasks: int,
    encoding: str | None,
    as_tasks: bool,
    sandbox: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show the plan."""
    env = settings.read()
    brief = not (as_tasks or verbose)
    flags = Flags(
        select, limit, run_name, encoding, max_tasks, sandbox, model, shard, brief
    )
    order = place(manifest, env, flags)
    split.refuse_another(order.folder, shard)
    tally, moment = Tally(), now()
    records = logbook.read(order.folder, hear=tally.hear)
    order.begin(records, moment)
    order.survey(tally, policy_of(order.manifest))
    if as_tasks:
        for line in lines(order):
            click.echo(line)
        return 0
    if order.findings and not (quiet or as_json):
        found = order.findings
        say(render(found, sources(found, encoding)) + "\n", err=True)
    cap = cap_of(order.manifest, None, env.ceiling, shard)
    outlook = outlook_of(order, records)
    night = _night(order, outlook, records, moment)
    cheap, final = rehearsal(order.plan.lots, order.models), _final(order, env, moment)
    if as_json:
        facts = document(order, tally, cap, outlook)
        if night:
            facts |= {**night, "deadline": iso(night["deadline"])}
            del facts["zone"]
        facts["rehearsal"] = _both(order, cheap, final)
        facts |= _shard(order, cap_of(order.manifest, None, env.ceiling))
        exits.answer("plan", 0, "done", **facts)
    else:
        page = replace(
            quote(order, tally, cap, manifest, outlook),
            detailed=verbose,
            night=Night(**night) if night else None,
            rehearsal=cheap,
            final=final,
            shard=_told_of_shard(
                order, tally, cap_of(order.manifest, None, env.ceiling)
            ),
        )
        say(plan_text(page), nl=False)
    return 0


def lines(order: Order) -> Iterator[str]:
    """The selected tasks as JSONL, which is itself a manifest."""
    for task in order.tasks(whole=True):
        yield to_line(task)


def limits_of(order: Order, profile: Profile) -> Limits:
    """Pace as the manifest says it, else the service's own limits; a shard's part."""
    manifest = order.manifest
    tier = TIERS.get(manifest.tier or "")
    concurrency = manifest.concurrency or (tier or profile).concurrency
    limits = Limits(concurrency, (tier or profile).starts)
    if manifest.rate:
        limits = Limits(concurrency, manifest.rate.count, manifest.rate.seconds)
    return order.flags.shard.pace(limits) if order.flags.shard else limits


def reads_of(
    order: Order, profile: Profile, flag: Rate | None = None
) -> tuple[int, float]:
    """Looks in so many seconds: the flag, else the manifest, else the service's own."""
    if flag:
        return flag.count, flag.seconds
    tier, shard = TIERS.get(order.manifest.tier or ""), order.flags.shard
    wanted = order.manifest.reads or Rate((tier or profile).reads, 1.0)
    count, seconds = wanted.count, wanted.seconds
    if shard is None:
        return count, seconds
    reads = shard.pace(Limits(1, count, seconds))
    return reads.starts or 1, reads.seconds


def outlook_of(order: Order, records: Sequence[Record]) -> Forecast:
    """The plan's pace, with the render times of this run, else of the newest ones."""
    profile = profile_for(live=order.live)
    limits = limits_of(order, profile)
    guess = _RENDER_GUESS if profile is WAVESPEED else _SANDBOX_GUESS
    seen = render_time(records, order.manifest.model)
    for folder in [] if seen else _others(order):
        with contextlib.suppress(JournalError, StoreError):
            seen = seen or render_time(logbook.read(folder), order.manifest.model)
    return Forecast(
        limits.concurrency,
        limits.starts,
        limits.seconds,
        render_s=seen or guess,
        measured=seen is not None,
    )


def _others(order: Order) -> list[Path]:
    """The newest runs of the same service."""
    found = []
    for path in order.folder.parent.glob(f"*/{logbook.NAME}"):
        if path.parent.name.endswith(".sandbox") is not order.live:
            status = path.stat()
            if status.st_size <= _LONGEST_JOURNAL:
                found.append((status.st_mtime, path.parent))
    return [folder for _, folder in sorted(found, reverse=True)[:_OTHER_RUNS]]


def _night(
    order: Order, outlook: Forecast, records: Sequence[Record], now: datetime
) -> dict[str, Any]:
    """Whether the plan fits before its deadline."""
    wanted, clips = order.manifest.deadline, order.plan.to_buy
    if wanted is None or not clips:
        return {}
    deadline = deadline_of(wanted, records, now)
    room = (deadline - now).total_seconds()
    return {
        "deadline": deadline.astimezone(zone_of(wanted.zone)),
        "zone": wanted.zone,
        "short_by_s": round(max(0.0, outlook.until_last_start(clips) - room)),
        "clips_in_time": min(clips, outlook.started_within(room)),
    }


def _final(order: Order, env: settings.Settings, now: datetime) -> Micros | None:
    """What a rehearsed manifest would cost as it stands; None if it is not rehearsed.

    Of the same selection; what its own run has bought already costs nothing more.
    """
    path = order.manifest.path
    if order.flags.model is None or str(path) == "-":
        return None
    final = place(path, env, replace(order.flags, model=None, run=None))
    tally = Tally()
    records = logbook.read(final.folder, hear=tally.hear)
    final.begin(records, now)
    try:
        final.survey(tally, policy_of(final.manifest))
    except (UsageError, ManifestError):
        return None  # the selection means something in the rehearsal alone
    return final.plan.cost


def _both(
    order: Order, cheap: Rehearsal | None, final: Micros | None
) -> dict[str, object] | None:
    """The price of a rehearsal and of the final, as data."""
    cost = order.plan.cost
    if final is not None:
        model = order.model.alias
        return {"model": model, "cost_usd": _usd(cost), "final_usd": _usd(final)}
    if cheap is None:
        return None
    return {
        "model": cheap.model,
        "cost_usd": _usd(cheap.cost),
        "final_usd": _usd(cost),
    }


def document(
    order: Order, tally: Tally, cap: Micros | None, outlook: Forecast
) -> dict[str, object]:
    """The plan as data."""
    plan = order.plan
    left = None if cap is None else cap - tally.ledger.committed
    counts = {name: plan.counts.get(name, 0) for name in ("new", "changed", "renamed")}
    counts |= {
        "removed": len(plan.removed),
        "done": plan.counts.get("done", 0),
        "to_buy": plan.to_buy,
    }
    price: Price = order.model.price
    return {
        "run": order.folder.name,
        "plan": order.plan_id,
        "model": order.manifest.model,
        "price_per_second_usd": _usd(price.per_second),
        "counts": counts,
        **_elements(plan),
        "seconds_of_video": plan.seconds,
        "cost_usd": _usd(plan.cost),
        "budget_usd": _usd(cap),
        "left_usd": _usd(left),
        "eta_s": round(outlook.span(plan.to_buy)),
        "eta_measured": outlook.measured,
        "warnings": [finding_json(finding) for finding in order.findings],
    }


def _elements(plan: Plan) -> dict[str, object]:
    """What clips show, where they show anything; it is no clip."""
    if not plan.elements:
        return {}
    return {"elements": {"total": plan.elements, "to_buy": plan.made[0]}}


def _shard(order: Order, cap: Micros | None) -> dict[str, object]:
    """Which part of the run it is, and what the others cost; `cap` is the whole."""
    shard, found = order.flags.shard, order.expansion
    if shard is None or found is None:
        return {}
    return {
        "shard": {
            "number": shard.number,
            "count": shard.count,
            "clips_of_all": found.count,
            "cheapest_usd": _usd(min(order.loads)),
            "dearest_usd": _usd(max(order.loads)),
            "budget_of_all_usd": _usd(cap),
        }
    }


def _told_of_shard(order: Order, tally: Tally, cap: Micros | None) -> tuple[str, ...]:
    """The same for people."""
    shard, found = order.flags.shard, order.expansion
    if shard is None or found is None:
        return ()
    need = tally.ledger.committed + order.plan.cost
    return tuple(split.lines(shard, found.count, order.loads, cap, need, order.plan))


def quote(
    order: Order, tally: Tally, cap: Micros | None, path: Path, outlook: Forecast
) -> Quote:
    """The plan as a page."""
    first = order.first
    expansion = order.expansion
    axes = expansion.axes if expansion else ()
    edited = {edit.after.id for edit in order.plan.edits if edit.after}
    wanted = order.chosen.keys() - order.elements.keys() - edited
    done = sum(
        tally.ledger.cost(task, len(state.attempts))
        for task, state in tally.states.items()
        if task in wanted and state.status is Status.DONE
    )
    return Quote(
        run=order.folder.name,
        model=order.model.title,
        plan=order.plan,
        cap=cap,
        plan_id=order.plan_id,
        command=command(path, order.flags, whole=False),
        committed=tally.ledger.committed,
        axis=axes[0][0] if axes else "clips",
        product=_product(order),
        first=First(first.slug, first.id[:8], _prompt(first.input)) if first else None,
        pace=_pace(outlook),
        eta_s=outlook.span(order.plan.to_buy),
        measured=outlook.measured,
        fresh=not tally.states,
        done_cost=done,
    )


def _product(order: Order) -> str:
    """How the clips multiply: `product 2 x locale 3 = 6, 1 excluded`."""
    found = order.expansion
    if found is None or not found.axes:
        return ""
    alone = [name for name, _ in found.axes] == ["prompt"]
    if alone and not (found.excluded or found.included):
        return ""
    axes = " x ".join(f"{name} {count}" for name, count in found.axes)
    text = f"{axes} = {found.product}"
    text += f", {found.excluded} excluded" if found.excluded else ""
    return text + (f", {found.included} included" if found.included else "")


def _prompt(fields: object) -> str:
    assert isinstance(fields, dict)  # noqa: S101 - a request body
    scenes = fields.get("multi_prompt") or ()
    return str(fields.get("prompt") or " / ".join(scene["prompt"] for scene in scenes))


def _pace(outlook: Forecast) -> str:
    text = f"{outlook.concurrency} at a time"
    if outlook.starts:
        unit = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour"}
        every = unit.get(outlook.seconds, f"in {duration(outlook.seconds)}")
        text += f", {outlook.starts} start{'s' * (outlook.starts > 1)} {every}"
    return text


def _usd(amount: Micros | None) -> object:
    return None if amount is None else Decimal(plain(amount))
