"""Our attempts beside the service's billing, row by row. Pure.

Nothing is dropped: what billing does not show of ours has a row, and what it shows and
no attempt of ours owns has one too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from batchgen.ledger import Account
from batchgen.listings import Bill
from batchgen.money import Micros
from batchgen.state import Stage
from batchgen.tally import Tally

Note = Literal["", "not in billing", "no prediction", "not of this run"]


@dataclass(frozen=True, slots=True)
class Sums:
    """Micro-dollars.

    For each row, and so for their sum:
    charged = refunded + refund_expected + kept + unexplained.

    Attributes:
        planned: upper bound of the attempt.
        charged: what billing shows.
        refunded: what billing shows as given back.
        refund_expected: of failures that the service has promised to pay back.
        kept: what a clip, or a failure that is not paid back, may cost.
        unexplained: what is left; negative where less was charged than was due.
    """

    planned: Micros = 0
    charged: Micros = 0
    refunded: Micros = 0
    refund_expected: Micros = 0
    kept: Micros = 0
    unexplained: Micros = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction, or one attempt that has none."""

    prediction: str
    model: str
    slug: str
    attempt: int
    sums: Sums
    note: Note = ""


def statement(
    tally: Tally, bills: Mapping[str, Bill], strangers: Mapping[str, str]
) -> list[Row]:
    """All rows: those of our attempts first, in the order they were planned.

    Args:
        tally: the run.
        bills: by prediction; ours and others of the same models and times.
        strangers: prediction -> model of the bills that may be of others.
    """
    rows = list(_own(tally, bills))
    ours = {row.prediction for row in rows}
    for prediction, bill in bills.items():
        if prediction not in ours:
            net = bill.charged - bill.refunded
            sums = Sums(charged=bill.charged, refunded=bill.refunded, unexplained=net)
            model = strangers.get(prediction, "")
            rows.append(Row(prediction, model, "", 0, sums, "not of this run"))
    return rows


def _own(tally: Tally, bills: Mapping[str, Bill]) -> Iterator[Row]:
    for task, state in tally.states.items():
        if state.planned is None:
            continue
        for attempt in state.attempts:
            found = tally.ledger.account(task, attempt.number)
            if found is None and not attempt.prediction:
                continue  # refused or never sent: free
            bill = bills.get(attempt.prediction) if attempt.prediction else None
            back = found is not None and found[0] is Account.REFUNDABLE
            failed = attempt.stage is Stage.FAILED
            price = min(attempt.reserve, state.planned.price)
            note: Note = "" if bill else "not in billing"
            if not attempt.prediction:
                bill, price, note = Bill(), 0, "no prediction"
            sums = _sums(
                attempt.reserve, price, bill or Bill(), back=back, failed=failed
            )
            yield Row(
                attempt.prediction,
                state.planned.model,
                state.planned.slug,
                attempt.number,
                sums,
                note,
            )


def _sums(
    planned: Micros, price: Micros, bill: Bill, *, back: bool, failed: bool
) -> Sums:
    given_back = failed and bill.refunded > 0
    expected = max(0, bill.charged - bill.refunded) if back else 0
    kept = 0 if back or given_back else price
    rest = bill.charged - bill.refunded - expected - kept
    return Sums(planned, bill.charged, bill.refunded, expected, kept, rest)


def total(rows: Iterable[Row]) -> Sums:
    """Column by column."""
    all_of_them = [row.sums for row in rows]
    return Sums(
        *(sum(getattr(one, name.name) for one in all_of_them) for name in fields(Sums))
    )
