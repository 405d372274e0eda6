"""Models outside the catalog: with a price they pass, and nobody checks them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from batchgen.findings import Mistake
from batchgen.models import Catalog, Model, Price
from batchgen.models.canonical import normal
from batchgen.spelling import listed, near


class Outside(Model, frozen=True, dict=True):
    """A model of which only the name and the price are known.

    Its fields are those of the catalog, so that a spreadsheet can be read, but every
    other one and every value is taken as it was written.
    """

    checked: ClassVar[bool] = False

    def judge(
        self, fields: Mapping[str, Any], *, live: bool, whole: bool = True
    ) -> tuple[dict[str, Any], list[Mistake]]:
        """The fields in one spelling; nothing is held against them."""
        del live, whole
        return normal(fields, self.fields), []


def outside(name: str, price: Price, catalog: Catalog) -> Outside | None:
    """A model by its full id; None for a word that can only be a slip of the pen."""
    if "/" not in name or name != name.strip():
        return None
    known = {
        field: {"type": schema["type"], **_media(schema)}
        for model in catalog
        for field, schema in model.fields.items()
        if "type" in schema
    }
    return Outside(
        id=name,
        alias=name,
        title=name,
        kind="",
        snapshot="",
        source="",
        price=price,
        schema={"type": "object", "properties": known},
        editions=(),
        identity_defaults={},
        send=(),
        rules=(),
        examples=(),
    )


def _media(schema: Mapping[str, Any]) -> dict[str, Any]:
    """That pictures stand here; nobody knows which ones the model takes."""
    found: dict[str, Any] = {key: {} for key in ("x-media",) if key in schema}
    items = schema.get("items", {})
    return found | ({"items": {"x-media": {}}} if "x-media" in items else {})


def unknown(name: str, catalog: Catalog) -> Mistake:
    """What is said about a model that is not in the catalog and has no price."""
    known = [word for model in catalog for word in (model.alias, model.id)]
    meant = near(name, known, cutoff=0.5)
    return Mistake(
        (),
        "unknown-model",
        f"unknown model `{name}`",
        f"did you mean `{meant}`?" if meant else "",
        advice=f"the catalog has {listed(model.alias for model in catalog)}\n"
        "a model outside it needs its full id and a `price`",
    )


def unchecked(name: str, catalog: Catalog) -> Mistake:
    """The warning for a model that has a price and is not in the catalog."""
    near_by = near(name, [model.id for model in catalog], cutoff=0.8)
    return Mistake(
        (),
        "unknown-model",
        f"{name} is not in the catalog, so its input goes out unchecked",
        f"did you mean `{near_by}`?" if near_by else "",
        severity="warning",
    )


def length(fields: Mapping[str, Any]) -> float | None:
    """Seconds of a clip whose model nobody knows; None if it does not say."""
    try:
        found = float(fields["duration"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if 0 < found < float("inf") else None
