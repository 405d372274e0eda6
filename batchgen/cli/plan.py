"""`batchgen plan`: what a run would do and cost. Reads, spends nothing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import click

from batchgen import journal, report
from batchgen.buyer import Limits
from batchgen.cli import exits, settings
from batchgen.cli.colour import say
from batchgen.cli.order import Flags, Order, cap_of, place, policy_of
from batchgen.findings import as_json as finding_json
from batchgen.findings import render
from batchgen.models import Price
from batchgen.money import Micros, plain
from batchgen.profile import TIERS, WAVESPEED, Profile, profile_for
from batchgen.readers import sources
from batchgen.scalars import Rate
from batchgen.state import Status
from batchgen.tally import Tally
from batchgen.tasks import to_json
from batchgen.world import World

_RENDER_GUESS = 240.0  # seconds a 4K clip may take; nobody publishes it


def plan(
    *,
    manifest: Path,
    select: Sequence[str],
    limit: int | None,
    run_name: str | None,
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
    flags = Flags(select, limit, run_name, encoding, max_tasks, sandbox)
    order = place(manifest, env, flags)
    tally = Tally.of(journal.read(order.folder))
    order.check_deadline(tally, World().now())
    order.survey(tally, policy_of(order.manifest))
    if as_tasks:
        for line in lines(order):
            click.echo(line)
        return 0
    if order.findings and not (quiet or as_json):
        found = order.findings
        say(render(found, sources(found, encoding)) + "\n", err=True)
    cap = cap_of(order.manifest, None, env.ceiling)
    if as_json:
        exits.answer("plan", 0, "done", **document(order, tally, cap))
    else:
        page = replace(quote(order, tally, cap, manifest), detailed=verbose)
        say(report.plan_text(page), nl=False)
    return 0


def lines(order: Order) -> Iterator[str]:
    """The selected tasks as JSONL, which is itself a manifest."""
    for task in order.tasks():
        yield json.dumps(to_json(task), ensure_ascii=False)


def limits_of(order: Order, profile: Profile) -> Limits:
    """Pace as the manifest says it, else the service's own limits."""
    manifest = order.manifest
    tier = TIERS.get(manifest.tier or "")
    concurrency = manifest.concurrency or (tier or profile).concurrency
    if manifest.rate:
        return Limits(concurrency, manifest.rate.count, manifest.rate.seconds)
    return Limits(concurrency, (tier or profile).starts)


def reads_of(
    order: Order, profile: Profile, flag: Rate | None = None
) -> tuple[int, float]:
    """Looks in so many seconds: the flag, else the manifest, else the service's own."""
    wanted = flag or order.manifest.reads
    if wanted:
        return wanted.count, wanted.seconds
    return (TIERS.get(order.manifest.tier or "") or profile).reads, 1.0


def document(order: Order, tally: Tally, cap: Micros | None) -> dict[str, object]:
    """The plan as data."""
    plan, limits = order.plan, limits_of(order, profile_for(live=order.live))
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
        "seconds_of_video": plan.seconds,
        "cost_usd": _usd(plan.cost),
        "budget_usd": _usd(cap),
        "left_usd": _usd(left),
        "eta_s": round(eta(plan.to_buy, limits, profile_for(live=order.live))),
        "warnings": [finding_json(finding) for finding in order.findings],
    }


def quote(order: Order, tally: Tally, cap: Micros | None, path: Path) -> report.Quote:
    """The plan as a page."""
    profile = profile_for(live=order.live)
    limits = limits_of(order, profile)
    first = order.first
    flag = "" if order.live or not order.flags.sandbox else " --sandbox"
    expansion = order.expansion
    axes = expansion.axes if expansion else ()
    edited = {edit.after.id for edit in order.plan.edits if edit.after}
    wanted = order.chosen.keys() - edited
    done = sum(
        tally.ledger.cost(task, len(state.attempts))
        for task, state in tally.states.items()
        if task in wanted and state.status is Status.DONE
    )
    return report.Quote(
        run=order.folder.name,
        model=order.model.title,
        plan=order.plan,
        cap=cap,
        plan_id=order.plan_id,
        command=f"batchgen run {path}{flag}",
        committed=tally.ledger.committed,
        axis=axes[0][0] if axes else "clips",
        product=_product(order),
        first=report.First(first.slug, first.id[:8], _prompt(first.input))
        if first
        else None,
        pace=_pace(limits),
        eta_s=eta(order.plan.to_buy, limits, profile),
        fresh=not tally.states,
        done_cost=done,
    )


def eta(clips: int, limits: Limits, profile: Profile) -> float:
    """Seconds for so many clips, by the slots and by the starts, whichever is more."""
    one = _RENDER_GUESS if profile is WAVESPEED else 1.5
    slots = clips / limits.concurrency * one
    starts = clips / limits.starts * limits.seconds if limits.starts else 0.0
    return max(slots, starts) + one


def _product(order: Order) -> str:
    """How the clips multiply: `product 2 x locale 3 = 6, 1 excluded`."""
    found = order.expansion
    if found is None or not found.axes:
        return ""
    axes = " x ".join(f"{name} {count}" for name, count in found.axes)
    text = f"{axes} = {found.product}"
    text += f", {found.excluded} excluded" if found.excluded else ""
    return text + (f", {found.included} included" if found.included else "")


def _prompt(fields: object) -> str:
    assert isinstance(fields, dict)  # noqa: S101 - a request body
    scenes = fields.get("multi_prompt") or ()
    return str(fields.get("prompt") or " / ".join(scene["prompt"] for scene in scenes))


def _pace(limits: Limits) -> str:
    text = f"{limits.concurrency} at a time"
    if limits.starts:
        unit = {1.0: "second", 60.0: "minute", 3600.0: "hour"}[limits.seconds]
        text += f", {limits.starts} starts a {unit}"
    return text


def _usd(amount: Micros | None) -> object:
    return None if amount is None else Decimal(plain(amount))
