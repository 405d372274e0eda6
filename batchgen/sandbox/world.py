"""What both origins of a sandbox share."""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchgen.errors import BatchgenError
from batchgen.models import Model
from batchgen.money import Micros, usd
from batchgen.sandbox import faults
from batchgen.sandbox.clock import Clock
from batchgen.sandbox.limits import Limits
from batchgen.sandbox.options import Addresses, Options
from batchgen.sandbox.predictions import Prediction, accepted, share
from batchgen.sandbox.till import Till
from batchgen.sandbox.uploads import Uploads


@dataclass(slots=True)
class Counts:
    """What was seen at the door since the process began, for tests."""

    requests: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    authorization_at_downloads: int = 0


class World:
    """One sandbox: its time, its till, its misbehaviour and its limits."""

    def __init__(
        self, options: Options, addresses: Addresses, clock: Clock | None = None
    ) -> None:
        self.options = options
        self.addresses = addresses
        self.clock = clock or Clock(options.speed, options.offset)
        self.plan = faults.plan(options.faults)
        self.counts = Counts()
        try:
            self._balance: Micros = usd(options.balance)
        except ValueError as error:
            raise BatchgenError(str(error), rule="usage") from error
        self.clips = _folder(options.data / "clips")
        self.till = Till(options.data / "sandbox.db")
        self.uploads = Uploads(options.data, self.clock)
        self.limits = Limits(
            options.tier, self.till.unfinished(self.clock.now()), excess=options.excess
        )
        self.strangers: dict[str, Prediction] = {}
        self.shut: Callable[[float], Coroutine[Any, Any, None]] | None = None
        self.latest = ""
        self.mirror = ""  # the download origin by another address
        self._links: dict[str, Link] = {}

    def close(self) -> None:
        """Give the data back."""
        self.till.close()
        self.uploads.close()

    def crowded(self) -> str | None:
        """Why the tier lets nobody in just now."""
        return self.limits.crowded(self.clock.now())

    def affords(self, price: Micros) -> bool:
        """Whether the balance covers a price."""
        covered = self.till.charged + price <= self._balance
        return covered or self.left() >= price

    def left(self) -> Micros:
        """The balance, in micro-dollars."""
        back = self.till.refunded(self.clock.now())
        return self._balance - self.till.charged + back

    def accept(self, model: Model, text: str, drawn: faults.Drawn) -> Prediction:
        """Charge for a prediction and remember it, before any answer is chosen."""
        identity = secrets.token_hex(16)
        if "id_path" in drawn:
            identity = f"../../{identity}"
        if "/media/" in text and self._unreachable(text):
            drawn = {**drawn, "fail_media": None}
        prediction = accepted(
            identity,
            model,
            text,
            self.clock,
            faults=drawn,
            refund_delay=self.options.refund_delay,
            free=self.limits.free(self.clock.now()),
        )
        self.till.record(prediction)
        now = prediction.created
        running = self.limits.enter(now, prediction.ready)
        self.counts.most_in_flight = max(self.counts.most_in_flight, running)
        return prediction

    def _unreachable(self, text: str) -> bool:
        here = re.escape(f"{self.addresses.downloads}/media/")
        named = re.findall(rf"{here}([0-9a-f]+)", text)
        return not all(self.uploads.stored(identity) for identity in named)

    def output(self, prediction: Prediction, number: int) -> str:
        """Today's address of an output; the same until it is taken back."""
        link = self._links.get(prediction.id, Link())
        host = self.addresses.downloads
        if link.elsewhere:
            host = self.mirror or host
        signature = self.signature(prediction.id)
        return f"{host}/predictions/{prediction.id}/{number}.mp4?sig={signature}"

    def signature(self, identity: str) -> str:
        """What an address must carry just now."""
        renewed = self._links[identity].renewed if identity in self._links else 0
        drawn = share(f"signature/{identity}/{renewed}")
        return f"{int(drawn * 2**48):012x}"

    def expire(
        self, identity: str, *, elsewhere: bool = False, other: bool = False
    ) -> None:
        """Take back the addresses given out so far; a fresh result holds new ones.

        `elsewhere` lets them name another host, `other` puts another file behind them.
        """
        link = self._links.setdefault(identity, Link())
        link.renewed += 1
        link.elsewhere |= elsewhere
        link.other |= other

    def replace(self, identity: str) -> None:
        """Put another file behind an address."""
        self._links.setdefault(identity, Link()).other = True

    def replaced(self, identity: str) -> bool:
        """Whether another file stands behind it."""
        return identity in self._links and self._links[identity].other


@dataclass(slots=True)
class Link:
    """What became of the addresses of one prediction's outputs."""

    renewed: int = 0
    elsewhere: bool = False
    other: bool = False


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchgenError(f"{path}: {error.strerror}", rule="disk") from error
    return path
