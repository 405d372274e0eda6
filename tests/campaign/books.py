"""The provider's ledger, added up as it grows: what was charged, and for whom."""

from heapq import heappop, heappush
from math import isfinite

from .provider import PRICE, Charge, Provider


class Books:
    """Sums over the ledger that cost nothing to ask.

    Attributes:
        spent: what our predictions cost by now.
        excess: what was charged above the price, for anybody.
        rising: ids that are, or will be, charged once more.
        strange: ids of somebody else's predictions that failed.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.spent = self.excess = 0
        self.rising: set[str] = set()
        self.strange: set[str] = set()
        self._groups: dict[str, list[Charge]] = {}
        self._due: list[tuple[float, int, bool]] = []  # when, whose, is it a refund
        self._read = 0

    def charges(self, group: str) -> list[Charge]:
        """Ours, of a group."""
        self._take()
        return self._groups.get(group, [])

    def row(self, name: str) -> Charge | None:
        """The charge of a prediction."""
        place = self._provider.places.get(name)
        return None if place is None else self._provider.ledger[place]

    def settle(self, now: float) -> None:
        """Count what is due by now."""
        self._take()
        while self._due and self._due[0][0] <= now:
            _, number, is_refund = heappop(self._due)
            row = self._provider.ledger[number]
            if is_refund:
                self.spent -= row.refund * row.ours
                continue
            self.spent += row.price * row.ours
            self.excess += 2 * row.price - PRICE - max(0, row.price - PRICE)

    def _take(self) -> None:
        """Enter the rows that are new."""
        ledger = self._provider.ledger
        for number in range(self._read, len(ledger)):
            row = ledger[number]
            self.excess += max(0, row.price - PRICE)
            for moment, is_refund in (row.again_at, False), (row.refund_at, True):
                if isfinite(moment):
                    heappush(self._due, (moment, number, is_refund))
            if isfinite(row.again_at):
                self.rising.add(row.id)
            if row.ours:
                self.spent += row.price
                self._groups.setdefault(row.group, []).append(row)
            elif row.failed:
                self.strange.add(row.id)
        self._read = len(ledger)
