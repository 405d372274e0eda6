"""What we know of one service: its settle times, limits, refusals and pace.

The numbers are those of the service's own documentation where it gives any, else
the safe choice that stands beside them.
"""

from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

LIVE_BASE_URL = "https://api.wavespeed.ai"

Meaning = Literal["done", "failed", "cancelled", "gone", "waiting"]

# Words seen in the service's own clients; an unknown word means: keep waiting.
STATUS_WORDS: dict[str, Meaning] = {
    "completed": "done",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "timeout": "failed",
    "deleted": "gone",
}

# A submission answered so was not accepted (money-and-crashes.md, section 7). All
# that is not here is in doubt.
REFUSED = frozenset(
    {400, 404, 405, 406, 411, 413, 414, 415, 421, 422, 426, 428, 431, 451, 501, 505}
)
NO_CREDIT_CODES = frozenset({402, 1407})
NO_CREDIT_WORDS = ("insufficient credit", "top up your account")
MODERATION_CODES = frozenset({1200})
INVALID_CODES = frozenset({1400, 1401, 1402})
MEDIA_CODES = frozenset({1402})  # it could not fetch what it was given the address of


_FEWEST_SUBMITS, _MOST_SUBMITS = 4, 32


class Profile(Struct, frozen=True):
    """One service's habits; times in seconds.

    Attributes:
        name: in the journal and in messages.
        accept_settle: a request that left us arrives within this time or never.
        list_settle: after this time the history is complete.
        window_before: how much earlier than our clock says a prediction may be dated.
        poll_first: first look at a new prediction.
        poll_every: further looks, stretching by `poll_growth` up to `poll_longest`,
            while nothing is known of a model; no two looks are ever nearer.
        poll_early: one look at this age, for what fails early, where the first one
            that was learned is much later.
        poll_rarest: looks that were learned are no rarer, if there are reads enough.
        patience: no request got any answer for this long at the start: give up.
        endurance: the same later in the session.
        drop_grace: a 404 this soon after acceptance is replica lag.
        concurrency: predictions in flight, unless the manifest says otherwise.
        starts: submissions a minute; None for no limit.
        reads: status reads a second over all tasks.
        rate_pause: everybody waits so long after a 429 that names no time.
        settle_every: while a session buys, doubts are looked for so often.
        billing_every: while a session runs, billing is looked at so often.
        drain: after SIGTERM or SIGHUP paid clips are waited for so long.
        retention: what is older is no longer in the history.
        bytes_per_second: of a clip; what free disk is judged by.
        loopback: downloads may come from 127.0.0.1 over plain http.
    """

    name: str
    accept_settle: float
    list_settle: float
    window_before: float
    poll_first: float
    poll_every: float
    poll_growth: float
    poll_longest: float
    poll_early: float
    poll_rarest: float
    patience: float
    endurance: float
    drop_grace: float
    concurrency: int
    starts: int | None
    reads: int
    rate_pause: float
    bytes_per_second: int
    loopback: bool
    settle_every: float = 120.0
    billing_every: float = 300.0
    drain: float = 20.0
    retention: float = 7 * 86_400.0
    backoff_first: float = 1.0
    backoff_longest: float = 60.0


WAVESPEED = Profile(
    name="wavespeed",
    accept_settle=600,  # undocumented; ten minutes is far beyond any proxy's limit
    list_settle=60,  # undocumented
    window_before=180,
    poll_first=20,  # a 4K clip takes minutes; the vendor asks for 5 s or more
    poll_every=5,
    poll_growth=1.15,
    poll_longest=10,
    poll_early=60,
    poll_rarest=15,
    patience=30,
    endurance=600,
    drop_grace=600,
    concurrency=3,  # a new account's documented limits
    starts=5,
    reads=5,
    rate_pause=65,  # the service's windows reset each minute
    bytes_per_second=15_000_000,  # nobody publishes it; an estimate
    loopback=False,
)

SANDBOX = Profile(
    name="sandbox",
    accept_settle=2,
    list_settle=1,
    window_before=180,
    poll_first=0.6,
    poll_every=0.3,
    poll_growth=1.3,
    poll_longest=3,
    poll_early=3,
    poll_rarest=3,
    patience=5,
    endurance=600,
    drop_grace=5,
    concurrency=64,
    starts=None,
    reads=200,
    rate_pause=1,
    bytes_per_second=4_000_000,
    loopback=True,
    settle_every=2,
    billing_every=2,
    drain=3,
    backoff_first=0.2,
    backoff_longest=5,
)


class Tier(Struct, frozen=True):
    """What an account of one level may do (the vendor's documentation).

    Attributes:
        concurrency: predictions in flight.
        starts: submissions a minute.
        reads: looks a second; the vendor names none for the first two.
    """

    concurrency: int
    starts: int
    reads: int


TIERS = {
    "bronze": Tier(3, 5, 5),
    "silver": Tier(100, 60, 5),
    "gold": Tier(2000, 600, 50),
    "ultra": Tier(5000, 5000, 150),
}


class Limits(Struct, frozen=True):
    """What may be under way at once: predictions, and starts in a window."""

    concurrency: int
    starts: int | None
    seconds: float = 60.0

    @property
    def submits(self) -> int:
        """POSTs under way at once: the most that one crash can leave in doubt."""
        if self.starts is None:
            return _MOST_SUBMITS
        a_minute = self.starts * 60 / self.seconds
        return min(max(round(a_minute / 30), _FEWEST_SUBMITS), _MOST_SUBMITS)


def is_loopback(base_url: str) -> bool:
    """Whether an address of the API is on this machine, so a sandbox."""
    return urlsplit(base_url).hostname in ("127.0.0.1", "localhost", "::1")


def profile_for(*, live: bool) -> Profile:
    """The habits of the real service, or of the make-believe one."""
    return WAVESPEED if live else SANDBOX


def profile_of(base_url: str) -> Profile:
    """The habits of the service behind an address."""
    return profile_for(live=not is_loopback(base_url))
