"""`batchgen models`: what may be bought, its fields and its price. Spends nothing."""

import textwrap
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import asdict

from batchgen.cli import exits, settings
from batchgen.cli.colour import say
from batchgen.cli.order import known_models
from batchgen.errors import UsageError
from batchgen.models import DEFAULT_MODEL, Catalog, Model, Price
from batchgen.money import Micros, dollars, plain
from batchgen.spelling import listed, near

_WIDTH = 80
_LENGTHS = (3, 5, 10, 15)  # seconds that people buy


def models(
    *,
    name: str | None,
    refresh: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show one model in detail, or all of them."""
    del verbose  # a name shows all there is
    if refresh:
        from batchgen.cli.refresh import refresh as take  # noqa: PLC0415 - heavy

        return take(name=name, yes=yes, as_json=as_json)
    known = known_models(settings.read(), sandbox=False)
    shown = [*known] if name is None else [_model(name, known)]
    if as_json:
        exits.answer("models", 0, "done", models=[document(model) for model in shown])
    elif name is None:
        for model in shown:
            for line in _short(model, quiet=quiet):
                say(line)
    else:
        for line in _detail(shown[0]):
            say(line)
    return 0


def _model(name: str, known: Catalog) -> Model:
    found = known.find(name)
    if found is None:
        words = [word for model in known for word in (model.alias, model.id)]
        meant = near(name, words, cutoff=0.5)
        raise UsageError(
            f"no model {name} in the catalog",
            rule="unknown-model",
            advice=f"Did you mean {meant}?" if meant else "`batchgen models` shows it.",
        )
    return found


def document(model: Model) -> dict[str, Any]:
    """A model as data; prices are US dollars."""
    price = {
        f"{unit}_usd": Decimal(plain(amount))
        for unit, amount in asdict(model.price).items()
        if amount is not None
    }
    return {
        "id": model.id,
        "alias": model.alias,
        "title": model.title,
        "kind": model.kind,
        "default": model.id == DEFAULT_MODEL,
        "price": price,
        "resolution": model.resolution,
        "snapshot": model.snapshot,
        "source": model.source,
        "note": model.note,
        "schema": model.schema,
        "editions": [asdict(edition) for edition in model.editions],
    }


def _short(model: Model, *, quiet: bool) -> Iterator[str]:
    """A line or two of the list."""
    default = "  (default)" if model.id == DEFAULT_MODEL else ""
    yield f"{model.alias:<24}{_rate(model.price)}{default}"
    if not quiet:
        yield f"  {model.id}, {_size(model)}schema of {model.snapshot}"
        yield from _wrapped(", ".join(model.schema["properties"]), "  ")


def _detail(model: Model) -> Iterator[str]:
    yield model.title
    yield from _row("id", model.id)
    yield from _row("alias", model.alias)
    yield from _row("price", _rate(model.price))
    yield from _lengths(model.price)
    if model.resolution:
        yield from _row("clip", f"{model.resolution} pixels on the short side, mp4")
    yield from _row("snapshot", model.snapshot)
    yield from _row("source", model.source)
    yield "  fields"
    needed = model.schema.get("required", ())
    for name, schema in model.schema["properties"].items():
        must = "needed; " if name in needed else ""
        says = f"{must}{bounds(schema)}. {schema.get('description', '')}"
        yield from _wrapped(f"{name:<18}{says}", "    ", " " * 22)
    for edition in model.editions:
        says = f"{edition.date}, {edition.source}: another"
        yield from _row("also seen", f"{says} {listed(edition.properties)}")
    if model.note:
        yield from _row("note", model.note)


def bounds(schema: Mapping[str, Any]) -> str:
    """What a field takes, in a few words: `3 to 15, else 5`."""
    low, high, most = (schema.get(key) for key in ("minimum", "maximum", "maxItems"))
    if "enum" in schema:
        says = listed(schema["enum"], "or")
    elif low is not None and high is not None:
        says = f"{low} to {high}"
    elif most is not None:
        says = f"a list of at most {most}"
    elif "maxLength" in schema:
        says = f"text of at most {schema['maxLength']:,} characters"
    else:
        words = {"boolean": "true or false", "string": "text", "array": "a list"}
        says = words.get(schema.get("type", ""), str(schema.get("type", "anything")))
    default = schema.get("default")
    if default is None:
        return says
    return f"{says}, else {str(default).lower()}"


def _rate(price: Price) -> str:
    if price == Price():
        return "no price"
    if price.per_second is None:
        return f"{dollars(price.per_task or 0)} each"
    text = f"{dollars(price.per_second)} a second"
    if price.per_second_with_sound is not None:
        text += f", {dollars(price.per_second_with_sound)} with sound"
    return text


def _lengths(price: Price) -> Iterator[str]:
    rates: list[tuple[str, Micros | None]] = [
        ("", price.per_second),
        ("with sound ", price.per_second_with_sound),
    ]
    for word, rate in rates:
        if rate is not None:
            sums = [f"{length} s {dollars(rate * length)}" for length in _LENGTHS]
            yield from _row("", word + ", ".join(sums))


def _size(model: Model) -> str:
    return f"{model.resolution}p, " if model.resolution else ""


def _row(label: str, text: str) -> Iterator[str]:
    yield from _wrapped(f"{label:<11}{text}", "  ", " " * 13)


def _wrapped(text: str, first: str, rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest or first,
        break_on_hyphens=False,
    )
