"""What the service's billing says of our attempts: charges and refunds.

No clock releases money. What is expected back stays held until billing shows it, and
where billing cannot be read it stays held for good.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchgen.answers import when
from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.events import CostSettled, PredictionFailed
from batchgen.history import only
from batchgen.ledger import Account
from batchgen.listings import Bill
from batchgen.money import Micros, dollars
from batchgen.recorder import Recorder
from batchgen.records import Record
from batchgen.state import Stage
from batchgen.tally import Tally

_AT_ONCE = 50
_LOOKS = 2  # at the bill of what has ended: a charge may be made once more
_EARLIER = 500  # attempts of former starts whose bills are looked at once more
_OVERDUE = timedelta(hours=3)  # the service promises refunds within this time
_FINAL = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Open:
    """An attempt whose bill is of interest; `held` is what it counts for now.

    Of one that is `running` a charge may still show in more rows.
    """

    task: str
    attempt: int
    prediction: str
    account: Account
    held: Micros
    reserve: Micros
    running: bool = False

    def partly(self, bill: Bill) -> bool:
        """Whether the rest of the charge may be still to come."""
        return self.running and bill.charged < self.reserve


def earlier(tally: Tally) -> frozenset[str]:
    """The newest predictions of former starts; a second charge may have come late."""
    found = [
        attempt.prediction
        for task, state in tally.states.items()
        for attempt in state.attempts
        if attempt.prediction
        and not tally.ledger.is_of_this_start(task, attempt.number)
    ]
    return frozenset(found[-_EARLIER:])


def unsettled(
    tally: Tally, checked: AbstractSet[str], older: AbstractSet[str] = frozenset()
) -> Iterator[Open]:
    """Money that is to come back, and charges not yet `checked`.

    Those are of this start, or `older`.
    """
    ledger = tally.ledger
    for task, state in tally.states.items():
        for attempt in state.attempts:
            found = ledger.account(task, attempt.number)
            if not attempt.prediction or found is None:
                continue
            account, held = found
            back = account is Account.REFUNDABLE
            new = ledger.is_of_this_start(task, attempt.number)
            new = new or attempt.prediction in older
            failed = attempt.stage is Stage.FAILED
            if back or (new and (failed or attempt.prediction not in checked)):
                yield Open(
                    task,
                    attempt.number,
                    attempt.prediction,
                    account,
                    held,
                    attempt.reserve,
                    attempt.stage is Stage.ACCEPTED,
                )


def settled(one: Open, bill: Bill) -> CostSettled | None:
    """What a bill changes; None if it says what the ledger says."""
    charged = bill.charged or one.held
    amount = max(0, charged - bill.refunded)
    if amount == one.held:
        return None
    return CostSettled(task=one.task, attempt=one.attempt, amount=amount)


def overdue(tally: Tally, records: Sequence[Record], now: datetime) -> Micros:
    """What should have come back by now and has not."""
    late = 0
    if not tally.ledger.refundable:
        return late
    for record in only(records, PredictionFailed):
        event = record.event
        if isinstance(event, PredictionFailed):
            found = tally.ledger.account(event.task, event.attempt)
            at = when(record.at)
            if found and found[0] is Account.REFUNDABLE and at and now - at > _OVERDUE:
                late += found[1]
    return late


class Billing:
    """Reads the bills of this run and writes down where they differ."""

    def __init__(
        self, recorder: Recorder, client: Client, stop: Callable[[str, str], None]
    ) -> None:
        self._recorder = recorder
        self._client = client
        self._stop = stop
        self._seen = Counter[str]()
        self._readable = True

    async def look(self) -> None:
        """Compare what is open with the service's billing.

        Raises:
            StoreError: the state file cannot be written.
        """
        tally = self._recorder.tally
        checked = {one for one, looks in self._seen.items() if looks >= _LOOKS}
        wanted = list(unsettled(tally, checked, earlier(tally)))
        if not self._readable:
            return
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            try:
                bills = await self._client.bills([one.prediction for one in some])
            except Unavailable as error:
                self._give_up(error)
                return
            await self._compare(some, bills)

    async def _compare(self, some: Sequence[Open], bills: Mapping[str, Bill]) -> None:
        for one in some:
            bill = bills.get(one.prediction)
            if bill is None or one.partly(bill):
                continue  # what it may cost stays held
            if bill.charged and not one.running:
                self._seen[one.prediction] += 1
            event = settled(one, bill)
            # While the bill was read the attempt may have moved on.
            now = self._recorder.tally.ledger.account(one.task, one.attempt)
            if event is None or now != (one.account, one.held):
                continue
            await self._recorder.write(event)
            if event.amount > one.reserve:
                self._too_dear(one, event.amount)

    def _too_dear(self, one: Open, amount: Micros) -> None:
        # Told here: whatever has stopped the buying before, this is news.
        self._recorder.observer.notice(
            f"{one.prediction} was charged {dollars(amount)}, over its bound of "
            f"{dollars(one.reserve)}; buying stops here, and the next session reserves "
            "as much for this model"
        )
        self._stop("breaker", "")

    def _give_up(self, error: Unavailable) -> None:
        if error.http not in _FINAL:
            return
        self._readable = False
        held = self._recorder.tally.ledger.refundable
        if held:
            self._recorder.observer.notice(
                f"billing cannot be read ({error.http}): the {dollars(held)} expected "
                "back stay held; --budget raises the cap"
            )
