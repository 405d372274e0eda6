"""`batchgen status RUN --statement`: a run beside the service's bills. Only reads."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, fields
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import anyio

from batchgen import journal, terminal
from batchgen.audit import spans
from batchgen.cli import exits, results, settings
from batchgen.cli.colour import say
from batchgen.cli.session import Account, check_endpoint, connected, first_contact
from batchgen.client import Client
from batchgen.errors import ApiError, Unavailable, UsageError
from batchgen.listings import Bill
from batchgen.money import dollars, plain
from batchgen.profile import Profile, profile_of
from batchgen.records import Record
from batchgen.report import to_json
from batchgen.statement import Row, Sums, statement, total
from batchgen.tally import Tally
from batchgen.world import World

_AT_ONCE = 50
_PATIENCE = 30.0  # seconds at the end of a run
_COLUMNS = {
    "planned": "planned",
    "charged": "charged",
    "refunded": "refunded",
    "refund_expected": "expected",
    "kept": "kept",
    "unexplained": "unexplained",
}


def show(folder: Path, *, as_json: bool) -> int:
    """Ask billing and tell; the state file stays as it is.

    Raises:
        UsageError: there is no key.
        ApiError: billing does not answer.
    """
    env = settings.read()
    if not env.key:
        raise UsageError(
            "no API key",
            rule="no-key",
            advice="set WAVESPEED_API_KEY (or WAVESPEED_API_KEY_FILE)",
        )
    account = Account(env.base_url, env.key, profile_of(env.base_url), env.proxy)
    tally = Tally()
    records = journal.read(folder, hear=tally.hear)
    check_endpoint(tally, account)
    rows = anyio.run(_ask, account, tally, records)
    if as_json:
        exits.answer("statement", 0, "done", **document(folder.name, rows))
        return 0
    for line in _lines(rows):
        say(terminal.safe(line))
    return 0


async def _ask(account: Account, tally: Tally, records: Sequence[Record]) -> list[Row]:
    pace = (account.profile.reads, 1.0)
    async with connected(account, pace, World()) as client:
        await first_contact(client, account, lambda text: say(text, err=True))
        try:
            return await gather(client, tally, records, account.profile)
        except Unavailable as error:
            raise ApiError(
                f"the billing cannot be read: {error.message}",
                http=error.http,
                rule="no-billing",
                advice="Nothing was changed. Not every key may look at billing.",
            ) from error


async def gather(
    client: Client, tally: Tally, records: Sequence[Record], profile: Profile
) -> list[Row]:
    """The rows of a run: our predictions, and all of our models in our sessions.

    Each of ours is asked for by name, too: a second charge, or a refund, may have come
    when no session was open.

    Raises:
        Unavailable: billing cannot be read whole.
    """
    ids = [
        attempt.prediction
        for state in tally.states.values()
        for attempt in state.attempts
        if attempt.prediction
    ]
    bills: dict[str, Bill] = {}
    strangers: dict[str, str] = {}
    now = client.clock.at_most()
    wide = timedelta(seconds=profile.accept_settle)
    models = {state.planned.model for state in tally.states.values() if state.planned}
    for model in sorted(models):
        for since, until in spans(records, now):
            found = await client.billed(model, since - wide, until + wide)
            strangers |= dict.fromkeys(found, model)
            bills |= found
    for first in range(0, len(ids), _AT_ONCE):
        bills |= await client.bills(ids[first : first + _AT_ONCE])
    return statement(tally, bills, strangers)


async def leave(
    client: Client,
    folder: Path,
    tally: Tally,
    records: Sequence[Record],
    profile: Profile,
) -> None:
    """Write `statement.json` and `statement.csv`; a silent billing leaves none.

    What cannot be written is told and left out. `tally` and `records` are those of the
    whole run.
    """
    rows: list[Row] | None = None
    with anyio.move_on_after(_PATIENCE), suppress(Unavailable):
        rows = await gather(client, tally, records, profile)
    if rows is None:
        return
    told = document(folder.name, rows)
    head = {"schema": "batchgen.statement/1"}
    text = StringIO()
    writer = csv.DictWriter(text, told["rows"][0] if rows else ["prediction"])
    writer.writeheader()
    writer.writerows(told["rows"])
    with results.spared():
        results.publish(folder / "statement.json", to_json(head | told) + "\n")
        results.publish(folder / "statement.csv", text.getvalue())


def document(run: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The statement as data; amounts are US dollars."""
    shown = [
        {
            "prediction": row.prediction,
            "model": row.model,
            "slug": row.slug,
            "attempt": row.attempt,
            **_usd(row.sums),
            "note": row.note,
        }
        for row in rows
    ]
    return {"run": run, "rows": shown, "total": _usd(total(rows))}


def _usd(sums: Sums) -> dict[str, Decimal]:
    return {
        f"{one.name}_usd": Decimal(plain(getattr(sums, one.name)))
        for one in fields(sums)
    }


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    """Rows that explain themselves are counted; the others are shown."""
    widths = [max(12, len(head) + 2) for head in _COLUMNS.values()]
    heads = zip(_COLUMNS.values(), widths, strict=True)
    yield "".join(head.rjust(width) for head, width in heads)
    yield f"{_amounts(total(rows), widths)}  total of {len(rows):,}"
    for row in rows:
        if row.note or row.sums.unexplained:
            told = row.note or "unexplained"
            yield f"{_amounts(row.sums, widths)}  {row.slug} {row.prediction} {told}"


def _amounts(sums: Sums, widths: Sequence[int]) -> str:
    amounts = astuple(sums)
    cells = zip(amounts, widths, strict=True)
    return "".join(dollars(amount).rjust(width) for amount, width in cells)
