"""A make-believe provider: what it charged, what it says, and what it does wrong.

It is written for the simulation and shares nothing with the sandbox. Every row of its
ledger is a charge; what the client is told of it is another matter.
"""

import json
import random
from bisect import bisect, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count, takewhile
from operator import attrgetter
from typing import Any, Literal

EPOCH = datetime(2026, 10, 1, 12, tzinfo=UTC)
ACCEPT_SETTLE, LIST_SETTLE = 20.0, 4.0
PRICE = 1_260_000
PAGE = 100

# What may go wrong with one submission, in the order in which the dice are rolled.
SUBMISSIONS = (
    "write-lost", "write-kept", "lost-answer", "lost-request", "late-accept",
    "never-answered", "slow-answer", "5xx-free", "5xx-charged", "rate-limit",
    "rate-limit-untimed", "refused", "no-credit", "page", "page-charged", "no-id",
    "wrong-id", "cut-answer", "redirect",
)  # fmt: skip
READINGS = ("read-5xx", "read-drop", "read-slow", "read-garbage", "read-429")
LISTS = ("list-5xx", "list-cut", "list-drift", "small-pages", "spelled-out")
OUTCOMES = ("fails", "moderated", "vanishes", "odd-words", "empty-at-first")
BILLING = (
    "overcharge", "part-refund", "no-refund", "bill-lag", "bill-hidden", "charge-twice",
)  # fmt: skip

After = Literal["", "eof", "reset", "hang"]


class Swarm:
    """Which faults there are and how often; each has dice of its own.

    So a fault that is taken out leaves the others as they were.
    """

    def __init__(self, seed: int, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)
        self.calm = False
        self._dice = {name: random.Random(f"{seed} {name}") for name in rates}  # noqa: S311

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now."""
        return (
            not self.calm
            and name in self.rates
            and self._dice[name].random() < self.rates[name]
        )

    def first(self, names: tuple[str, ...]) -> str:
        """The first of these faults that happens; empty if none does."""
        return next((name for name in names if self.strikes(name)), "")

    def between(self, name: str, low: float, high: float) -> float:
        """A number from that fault's dice."""
        return self._dice[name].uniform(low, high)


@dataclass
class Charge:
    """A row of the ledger."""

    id: str
    model: str
    body: dict[str, Any]
    at: float
    shown_at: float
    done_at: float
    end: str
    ours: bool = True
    looks: int = 0
    price: int = PRICE
    billed_at: float = 0.0
    again_at: float = float("inf")
    refund: int = 0
    refund_at: float = float("inf")

    @property
    def group(self) -> str:
        """Equal for equal bodies."""
        return group_of(self.body)

    @property
    def failed(self) -> bool:
        """Whether it ends without a clip; it is paid back, some day."""
        return self.end in ("fails", "moderated", "vanishes")

    def net(self, now: float) -> int:
        """What it costs by now."""
        return self.charged(now) - (self.refund if now >= self.refund_at else 0)

    def shown(self, now: float) -> int:
        """What anybody may know of that: not a charge made once more after a refund."""
        known = self.refund_at if self.refund_at < self.again_at <= now else now
        return self.net(known)

    def charged(self, now: float) -> int:
        """What was taken by now, whatever was given back."""
        return self.price * (1 + (now >= self.again_at))


@dataclass(frozen=True)
class Reply:
    """Bytes that come after some seconds, and what happens to the connection then."""

    data: bytes
    wait: float = 0.05
    then: After = ""


def group_of(body: Mapping[str, Any]) -> str:
    """Equal for equal bodies, whatever their spelling."""
    what = body.get("prompt") or body["name"]
    return json.dumps({"prompt": what, "duration": body.get("duration")})


@dataclass
class Provider:
    """The service; time is virtual, in seconds."""

    swarm: Swarm
    now: Callable[[], float]
    chance: random.Random
    offset: float = 0.0
    hides_inputs: bool = False
    on_charge: Callable[[Charge], None] = lambda _: None
    ledger: list[Charge] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)  # where uploads lie
    elements: set[str] = field(default_factory=set)  # that it told of
    places: dict[str, int] = field(default_factory=dict)  # of ids in the ledger
    _times: list[tuple[float, int]] = field(default_factory=list)  # when, and where
    _late: list[Charge] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)

    def clock(self, at: float) -> datetime:
        """What its clock shows at a moment."""
        return EPOCH + timedelta(seconds=at + self.offset)

    def settle(self) -> None:
        """Let everything happen that is due."""
        due = [row for row in self._late if row.at <= self.now()]
        self._late = [row for row in self._late if row.at > self.now()]
        for row in due:
            self._book(row)

    def receive(  # noqa: PLR0911 - one line for each endpoint
        self, method: str, path: str, body: dict[str, Any]
    ) -> Reply:
        """Take a whole request."""
        self.settle()
        path = path.removeprefix("/api/v3/")
        if path == "balance":
            return self._read({"balance": 1000.0})
        if path == "model/price":
            return self._read({"price": PRICE / 1_000_000})
        if path == "billings/search":
            return self._bills(body)
        if method == "GET" and path.startswith("predictions/"):
            return self._result(path.split("/")[1])
        if path == "predictions":
            return self._list(body)
        if path == "media/upload/binary":
            return self._upload()
        if method == "POST" and ("prompt" in body or "element_refer_list" in body):
            return self._submit(path, body)
        return self._say(404, {"code": 404, "message": "not found"})

    def _upload(self) -> Reply:
        """Without tickets: their storage is asked in threads, which have no seed."""
        if self.swarm.strikes("upload-refused"):
            return self._say(413, {"code": 413, "message": "too large"})
        address = f"https://files.test/{next(self._numbers)}.png"
        self.addresses.add(address)
        return self._read({"download_url": address})

    # Submissions.

    def _submit(  # noqa: PLR0911 - one line for each fault
        self, model: str, body: dict[str, Any]
    ) -> Reply:
        fault = self.swarm.first(SUBMISSIONS)
        match fault:
            case "write-lost" | "lost-request":
                return Reply(b"", self.chance.uniform(0, 5), "reset")
            case "late-accept":
                row = self._row(model, body, self.swarm.between(fault, 0.5, 19.5))
                self._late.append(row)
                return Reply(b"", self.chance.uniform(0, 0.4), "eof")
            case "5xx-free":
                return self._say(self.chance.choice((500, 502, 503, 504)), None)
            case "rate-limit":
                return self._say(
                    429, {"code": 429, "message": "slow"}, "Retry-After: 2"
                )
            case "rate-limit-untimed":
                return self._say(429, {"code": 429, "message": "slow"})
            case "refused":
                return self._say(422, {"code": 422, "message": "bad prompt"})
            case "no-credit":
                return self._say(402, {"code": 402, "message": "insufficient credits"})
            case "page":
                return self._page(200)
            case "redirect":
                return self._say(302, None, "Location: https://elsewhere.test/")
            case _:
                return self._charged(fault, self._row(model, body, 0.0))

    def _charged(  # noqa: PLR0911 - the same
        self, fault: str, row: Charge
    ) -> Reply:
        """Accept; the answer is what the fault makes of it."""
        count = len(self.ledger)
        self._book(row)
        before = fault == "wrong-id" and [r for r in self.ledger[:count] if r.ours]
        answer = self._say(200, _envelope({**self._show(row), "status": "created"}))
        match fault:
            case "write-kept" | "lost-answer":
                return Reply(b"", self.chance.uniform(0, 5), self._end())
            case "never-answered":
                return Reply(b"", then="hang")
            case "slow-answer":
                return Reply(answer.data, self.swarm.between(fault, 1, 110))
            case "5xx-charged":
                return self._say(self.chance.choice((500, 502, 503, 504)), None)
            case "page-charged":
                return self._page(200)
            case "no-id":
                return self._say(200, _envelope({"status": "created"}))
            case "wrong-id" if before:
                wrong = self._show(self.chance.choice(before))
                return self._say(200, _envelope(wrong))
            case "cut-answer":
                cut = self.chance.randrange(len(answer.data))
                return Reply(answer.data[:cut], then=self._end())
            case _:
                return answer

    def _end(self) -> After:
        return self.chance.choice(("eof", "reset"))

    def _row(self, model: str, body: dict[str, Any], late: float) -> Charge:
        at = self.now() + late
        lag = self.chance.uniform(0, LIST_SETTLE * 0.99)
        row = Charge(
            id=f"pred-{next(self._numbers):04d}",
            model=model,
            body=body,
            at=at,
            shown_at=at + (lag if self.swarm.strikes("list-lag") else 0.0),
            done_at=at + self.chance.uniform(0.5, 9),
            end=self.swarm.first(OUTCOMES),
        )
        self._price(row)
        return row

    def _price(self, row: Charge) -> None:
        """What it costs, when billing shows that, and what comes back of it."""
        row.billed_at = row.at
        if self.swarm.strikes("overcharge"):
            row.price = PRICE * 5 // 4
        if self.swarm.strikes("bill-lag"):
            row.billed_at += self.swarm.between("bill-lag", 0, 30)
        if self.swarm.strikes("charge-twice"):
            row.again_at = row.done_at + self.swarm.between("charge-twice", 0, 60)
        if row.failed and not self.swarm.strikes("no-refund"):
            row.refund = row.price // (3 if self.swarm.strikes("part-refund") else 1)
            row.refund_at = max(row.done_at, row.billed_at) + self.chance.uniform(0, 60)

    def _book(self, row: Charge) -> None:
        self._enter(row)
        self.on_charge(row)

    def _enter(self, row: Charge) -> None:
        insort(self._times, (row.at, len(self.ledger)))
        self.places[row.id] = len(self.ledger)
        self.ledger.append(row)

    def somebody_else(self, body: dict[str, Any], model: str) -> None:
        """Another user of the same key buys."""
        row = self._row(model, body, 0.0)
        row.ours = False
        self._enter(row)

    # Readings.

    def _read(self, data: dict[str, Any]) -> Reply:
        answer = self._say(200, _envelope(data))
        match self.swarm.first(READINGS):
            case "read-5xx":
                return self._say(503, None)
            case "read-429":
                return self._say(429, {"code": 429, "message": "slow"})
            case "read-drop":
                cut = self.chance.randrange(len(answer.data))
                return Reply(answer.data[:cut], then=self._end())
            case "read-slow":
                return Reply(answer.data, self.chance.uniform(0.1, 8))
            case "read-garbage":
                return self._page(200)
            case _:
                return answer

    def _result(self, name: str) -> Reply:
        place = self.places.get(name)
        row = None if place is None else self.ledger[place]
        fresh = row is not None and self.now() < row.at + 3
        if row is None or (fresh and self.swarm.strikes("read-404")):
            return self._say(404, {"code": 404, "message": "no such prediction"})
        return self._read(self._show(row))

    def _show(  # noqa: PLR0911 - one line for each end
        self, row: Charge
    ) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": row.id,
            "model": row.model,
            "status": "processing",
            "outputs": [],
            "created_at": self.clock(row.at).isoformat(),
        }
        if self.now() < row.done_at:
            if row.end == "odd-words":
                shown["status"] = "reticulating"
            return shown
        row.looks += 1
        match row.end:
            case "fails":
                return shown | {"status": "failed", "error": "out of luck"}
            case "moderated":
                return shown | {"status": "failed", "error": "content policy"}
            case "vanishes":
                return shown | {"status": "deleted"}
            case "empty-at-first" if row.looks < 3:
                return shown | {"status": "completed"}
            case _ if "element_refer_list" in row.body:
                self.elements.add(f"el-{row.id}")
                return shown | {
                    "status": "completed",
                    "outputs": [{"element_id": f"el-{row.id}"}],
                }
            case _:
                link = f"http://127.0.0.1:9/{row.id}.mp4?until={self.now() + 30}"
                return shown | {"status": "completed", "outputs": [link]}

    def _list(self, asked: dict[str, Any]) -> Reply:
        since = datetime.fromisoformat(asked["created_after"])
        until = datetime.fromisoformat(asked["created_before"])
        if self.swarm.strikes("list-drift"):
            stranger = {"prompt": "drift", "duration": 3}
            self.somebody_else(stranger, asked.get("model", "acme/video"))
        model, now = asked.get("model"), self.now()
        rows = [
            row
            for row in self._between(since, until)
            if model in (None, row.model) and row.shown_at <= now
        ]
        size = 2 if "small-pages" in self.swarm.rates else asked["page_size"]
        first = (asked["page"] - 1) * size
        if self.swarm.strikes("list-5xx"):
            return self._say(500, None)
        items = [self._listed(row) for row in rows[first : first + size]]
        answer = self._read({"items": items, "total": len(rows)})
        if self.swarm.strikes("list-cut"):
            return Reply(answer.data[:-9], then="reset")
        return answer

    def _between(self, since: datetime, until: datetime) -> list[Charge]:
        """The charges of a window of its clock, newest first."""
        first, last = (
            bisect(self._times, ((edge - EPOCH).total_seconds() - self.offset + slack,))
            for edge, slack in ((since, -1), (until, 1))
        )
        found = self._times[first:last]
        # Its clock shows microseconds; only a second at each edge needs that care.
        while found and self.clock(found[-1][0]) > until:
            found.pop()
        early = takewhile(lambda one: self.clock(one[0]) < since, found)
        numbers = sorted(number for _, number in found[sum(1 for _ in early) :])
        rows = (self.ledger[number] for number in numbers)
        return sorted(rows, key=attrgetter("at"), reverse=True)

    def _listed(self, row: Charge) -> dict[str, Any]:
        inputs = row.body
        if "spelled-out" in self.swarm.rates and "prompt" in row.body:
            inputs = {**row.body, "cfg_scale": 0.5, "negative_prompt": ""}
        return self._show(row) | {"inputs": {} if self.hides_inputs else inputs}

    def _bills(self, asked: dict[str, Any]) -> Reply:
        """Charges and refunds of some predictions, newest first, and a stranger's."""
        if "bill-hidden" in self.swarm.rates:
            return self._say(404, {"code": 404, "message": "no billing here"})
        now = self.now()
        rows = [("stranger", "deduct", "pred-else", PRICE)]
        wanted = {*asked["prediction_uuids"]} & self.places.keys()
        for row in (
            self.ledger[n] for n in sorted(map(self.places.__getitem__, wanted))
        ):
            if row.billed_at <= now:
                rows.append((f"d-{row.id}", "deduct", row.id, row.price))
            if row.again_at <= now:
                rows.append((f"a-{row.id}", "deduct", row.id, row.price))
            if row.refund_at <= now:
                rows.append((f"r-{row.id}", "refund", row.id, row.refund))
        size = 2 if "small-pages" in self.swarm.rates else asked["page_size"]
        # Each page begins with the last row of the one before: pages drift.
        first = max(0, (asked["page"] - 1) * (size - 1))
        items = [
            {
                "uuid": name,
                "billing_type": kind,
                "price": price / 1_000_000,
                "prediction": {"uuid": whose},
            }
            for name, kind, whose, price in rows[::-1][first : first + size]
        ]
        more = first + size < len(rows)
        return self._read({"items": items, "has_more": more})

    # Bytes.

    def _page(self, status: int) -> Reply:
        return self._raw(status, b"<html>Welcome</html>", "Content-Type: text/html")

    def _say(self, status: int, value: Any, *headers: str) -> Reply:
        body = b"" if value is None else json.dumps(value).encode()
        return self._raw(status, body, *headers)

    def _raw(self, status: int, body: bytes, *headers: str) -> Reply:
        date = format_datetime(self.clock(self.now()), usegmt=True)
        lines = [
            f"HTTP/1.1 {status} Words",
            f"Date: {date}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return Reply(head + body, self.chance.uniform(0.01, 0.2))


def _envelope(data: Any) -> dict[str, Any]:
    return {"code": 200, "message": "success", "data": data}


def clip_of(name: str) -> bytes:
    """The clip of a prediction: the smallest MP4 that is one."""
    boxes = ((b"ftyp", b"isom0000"), (b"moov", b"x"), (b"mdat", name.encode() * 20))
    return b"".join(
        (len(data) + 8).to_bytes(4, "big") + kind + data for kind, data in boxes
    )
