"""The judge: the provider's ledger against the state file, and nothing else.

The numbers of the laws are those of the contract: I1 intent first, I2 one shot,
I3 no blind resubmit, I4 one charge, I5 coverage, I6 cap, I7 durability, I10 one owner,
I11 and I12 files, I13 replay, I15 secrets, I17 bounded doubt, I18 progress.
I8, I9 and I16 are looked at by the stage. I14, no safety by clocks, has no check of its
own: the swarm sets the clock by up to 400 days, and all other laws must hold. Time
zones do not matter: everything is written and compared in UTC.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from batchgen.replay import replay
from batchgen.tally import Tally
from batchgen.tasks import Task

from .books import Books
from .provider import PRICE, Charge, Provider, clip_of, group_of
from .replay import MAY_REPEAT, Reader, Story, Try, tell

KEY = "key-5c1f0a7d"
_OWNER = re.compile(rb"pred-\d+")


class Violation(AssertionError):
    """A law was broken."""


@dataclass
class Oracle:
    """What must hold, at every charge, at every crash and at every end.

    Attributes:
        durable: the bytes of the state file that no crash can take, and how many of
            them are as they were when it was asked last.
        slots: submissions that may be under way at once.
        repeats_in_doubt: somebody said `--retry uncertain`.
        again: somebody said `--again`.
        known: group -> ids of tasks that any manifest ever asked for.
    """

    provider: Provider
    durable: Callable[[], tuple[bytearray, int]]
    slots: int = 1
    repeats_in_doubt: bool = False
    again: bool = False
    known: dict[str, set[str]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    _reader: Reader = field(default_factory=Reader)
    _tasks: dict[str, set[str]] = field(default_factory=dict)  # of a group
    _unjudged: set[str] = field(default_factory=set)
    _owners_of: dict[str, str] = field(default_factory=dict)  # id -> task

    def __post_init__(self) -> None:
        self._books = Books(self.provider)

    def expect(self, tasks: Iterable[Task]) -> None:
        """A manifest asks for these."""
        for task in tasks:
            self.known.setdefault(group_of(task.input), set()).add(task.id)

    # While it happens.

    def on_request(self, body: dict[str, Any] | None) -> None:
        """I1, I2: never a byte without a durable intent, never two for one."""
        story = self._now()
        if body is None:
            self.begun += 1
            told = f"{self.begun} requests, {story.intents} intents"
            _law("I1", self.begun <= story.intents, told)
            return
        self._known(body)
        group = group_of(body)
        self.requests[group] += 1
        sent, intents = self.requests[group], len(self._tries(story, group))
        _law(
            "I1/I2", sent <= intents, f"{sent} requests for {intents} intents: {group}"
        )

    def _now(self) -> Story:
        """What the durable file tells.

        It is asked at every request and every charge, so it reads only what is new.
        """
        story = self._reader.read(*self.durable())
        for task in story.changed:
            group = group_of(story.plans[task]["input"])
            self._tasks.setdefault(group, set()).add(task)
            names = (one.prediction for one in story.tries[task] if one.prediction)
            self._owners_of.update(dict.fromkeys(names, task))
        self._unjudged |= story.changed
        story.changed.clear()
        return story

    def _tries(self, story: Story, group: str) -> list[Try]:
        tasks = self._tasks.get(group, ())
        return [one for task in tasks for one in story.tries.get(task, ())]

    def doubtful(self) -> int:
        """Attempts without a known outcome in the durable file."""
        return self._now().in_doubt()

    def _known(self, body: dict[str, Any]) -> None:
        """Nothing goes out but what the service gave us a name for."""
        _law("wire", "sha256:" not in repr(body), f"a reference was sent: {body}")
        images = {body["image"]} if "image" in body else set()
        images |= set(body.get("element_refer_list", ()))
        strange = images - self.provider.addresses
        _law("wire", not strange, f"{strange} were never uploaded")
        made = {one["element_id"] for one in body.get("element_list", ())}
        strange = made - self.provider.elements
        _law("wire", not strange, f"{strange} are no elements")

    def on_charge(self, row: Charge) -> None:
        """I4, I5, I6 at the moment of a charge.

        Of the other tasks nothing can have become wrong since they were looked at: what
        a charge costs falls by itself, and rises only where it is charged once more.
        """
        story = self._now()
        tries = self._tries(story, row.group)
        self._covered(tries, row.group)
        self._once(tries, row.group)
        again = {self._owners_of.get(name, "") for name in self._books.rising}
        self._capped(story, (self._unjudged | again) & story.tries.keys())
        self._unjudged = set()

    # At a crash and at an end.

    def check(self, state: bytes, acknowledged: int, *, files: Path | None) -> Story:
        """Everything that a state file and the ledger can be held to.

        Args:
            state: the bytes of an image of the state file.
            acknowledged: the highest record whose durability was promised.
            files: the folder of clips that belongs to that image.
        """
        self.provider.settle()
        story = tell(state)
        _law("I7", story.last >= acknowledged, f"{acknowledged} promised, {story.last}")
        tries = _by_group(story)
        for group in {row.group for row in self.provider.ledger if row.ours}:
            self._covered(tries.get(group, []), group)
            self._once(tries.get(group, []), group)
        self._capped(story, story.tries)
        self._owners(story)
        self._in_order(story)
        if files is not None:
            _files(story, files)
        _same_tale(story, state)
        _law("I15", KEY.encode() not in state, "the key stands in the state file")
        return story

    def doubts(self, before: int, after: Story) -> None:
        """I17: a crash leaves at most as many open questions as there were slots."""
        new = after.in_doubt() - before
        opened = sum(one.stage == "open" for row in after.tries.values() for one in row)
        _law(
            "I17",
            opened <= self.slots,
            f"{opened} open with {self.slots} slots ({new})",
        )

    def progress(self, tasks: Iterable[Task], story: Story, *, whole: bool) -> None:
        """I18: in quiet times every task comes to an end; `whole`: to a clip."""
        # What was charged above its bound is what the next one reserves.
        now = self.provider.now()
        dearest = max((row.charged(now) for row in self.provider.ledger), default=0)
        for task in tasks:
            row = story.tries.get(task.id, [])
            stage = row[-1].stage if row else "not-sent"
            ended = task.id in story.saved or task.id in story.given_up
            bound = max(task.price, dearest)
            short = story.cap is not None and story.committed + bound > story.cap
            fine = ended or stage == "uncertain" or (stage in MAY_REPEAT and short)
            fine = fine or (stage == "not-sent" and _waits(task, story))
            _law("I18", fine, f"{task.slug} is left {stage}")
            _law("I18", not whole or task.id in story.saved, f"{task.slug}: no clip")

    def refunded(self, story: Story, since: float) -> None:
        """What billing showed before a session began is what counts at its end.

        What was paid back is held no longer, and what was charged once more is.
        """
        rows = {row.id: row for row in self.provider.ledger}
        for task, tries in story.tries.items():
            for one in tries:
                row = rows.get(one.prediction)
                expected = one.kind in ("provider", "cancelled")
                back = expected and row and row.refund and row.refund_at <= since
                if row and (back or row.again_at <= since):
                    net = row.net(since)
                    _law("I6", one.money == net, f"{task}: {one.money} held of {net}")

    def in_time(self, story: Story) -> None:
        """No intent of the last session is younger than its deadline."""
        if not story.deadline:
            return
        last = datetime.fromisoformat(story.deadline) + timedelta(seconds=1)
        late = [
            f"{task} at {one.at}"
            for task, row in story.tries.items()
            for one in row
            if datetime.fromisoformat(one.at) > last and one.session == story.session
        ]
        _law("deadline", not late, f"{late} after {story.deadline}")

    # One law each.

    def _once(self, tries: Sequence[Try], group: str) -> None:
        """As many clips as tasks, and those that somebody knowingly asked for twice.

        Where A7 is broken, somebody's failed clip may have been taken for ours, which
        is bought again then; where A8 is, that of another request.
        """
        good = [row.id for row in self._books.charges(group) if not row.failed]
        repeats = sum(one.after in ("uncertain", "completed") for one in tries)
        repeats += sum(one.prediction in self._books.strange for one in tries)
        taken = [self._books.row(one.prediction) for one in tries]
        repeats += sum(
            row is not None and row.ours and row.failed and row.group != group
            for row in taken
        )
        most = len(self.known.get(group, ())) + repeats
        _law("I4", len(good) <= most, f"{good} for {most} tasks: {group}")

    def _covered(self, tries: Sequence[Try], group: str) -> None:
        charges = [row.id for row in self._books.charges(group)]
        standing = sum(one.unreleased for one in tries)
        _law("I5", len(charges) <= standing, f"{charges}, {standing} stand: {group}")

    def _capped(self, story: Story, tasks: Iterable[str]) -> None:
        """At every intent what is known fits, and what is charged fits but for A6."""
        _law("I6", not story.overdrawn, f"beyond the cap: {story.overdrawn}")
        now, books = self.provider.now(), self._books
        books.settle(now)
        for task in tasks:
            for one in story.tries[task]:
                row = books.row(one.prediction)
                least = min(PRICE, row.shown(now)) if row else 0
                _law("I5", one.money >= least, f"{task}: {one.money} for {least}")
        if story.cap is None:
            return
        most = story.cap + books.excess
        told = f"{story.committed} committed of {story.cap}"
        _law("I6", story.committed <= most, told)
        _law("I6", books.spent <= most, f"{books.spent} charged of {story.cap}")

    @staticmethod
    def _owners(story: Story) -> None:
        owned = Counter(
            one.prediction
            for row in story.tries.values()
            for one in row
            if one.prediction
        )
        shared = [name for name, count in owned.items() if count > 1]
        _law("I10", not shared, f"ids with two owners: {shared}")

    def _in_order(self, story: Story) -> None:
        for task, row in story.tries.items():
            for one in row[1:]:
                fine = one.after in MAY_REPEAT
                fine = fine or (one.after == "completed" and self.again)
                fine = fine and (one.after != "uncertain" or self.repeats_in_doubt)
                _law("I3", fine, f"{task} was bought again after {one.after}")


def _waits(task: Task, story: Story) -> bool:
    """Whether an element that a clip shows is neither there nor given up."""
    for maker in (ref[7:39] for ref in task.elements):
        row = story.tries.get(maker, [])
        failed = bool(row) and row[-1].stage == "failed"
        if not (failed or maker in story.saved or maker in story.given_up):
            return True
    return False


def _by_group(story: Story) -> dict[str, list[Try]]:
    found: dict[str, list[Try]] = {}
    for task, row in story.tries.items():
        found.setdefault(group_of(story.plans[task]["input"]), []).extend(row)
    return found


def _files(story: Story, folder: Path) -> None:
    """I11, I12: what has its final name is whole, and what was saved is there."""
    valid = {}
    for path in folder.rglob("*.mp4"):
        data = path.read_bytes()
        valid[path.relative_to(folder).as_posix()] = data
        named = _OWNER.search(data)
        owner = named[0].decode() if named else ""
        _law(
            "I11", data == clip_of(owner), f"{path.name} has its name and is not whole"
        )
    for task, files in story.saved.items():
        for file in files:
            # A clip that makes room is moved first, and then that is written down.
            stem = file["name"].removesuffix(".mp4")
            places = (file["name"], f"_previous/{stem}~{task[:8]}.mp4")
            found = any(len(valid.get(one, b"")) == file["bytes"] for one in places)
            _law("I12", found, f"{task} was saved; {file['name']} is not there")


def _same_tale(story: Story, state: bytes) -> None:
    """I13: batchgen's own reading gives the same table."""
    found = Tally.of(replay(state).records)
    ours = {
        task: [(str(one.stage), one.prediction) for one in known.attempts]
        for task, known in found.states.items()
        if known.attempts
    }
    theirs = {
        task: [(one.stage, one.prediction) for one in row]
        for task, row in story.tries.items()
    }
    if ours != theirs:  # it is not spelled out where they agree: it may be long
        raise Violation(f"I13: two readings differ: {ours} {theirs}")
    _law("I13", found.ledger.committed == story.committed, "two sums differ")


def _law(name: str, holds: bool, why: str) -> None:  # noqa: FBT001
    if not holds:
        raise Violation(f"{name}: {why}")
