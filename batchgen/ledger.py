"""The fold of the money: what is reserved, spent, refundable and in doubt.

All amounts are integer micro-dollars. An amount leaves the ledger only by an event
that says so; no clock releases money.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from batchgen.events import (
    AttemptAbsent,
    AttemptAccepted,
    AttemptNotSent,
    AttemptRefused,
    AttemptStarted,
    AttemptUncertain,
    CostSettled,
    Event,
    PredictionCompleted,
    PredictionFailed,
    SessionOpened,
)
from batchgen.money import Micros
from batchgen.state import Stage, TaskState


class Account(StrEnum):
    """What the money of one attempt is."""

    IN_FLIGHT = "in flight"
    UNCERTAIN = "uncertain"
    SPENT = "spent"
    REFUNDABLE = "refundable"

    __hash__ = str.__hash__  # that of an Enum is slow


_Key = str | tuple[str, int]
_Entry = tuple[Account, Micros]
_NOTHING: _Entry = (Account.SPENT, 0)
_OF_STAGE = {
    Stage.OPEN: Account.IN_FLIGHT,
    Stage.ACCEPTED: Account.IN_FLIGHT,
    Stage.COMPLETED: Account.SPENT,
}


class Ledger:
    """Every attempt's money, in one of four accounts, against the caps.

    Attributes:
        cap: for the whole life of the run.
        session_cap: for one calendar start, which a crash does not end.
        begun: what the attempts of this start count for.
    """

    def __init__(self, cap: Micros | None = None) -> None:
        self.cap = cap
        self.session_cap: Micros | None = None
        self.begun: Micros = 0
        self._totals = dict.fromkeys(Account, 0)
        # What the attempts of this start hold, None once that is released; what those
        # of earlier ones hold.
        self._of_start: dict[_Key, _Entry | None] = {}
        self._earlier: dict[_Key, _Entry] = {}
        self._equal: dict[_Entry, _Entry] = {}

    @property
    def in_flight(self) -> Micros:
        """Reserved by attempts that are open or accepted."""
        return self._totals[Account.IN_FLIGHT]

    @property
    def uncertain(self) -> Micros:
        """Reserved by attempts of unknown fate; counts as spent."""
        return self._totals[Account.UNCERTAIN]

    @property
    def spent(self) -> Micros:
        """Charged for good."""
        return self._totals[Account.SPENT]

    @property
    def refundable(self) -> Micros:
        """Charged for a failure that the provider has promised to pay back."""
        return self._totals[Account.REFUNDABLE]

    @property
    def committed(self) -> Micros:
        """What the cap is held against."""
        return sum(self._totals.values())

    @property
    def left(self) -> Micros | None:
        """What may still be reserved; None without a cap."""
        rest = self.life_left
        if self.session_cap is None:
            return rest
        of_session = self.session_cap - self.begun
        return of_session if rest is None else min(rest, of_session)

    @property
    def life_left(self) -> Micros | None:
        """What the cap of the whole life leaves; None without one."""
        return None if self.cap is None else self.cap - self.committed

    def covers(self, amount: Micros) -> bool:
        """Whether a new attempt of this upper bound keeps the caps."""
        left = self.left
        return left is None or amount <= left

    def is_of_this_start(self, task: str, attempt: int) -> bool:
        """Whether an attempt was begun by this start or by the crash it continues."""
        return _key(task, attempt) in self._of_start

    def account(self, task: str, attempt: int) -> _Entry | None:
        """Where the money of one attempt is; None if it was released."""
        return self._entry(_key(task, attempt))

    def cost(self, task: str, attempts: int) -> Micros:
        """What all attempts of a task count for."""
        entries = [self.account(task, n) for n in range(1, attempts + 1)]
        return sum([entry[1] for entry in entries if entry is not None])

    def apply(self, event: Event) -> None:
        """Take the money of an event into account."""
        kind = type(event)
        if kind in _STEPS:
            _STEPS[kind](self, event)

    def live(
        self,
        tasks: Sequence[str],
        befores: Sequence[TaskState],
        afters: Sequence[TaskState],
    ) -> None:
        """Take in what `lived` has made of first attempts that are alike.

        Their stage tells the account: nothing else has happened to them.
        """
        was, now = befores[0].latest, afters[0].latest
        if now is None or (was is not None and was.stage is now.stage):
            return
        account = _OF_STAGE[now.stage]
        if was is not None:
            self._turn(tasks, account)
            return
        amounts = [one.attempts[0].reserve for one in afters]
        self.begun += sum(amounts)
        self._hold(tasks, account, amounts)

    def _turn(self, tasks: Sequence[str], account: Account) -> None:
        """What these first attempts hold is from now on in this account."""
        entries = [entry for entry in map(self._of_start.get, tasks) if entry]
        before = {entry[0] for entry in entries}
        if len(entries) != len(tasks) or len(before) != 1:
            for task in tasks:
                _, held = self._entry(task) or _NOTHING
                self._put(task, account, held)
            return
        amounts = [entry[1] for entry in entries]
        self._totals[before.pop()] -= sum(amounts)
        self._hold(tasks, account, amounts)

    def _hold(
        self, tasks: Sequence[str], account: Account, amounts: Sequence[Micros]
    ) -> None:
        """The first attempts of these tasks, of this start, hold as much there."""
        self._totals[account] += sum(amounts)
        ones = {amount: self._one(account, amount) for amount in set(amounts)}
        entries = map(ones.__getitem__, amounts)
        self._of_start.update(zip(tasks, entries, strict=True))

    def _open(self, event: SessionOpened) -> None:
        self.cap, self.session_cap = event.cap, event.session_cap
        if not event.continues:
            held = {key: entry for key, entry in self._of_start.items() if entry}
            self._earlier |= held
            self._of_start, self.begun = {}, 0

    def _start(self, event: AttemptStarted) -> None:
        """Take in an attempt that this start has made and nobody knew before."""
        self._totals[Account.IN_FLIGHT] += event.reserve
        self.begun += event.reserve
        key = _key(event.task, event.attempt)
        self._of_start[key] = self._one(Account.IN_FLIGHT, event.reserve)

    def _one(self, account: Account, amount: Micros) -> _Entry:
        """One object for all entries that are equal, of which there are many."""
        entry = (account, amount)
        return self._equal.setdefault(entry, entry)

    def _entry(self, key: _Key) -> _Entry | None:
        return self._of_start.get(key) or self._earlier.get(key)

    def _accept(self, event: AttemptAccepted) -> None:
        self._move(event, Account.IN_FLIGHT)

    def _release(self, event: AttemptRefused | AttemptNotSent | AttemptAbsent) -> None:
        self._drop(_key(event.task, event.attempt))

    def _doubt(self, event: AttemptUncertain) -> None:
        self._move(event, Account.UNCERTAIN)

    def _complete(self, event: PredictionCompleted) -> None:
        self._move(event, Account.SPENT, event.cost)

    def _fail(self, event: PredictionFailed) -> None:
        comes_back = event.kind in ("provider", "cancelled")
        self._move(event, Account.REFUNDABLE if comes_back else Account.SPENT)

    def _settle(self, event: CostSettled) -> None:
        self._move(event, self._billed(event), event.amount)

    def _billed(self, event: CostSettled) -> Account:
        """A charge that nothing was taken off is still to come back."""
        account, amount = self.account(event.task, event.attempt) or _NOTHING
        waits = account is Account.REFUNDABLE and event.amount >= amount
        return Account.REFUNDABLE if waits else Account.SPENT

    def _move(
        self,
        event: AttemptAccepted
        | AttemptUncertain
        | PredictionCompleted
        | PredictionFailed
        | CostSettled,
        account: Account,
        amount: Micros | None = None,
    ) -> None:
        key = _key(event.task, event.attempt)
        before = self._entry(key)
        held = before[1] if before else 0
        after = (account, held if amount is None else amount)
        if after != before:
            self._put(key, *after)

    def _put(self, key: _Key, account: Account, amount: Micros) -> None:
        """Put money into an account; what it was before is taken out of its own."""
        before, held = self._entry(key) or _NOTHING
        self._totals[before] -= held
        self._totals[account] += amount
        if key in self._of_start:
            self.begun += amount - held
            self._of_start[key] = self._one(account, amount)
        else:
            self._earlier[key] = self._one(account, amount)

    def _drop(self, key: _Key) -> None:
        account, amount = self._entry(key) or _NOTHING
        self._totals[account] -= amount
        if key in self._of_start:
            self.begun -= amount
            self._of_start[key] = None
        else:
            self._earlier.pop(key, None)


def _key(task: str, attempt: int) -> _Key:
    """One attempt; nearly all are first ones, and for those the task alone will do."""
    return task if attempt == 1 else (task, attempt)


# What each event does to the money; the others do nothing.
_STEPS: dict[type[object], Callable[[Ledger, Any], None]] = {
    SessionOpened: Ledger._open,  # noqa: SLF001 - the table of its own steps
    AttemptStarted: Ledger._start,  # noqa: SLF001
    AttemptAccepted: Ledger._accept,  # noqa: SLF001
    AttemptRefused: Ledger._release,  # noqa: SLF001
    AttemptNotSent: Ledger._release,  # noqa: SLF001
    AttemptAbsent: Ledger._release,  # noqa: SLF001
    AttemptUncertain: Ledger._doubt,  # noqa: SLF001
    PredictionCompleted: Ledger._complete,  # noqa: SLF001
    PredictionFailed: Ledger._fail,  # noqa: SLF001
    CostSettled: Ledger._settle,  # noqa: SLF001
}
