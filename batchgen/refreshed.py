"""The account's own list of models, as `models --refresh` left it.

One file a model, in a folder for each address of the API: what a sandbox says is not
true of the real service. A file serves checks and prices; identity stays with the
catalog that ships, so a refresh never makes a bought clip look new.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from msgspec import Struct

from batchgen.findings import Mistake
from batchgen.models import Catalog, Model, Price
from batchgen.models.live import Live, faults, used
from batchgen.money import Micros, plain, usd
from batchgen.outside import Outside, outside

_FREE = Price()


class Entry(Struct, frozen=True):
    """A model as the account listed it; the price is None where nobody quoted one."""

    live: Live
    date: str
    price: Price | None = None


class Listed(Outside, frozen=True, dict=True):
    """A model of the vendor that does not ship, checked by its live schema.

    Its requests are spelled as they were written, so a refresh cannot change what a
    bought clip is called.
    """

    checked: ClassVar[bool] = True
    live: Mapping[str, Any] | None = None

    def judge(
        self, fields: Mapping[str, Any], *, live: bool, whole: bool = True
    ) -> tuple[dict[str, Any], list[Mistake]]:
        """The fields in one spelling, and what the live schema has against them."""
        spelled, mistakes = Outside.judge(self, fields, live=live, whole=whole)
        return spelled, [*mistakes, *_held_against(self, spelled, whole=whole)]


class Updated(Model, frozen=True, dict=True):
    """A model that ships, held against its live schema too."""

    live: Mapping[str, Any] | None = None

    def judge(
        self, fields: Mapping[str, Any], *, live: bool, whole: bool = True
    ) -> tuple[dict[str, Any], list[Mistake]]:
        """As it ships, and what the live schema has against the fields."""
        spelled, mistakes = Model.judge(self, fields, live=live, whole=whole)
        if not mistakes:
            mistakes += _held_against(self, self.body(spelled), whole=whole)
        return spelled, mistakes


def _held_against(
    model: Listed | Updated, fields: Mapping[str, Any], *, whole: bool
) -> Iterator[Mistake]:
    """What the live schema says; what is missing only of whole requests."""
    if model.live is None:
        return
    schema = model.live if whole else {**model.live, "required": []}
    for name, says in faults(used(fields, model.identity_defaults, schema), schema):
        message = f"{model.title} {says} (the refreshed list)"
        yield Mistake((name,), "live-schema", message)


class Refreshed(Catalog):
    """The shipped catalog and what the account's list says beyond it, read when asked.

    Args:
        shipped: the catalog.
        folder: where the files of this address are.
        base_url: the address; a file of another one is not used.
        warn: is told of each file that cannot be used.
    """

    def __init__(
        self,
        shipped: Catalog,
        folder: Path,
        base_url: str,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__({model.id: model for model in shipped})
        self._folder, self._base_url, self._warn = folder, base_url, warn
        self._shipped = shipped
        self._found: dict[str, Model | None] = {}

    def __iter__(self) -> Iterator[Model]:
        """The models that ship, at their refreshed prices."""
        for model in self._shipped:
            yield self.find(model.id) or model

    def find(self, name: str) -> Model | None:
        """The model with this id or alias, at its refreshed price."""
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> Model | None:
        shipped = self._shipped.find(name)
        entry = self.entry(shipped.id if shipped else name)
        if entry is None:
            return shipped
        if shipped is not None:
            fields = {key: getattr(shipped, key) for key in _GIVEN}
            fields["price"] = entry.price or shipped.price
            return Updated(**fields, live=entry.live.schema)
        known = outside(name, entry.price or _FREE, self._shipped)
        if known is None:
            return None
        properties = {**known.schema["properties"]}
        pictured = {path[0] for path in known.media}
        properties |= {
            field: {} for field in entry.live.fields if field not in pictured
        }
        schema = {**known.schema, "properties": properties}
        fields = {key: getattr(known, key) for key in _GIVEN}
        fields |= {"title": entry.live.title, "kind": entry.live.kind}
        fields |= {"snapshot": entry.date, "source": "GET /models", "schema": schema}
        return Listed(**fields, live=entry.live.schema)

    def entry(self, model: str) -> Entry | None:
        """What the account's list said of a model, by its id."""
        path = self._folder / file_name(model)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._warn(f"{path} is not used: {error}")
            return None
        try:
            data = json.loads(text)
            if data["base_url"] != self._base_url:
                return None
            return _entry(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._warn(
                f"{path} is not used: {error!r}; batchgen models --refresh mends it"
            )
            return None


_GIVEN = (
    "id", "alias", "title", "kind", "snapshot", "source", "price", "schema",
    "editions", "identity_defaults", "send", "rules", "examples", "resolution",
    "rehearsal", "note", "elsewhere",
)  # fmt: skip


def place(lists: Path, base_url: str) -> Path:
    """Where the files of one address are, below those of all."""
    return lists / quote(base_url.partition("://")[2], safe="")


def file_name(model: str) -> str:
    """The name of a model's file."""
    return f"{quote(model, safe='')}.json"


def text_of(entry: Entry, base_url: str) -> str:
    """An entry as its file has it."""
    price = entry.price and {
        unit: plain(amount)
        for unit in ("per_second", "per_task", "per_second_with_sound")
        if (amount := getattr(entry.price, unit)) is not None
    }
    live = entry.live
    data = {
        "base_url": base_url,
        "date": entry.date,
        "id": live.id,
        "title": live.title,
        "kind": live.kind,
        "price": price,
        "schema": live.schema,
    }
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def _entry(data: Mapping[str, Any]) -> Entry:
    schema = data["schema"]
    if not all(isinstance(one, dict) for one in schema["properties"].values()):
        raise ValueError("a field that is no schema")
    price = data["price"] and Price(
        **{unit: usd(text) for unit, text in data["price"].items()}
    )
    live = Live(str(data["id"]), str(data["title"]), str(data["kind"]), schema)
    return Entry(live, str(data["date"]), price or None)


def fitted(quotes: Mapping[tuple[int, bool], Micros]) -> Price | None:
    """The price rule behind quotes of (seconds, with sound); None if none fits.

    Quotes of no length at all are those of a task: `{(0, False): 10_000}`.
    """
    if {length for length, _ in quotes} == {0}:
        return Price(per_task=quotes[0, False])
    silent = {length: amount for (length, sound), amount in quotes.items() if not sound}
    loud = {length: amount for (length, sound), amount in quotes.items() if sound}
    rate, with_sound = _rate(silent), _rate(loud)
    if rate is None or (loud and with_sound is None):
        return None
    return Price(
        per_second=rate,
        per_second_with_sound=None if with_sound == rate else with_sound,
    )


def _rate(quotes: Mapping[int, Micros]) -> Micros | None:
    rates = {divmod(amount, length) for length, amount in quotes.items()}
    if len(rates) != 1:
        return None
    rate, rest = rates.pop()
    return None if rest else rate
