"""What is asked of the service before money is spent. None of it blocks by silence."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from batchgen.answers import when
from batchgen.cli.session import Account
from batchgen.client import Client
from batchgen.errors import JournalError, Unavailable, UsageError
from batchgen.events import AttemptAccepted
from batchgen.models import Catalog, Price
from batchgen.models.live import faults, used
from batchgen.money import dollars
from batchgen.records import Record
from batchgen.shapes import Lot, Lots, Shape, distinct
from batchgen.tally import Tally
from batchgen.task import priced

_QUOTES = 24  # asked at most: one for each model, length and sound

Warn = Callable[[str], None]


async def schemas(
    client: Client, lots: Lots, models: Catalog, warn: Warn, *, written: bool
) -> None:
    """Hold what is to be bought against the account's own list of models.

    `written`: a person has written the price, and so has decided on the model.

    Raises:
        UsageError: a model is not listed, or does not take a field that is used.
    """
    try:
        listed = await client.models()
    except Unavailable as error:
        warn(f"the list of models cannot be read: {error.message}")
        return
    client.schemas.update((one.id, one.schema) for one in listed.values())
    for shape, lot in lots.items():
        live = listed.get(shape.model)
        if live is None:
            _unlisted(shape.model, warn, stop=not (written or _own(shape, lot, models)))
            continue
        model = models.find(shape.model)
        defaults = model.identity_defaults if model else {}
        fields = used(shape.fields, defaults, live.schema)
        for _, fault in faults(fields, live.schema):
            raise UsageError(
                f"{shape.model} {fault} ({lot.first.slug})",
                rule="absent-field",
                advice="Nothing was submitted. This is the account's live schema; "
                "`batchgen models --refresh` shows all that has changed.",
            )


def _unlisted(model: str, warn: Warn, *, stop: bool) -> None:
    message = f"the account's list of models does not have {model}"
    if not stop:
        warn(message)
        return
    raise UsageError(
        message,
        rule="model-gone",
        advice="Nothing was submitted. `batchgen models --refresh` shows what there "
        "is; a `price` in the manifest takes the model all the same.",
    )


async def prices(
    client: Client, lots: Lots, models: Catalog, warn: Warn, *, written: bool
) -> str:
    """Compare our prices with the service's quotes; the endpoint that gave them.

    One question for each model, length and sound. A price that a person has `written`
    is theirs: where it differs, they are told.

    Raises:
        UsageError: a price of the catalog differs, so the plan's figures are wrong.
    """
    source = ""
    for shape, lot in distinct(lots, _QUOTES):
        task = lot.first
        try:
            quote = await client.price(task.model, task.input)
        except Unavailable as error:
            warn(
                f"the service's price cannot be read: {error.message}; the catalog's "
                "figures hold"
            )
            return source
        source = quote.source
        if quote.amount == task.price:
            continue
        asks = f"the service asks {dollars(quote.amount)} for {task.slug}"
        if written or _own(shape, lot, models):
            warn(f"note: {asks}, the manifest's price makes it {dollars(task.price)}")
            continue
        raise UsageError(
            f"{asks}, the catalog says {dollars(task.price)}",
            rule="price-changed",
            advice="Nothing was submitted. Set `price` in the manifest, or take "
            "the account's own list: batchgen models --refresh",
        )
    return source


def _own(shape: Shape, lot: Lot, models: Catalog) -> bool:
    """Whether a person has written the price."""
    model = models.find(shape.model)
    if model is None or model.price == Price():
        return True
    try:
        return model.price.of(priced(model, lot.first.input)) != shape.price
    except (KeyError, TypeError):
        return True


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
    now = client.clock.at_most()
    for record in reversed(records):
        if isinstance(record.event, AttemptAccepted):
            at = when(record.at)
            keeps = timedelta(seconds=account.profile.retention)
            recent = bool(at and now - at < keeps)
            return record.event.prediction if recent else None
    return None
