"""`batchgen models --refresh`: the account's own list, shown before it is kept."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from batchgen import refreshed
from batchgen.cli import exits, results, settings
from batchgen.cli.colour import say
from batchgen.cli.session import Account, connected, first_contact
from batchgen.client import Client
from batchgen.errors import Unavailable, UsageError
from batchgen.models import Model, Price, catalog, published
from batchgen.models.live import Live, changes
from batchgen.money import Micros, dollars
from batchgen.profile import profile_of
from batchgen.refreshed import Entry, Refreshed
from batchgen.spelling import near
from batchgen.world import World

_LENGTHS = (5, 10)  # seconds; two lengths tell whether a price is one of a second
Quotes = dict[tuple[int, bool], Micros]


@dataclass(frozen=True, slots=True)
class Found:
    """One model of the list, and how it differs from what was known."""

    entry: Entry
    lines: list[str] = field(default_factory=list)
    new: bool = False


def refresh(*, name: str | None, yes: bool, as_json: bool) -> int:
    """Ask, show what has changed, and keep it if that is wanted.

    Raises:
        UsageError: no key, no such model, or nobody to ask.
        ApiError: the key is refused.
    """
    env = settings.read()
    if not env.key:
        raise UsageError(
            "no API key",
            rule="no-key",
            advice="set WAVESPEED_API_KEY (or WAVESPEED_API_KEY_FILE)",
        )
    account = Account(env.base_url, env.key, profile_of(env.base_url), env.proxy)
    folder = refreshed.place(env.lists, env.base_url)
    known = Refreshed(catalog(), folder, env.base_url, _warn)
    found = anyio.run(partial(_ask, account, known, name))
    listed = {one.entry.live.id for one in found}
    gone = [] if name else [one.id for one in catalog() if one.id not in listed]
    if not as_json:
        for line in _shown(found, gone):
            say(line)
    kept = yes or (not as_json and _wanted(found))
    if kept:
        _keep(folder, found, env.base_url, whole=name is None)
    if as_json:
        rows = [{"model": one.entry.live.id, "new": one.new, "lines": one.lines}
                for one in found if one.new or one.lines]  # fmt: skip
        exits.answer(
            "models", 0, "done", folder=str(folder), listed=len(found),
            changed=rows, gone=gone, kept=kept,
        )  # fmt: skip
    elif kept:
        say(f"kept in {folder}; identity stays as batchgen ships it", err=True)
    return 0


async def _ask(account: Account, known: Refreshed, name: str | None) -> list[Found]:
    pace = (account.profile.reads, 1.0)
    async with connected(account, pace, World()) as client:
        await first_contact(client, account, _warn)
        listed = await client.models()
        client.schemas.update((one.id, one.schema) for one in listed.values())
        wanted = list(listed.values()) if name is None else [_one(name, listed)]
        return [await _look(client, live, known, asked=bool(name)) for live in wanted]


def _one(name: str, listed: Mapping[str, Live]) -> Live:
    model = catalog().find(name)
    found = listed.get(model.id if model else name)
    if found is None:
        meant = near(name, listed, cutoff=0.5)
        raise UsageError(
            f"the account's list has no model {name}",
            rule="unknown-model",
            advice=f"Did you mean {meant}?" if meant else "",
        )
    return found


async def _look(client: Client, live: Live, known: Refreshed, *, asked: bool) -> Found:
    """Compare one model with what is known of it, and ask for its price."""
    shipped = catalog().find(live.id)
    before = known.entry(live.id)
    schema = before.live.schema if before else None
    if schema is None and shipped is not None:
        schema = published(shipped.schema)
    lines = [] if schema is None else list(changes(schema, live.schema))
    old = before.price if before else None
    old = old or (shipped.price if shipped else None)
    price = before.price if before else None
    if asked or shipped or price:
        try:
            quotes = await _quotes(client, live, shipped)
        except Unavailable as error:
            _warn(f"no quote for {live.id}: {error.message}")
        else:
            price = refreshed.fitted(quotes)
            lines += _prices(price, old, quotes)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return Found(Entry(live, today, price), lines, new=schema is None)


async def _quotes(client: Client, live: Live, shipped: Model | None) -> Quotes:
    body = _example(live, shipped)
    lengths = _lengths(live)
    loud = (
        (False, True) if live.fields.get("sound", {}).get("type") == "boolean" else ()
    )
    found: Quotes = {}
    for length in lengths:
        for sound in loud or (False,):
            asked = {**body, "duration": length} if length else body
            asked = {**asked, "sound": sound} if loud else asked
            found[length, sound] = (await client.price(live.id, asked)).amount
    return found


def _lengths(live: Live) -> tuple[int, ...]:
    """Two lengths that the model takes, one if there is no other, else none."""
    schema = live.fields.get("duration")
    if schema is None:
        return (0,)
    whole = [one for one in schema.get("enum") or () if type(one) is int]
    whole = whole or [one for one in _LENGTHS if _within(one, schema)]
    usual = [one for one in _LENGTHS if one in whole]
    return tuple(usual if len(usual) > 1 else dict.fromkeys((whole[0], whole[-1])))


def _within(length: int, schema: Mapping[str, Any]) -> bool:
    low, high = schema.get("minimum", length), schema.get("maximum", length)
    return bool(low <= length <= high)


def _example(live: Live, shipped: Model | None) -> dict[str, Any]:
    """A whole request: partial ones are quoted the floor without a word."""
    if shipped is not None:
        return shipped.request(shipped.examples[0]["input"])
    body = {
        name: schema["default"]
        for name, schema in live.fields.items()
        if schema.get("default") not in (None, "", [])
    }
    return {"prompt": "a boat", **body} if "prompt" in live.fields else body


def _prices(price: Price | None, old: Price | None, quotes: Quotes) -> Iterator[str]:
    if price is None:
        told = ", ".join(
            f"{length} s{' with sound' if sound else ''} {dollars(amount)}"
            for (length, sound), amount in quotes.items()
        )
        yield f"! its quotes follow no rule of ours ({told}): write a `price`"
        return
    if old is None:
        yield f"+ price {_rates(price)}"
        return
    for (length, sound), amount in quotes.items():
        before = old.of({"duration": length, "sound": sound})
        if before != amount:
            yield f"~ price {_rates(old)} -> {_rates(price)}"
            return


def _rates(price: Price) -> str:
    if price.per_second is None:
        return f"{dollars(price.per_task or 0)} each"
    text = f"{dollars(price.per_second)} a second"
    if price.per_second_with_sound is not None:
        text += f" ({dollars(price.per_second_with_sound)} with sound)"
    return text


def _shown(found: list[Found], gone: list[str]) -> Iterator[str]:
    for one in found:
        if one.lines:
            yield one.entry.live.id
            yield from (f"  {line}" for line in one.lines)
    yield from (f"{name}\n  - not in the account's list any more" for name in gone)
    new = sum(one.new for one in found)
    changed = sum(bool(one.lines) for one in found if not one.new)
    yield f"{len(found):,} models listed: {changed:,} changed, {new:,} new here"


def _wanted(found: list[Found]) -> bool:
    if not found:
        return False
    if not sys.stdin.isatty():
        raise UsageError(
            "there is nobody to ask", rule="no-terminal", advice="To keep it add --yes."
        )
    return click.confirm("Keep this list for prices and checks?", err=True)


def _keep(folder: Path, found: list[Found], base_url: str, *, whole: bool) -> None:
    """Write a file a model; a whole list takes away those that are not on it."""
    names = {refreshed.file_name(one.entry.live.id) for one in found}
    for one in found:
        path = folder / refreshed.file_name(one.entry.live.id)
        results.publish(path, refreshed.text_of(one.entry, base_url))
    for path in folder.glob("*.json") if whole else ():
        if path.name not in names:
            path.unlink()


def _warn(text: str) -> None:
    say(f"warning: {text}", err=True)
