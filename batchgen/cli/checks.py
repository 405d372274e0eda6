"""What is asked of the service before money is spent. None of it blocks by silence."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice

from batchgen.answers import when
from batchgen.cli.session import Account
from batchgen.client import Client
from batchgen.errors import JournalError, Unavailable, UsageError
from batchgen.events import AttemptAccepted
from batchgen.models import Catalog
from batchgen.money import dollars
from batchgen.records import Record
from batchgen.tally import Tally
from batchgen.task import Task, priced

_SOME = 100  # tasks looked through for one of each model

Warn = Callable[[str], None]


async def prices(
    client: Client, tasks: Iterable[Task], models: Catalog, warn: Warn
) -> None:
    """Compare our price of one task of each model with the service's quote.

    Raises:
        UsageError: they differ, so the plan's figures would be wrong.
    """
    for task in _samples(tasks, models):
        try:
            quote = await client.price(task.model, task.input)
        except Unavailable as error:
            warn(f"the service's price cannot be read: {error.message}")
            return
        if quote != task.price:
            raise UsageError(
                f"the service asks {dollars(quote)} for {task.slug}, the catalog says "
                f"{dollars(task.price)}",
                rule="price-changed",
                advice="Nothing was submitted. Set `price` in the manifest, or take "
                "the account's own list: batchgen models --refresh",
            )


def _samples(tasks: Iterable[Task], models: Catalog) -> list[Task]:
    """One task of each model whose price is the catalog's; a person's own is theirs."""
    found: dict[str, Task] = {}
    for task in islice(tasks, _SOME):
        model = models.find(task.model)
        if model and model.price.of(priced(model, task.input)) == task.price:
            found.setdefault(task.model, task)
    return list(found.values())


async def key(
    client: Client,
    tally: Tally,
    records: Sequence[Record],
    account: Account,
    warn: Warn,
) -> None:
    """Another key may be another account, which does not know our predictions.

    Raises:
        JournalError: it does not know the newest one.
    """
    before = tally.session.key if tally.session else ""
    if before in ("", account.fingerprint):
        return
    warn(f"the key has changed: it was {before}, now it is {account.fingerprint}")
    newest = _newest(records, client, account)
    if newest is None:
        return
    try:
        await client.result(newest)
    except Unavailable as error:
        if error.http != 404:  # noqa: PLR2004
            return
        raise JournalError(
            f"this key's account does not know prediction {newest} of this run",
            rule="other-account",
            advice="Nothing was submitted. Use the key of the account that bought it, "
            "or --run NAME for a run of its own.",
        ) from error


def _newest(records: Sequence[Record], client: Client, account: Account) -> str | None:
    """The newest prediction that the service must still know."""
    now = when(client.service_time())
    for record in reversed(records):
        if isinstance(record.event, AttemptAccepted):
            at = when(record.at)
            keeps = timedelta(seconds=account.profile.retention)
            recent = bool(now and at and now - at < keeps)
            return record.event.prediction if recent else None
    return None
