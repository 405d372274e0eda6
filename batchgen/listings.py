"""Pages of the account's history and billing, and what their rows add up to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchgen.answers import Prediction, prediction
from batchgen.errors import Unavailable
from batchgen.money import Micros, usd


@dataclass(frozen=True, slots=True)
class Bill:
    """What billing shows of one prediction so far."""

    charged: Micros = 0
    refunded: Micros = 0


class BillRow(NamedTuple):
    """One movement of money: whose, of which kind, how much."""

    prediction: str
    kind: str
    price: Micros


def micros(amount: object) -> Micros:
    """An amount of the API; it writes floats."""
    try:
        return usd(f"{amount:.6f}")
    except (TypeError, ValueError) as error:
        raise Unavailable(f"an answer with {amount!r} for an amount") from error


def bill_rows(data: Mapping[str, Any]) -> dict[str, BillRow]:
    """Rows of one page by their own ids: pages drift, and none may count twice."""
    items = data.get("items")
    if not isinstance(items, list):
        raise Unavailable("a billing page without items")
    found = {}
    for item in items:
        try:
            row, kind = item["uuid"], item["billing_type"]
            whose = item["prediction"]["uuid"]
            found[str(row)] = BillRow(str(whose), str(kind), micros(item["price"]))
        except (KeyError, TypeError) as error:
            raise Unavailable("a billing row that cannot be read") from error
    return found


def bills(rows: Iterable[BillRow]) -> dict[str, Bill]:
    """What was charged and paid back, by prediction."""
    found: dict[str, Bill] = {}
    for whose, kind, price in rows:
        bill = found.get(whose, Bill())
        charged = price if kind == "deduct" else 0
        refunded = price if kind == "refund" else 0
        found[whose] = Bill(bill.charged + charged, bill.refunded + refunded)
    return found


def history_rows(data: Mapping[str, Any]) -> list[Prediction]:
    """One page of the history; a row that cannot be read could be the one."""
    items = data.get("items")
    if not isinstance(items, list):
        raise Unavailable("a history page without items")
    rows = [prediction(item) for item in items if isinstance(item, dict)]
    if len(rows) < len(items) or not all(row.id for row in rows):
        raise Unavailable("a history page with a row that cannot be read")
    return rows
