"""What a seed draws, what a play of it leaves, and the service it is played on."""

import random
from dataclasses import dataclass, field

from msgspec.structs import replace

from batchgen.plan import Policy
from batchgen.profile import WAVESPEED

from . import provider as service
from .world import CONNECTIONS, DOWNLOADS

PROFILE = replace(
    WAVESPEED,
    name="simulated",
    accept_settle=service.ACCEPT_SETTLE,
    list_settle=service.LIST_SETTLE,
    window_before=30,
    poll_first=1,
    poll_every=1,
    poll_longest=4,
    patience=15,
    endurance=300,
    drop_grace=10,
    settle_every=15,
    billing_every=7,
    rate_pause=3,
    backoff_longest=8,
    loopback=True,
)
FAULTS = (
    *service.SUBMISSIONS, *service.READINGS, *service.LISTS, *service.OUTCOMES,
    *service.BILLING, *CONNECTIONS, *DOWNLOADS, "list-lag", "read-404",
    "write-error", "short-write",
    "crash", "power-loss", "disk-full", "clock-jump", "edit", "interrupt", "second",
    "interrupt-twice", "suspend", "foreign", "foreign-twin", "hidden-inputs",
    "retry-uncertain", "again", "session-cap", "deadline", "breaker", "paste", "tamper",
    "pictures", "element", "upload-refused",
)  # fmt: skip
ABSENT = Policy(retry=frozenset({"absent"}))


@dataclass(frozen=True)
class Scenario:
    """What a seed draws.

    `rates` maps a fault to how often it strikes; the minimal scenario has none.
    """

    seed: int
    rates: dict[str, float]

    @classmethod
    def of(cls, seed: int) -> "Scenario":
        """A random subset of the faults with random rates."""
        chance = random.Random(seed)  # noqa: S311 - reproducible
        share = chance.choice((0.05, 0.15, 0.3, 0.6))
        names = [name for name in FAULTS if chance.random() < share]
        if chance.random() < 0.8:
            names.append("crash")
        rates = {name: chance.choice((0.05, 0.2, 0.5)) for name in names}
        return cls(seed, rates)

    def without(self, fault: str) -> "Scenario":
        """The same without one fault."""
        kept = {name: rate for name, rate in self.rates.items() if name != fault}
        return Scenario(self.seed, kept)


@dataclass
class Result:
    """What came of a scenario."""

    seed: int
    problem: str = ""
    journal: bytes = b""
    sessions: int = 0
    crashes: int = 0
    charges: int = 0
    tasks: int = 0
    hours: float = 0.0
    trace: list[str] = field(default_factory=list)
