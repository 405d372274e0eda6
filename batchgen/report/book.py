"""One run as the page shows it: every clip a row of plain values. Pure."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import Struct

from batchgen.models import Catalog
from batchgen.money import Micros
from batchgen.records import Record
from batchgen.report.media import Media, flaws
from batchgen.report.summary import (
    Summary,
    error_of,
    file_of,
    known,
    links_of,
    paid_attempts,
)
from batchgen.report.timeline import Timeline, timeline
from batchgen.state import TaskState, word
from batchgen.tally import Tally
from batchgen.task import Task, priced

REMOVED = "removed"
_ASKED = ("aspect_ratio", "duration", "sound")
MOST_VALUES = 60
"""An axis with more values than this is no axis; search finds them."""


class Clip(Struct, frozen=True):
    """One task, whatever became of it.

    Attributes:
        task: what was asked for.
        state: where it stands.
        status: its word; `removed` if the last order did not ask for it.
        cost: what its attempts count for, micro-dollars.
        asked: the request with the model's defaults.
        labels: axis ids and labels, and the settings that vary.
        file: path below the run's folder, or address of an object; empty without one.
        link: opens an object; empty for a file beside the page.
        media: what a look into the file showed.
        wrong: where it is not what was ordered.
    """

    task: Task
    state: TaskState
    status: str
    cost: Micros
    asked: Mapping[str, Any]
    labels: Mapping[str, str]
    file: str = ""
    media: Media | None = None
    wrong: tuple[str, ...] = ()
    link: str = ""

    @property
    def hash(self) -> str:
        """The short identity that people and commands use."""
        return self.task.id[:8]

    @property
    def reason(self) -> tuple[str, str]:
        """Kind and message of what stands in its way; empty if nothing does."""
        error = error_of(self.state)
        return (error["kind"], error["message"]) if error else ("", "")

    @property
    def remote(self) -> bool:
        """Whether its file is an object in a bucket."""
        return bool(self.file and self.state.files[0].store)

    @property
    def attempts(self) -> int:
        """How often it may have been paid for."""
        return paid_attempts(self.state)


@dataclass(frozen=True)
class Book:
    """A run with everything the page needs.

    Attributes:
        summary: its document.
        tasks: what was last ordered, in order.
        records: its journal.
        tally: the fold of that journal.
        models: the catalog.
        media: sha256 -> what is inside the file.
        base: path from the page to the run's folder, ending in `/` unless empty.
        links: (store, name) -> what opens an object in a bucket.
        until: when those links end, as the page tells it; empty if they do not.
    """

    summary: Summary
    tasks: Sequence[Task]
    records: Sequence[Record]
    tally: Tally
    models: Catalog
    media: Mapping[str, Media] = field(default_factory=dict)
    base: str = ""
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)
    until: str = ""

    @property
    def run(self) -> str:
        """The run's name."""
        return self.summary["run"]

    @property
    def command(self) -> str:
        """What starts it again."""
        return self.summary.get("command", "batchgen run MANIFEST")

    @property
    def final(self) -> str:
        """What buys the picks of a rehearsal on the manifest's own model, or ""."""
        words = shlex.split(self.command)
        if "--model" not in words:
            return ""
        at = words.index("--model")
        return shlex.join([*words[:at], *words[at + 2 :], "--select", "@picks.csv"])

    def illustrated(self, media: Mapping[str, Media]) -> "Book":
        """The same after a look into its clips."""
        found = replace(self, media=media)
        found.__dict__["times"] = self.times  # they are as they were
        return found

    @cached_property
    def times(self) -> Timeline:
        """When things happened."""
        return timeline(self.records)

    @cached_property
    def clips(self) -> list[Clip]:
        """Every clip: those ordered, in order, and those that once were."""
        return [clip for clip in self._all if clip.task.kind == "clip"]

    @cached_property
    def elements(self) -> list[Clip]:
        """What clips show: paid for like them, and nothing to look at."""
        return [clip for clip in self._all if clip.task.kind == "element"]

    @cached_property
    def _all(self) -> list[Clip]:
        ordered = {task.id for task in self.tasks}
        others = [task for task in known(self.tally) if task.id not in ordered]
        clips = [self._clip(task) for task in self.tasks]
        clips += [self._clip(task, REMOVED) for task in others if self._matters(task)]
        return clips

    def spend(self, names: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """For each axis its values, dearest first, with clips and cost."""
        for name in names:
            costs: Counter[str] = Counter()
            counts: Counter[str] = Counter()
            for clip in self.clips:
                if name in clip.labels:
                    costs[clip.labels[name]] += clip.cost
                    counts[clip.labels[name]] += 1
            rows = [(value, counts[value], cost) for value, cost in costs.items()]
            rows.sort(key=lambda row: -row[2])
            if len(rows) > 1:
                yield name, rows

    def _matters(self, task: Task) -> bool:
        state = self.tally.states[task.id]
        return bool(state.files) or self._cost(task, state) > 0

    def _clip(self, task: Task, status: str = "") -> Clip:
        state = self.tally.states.get(task.id, TaskState())
        model = self.models.find(task.model)
        asked = priced(model, task.input) if model else dict(task.input)
        file = state.files[0] if word(state) == "done" and state.files else None
        media = self.media.get(file.sha256) if file else None
        wrong = tuple(flaws(media, asked, task.model)) if media else ()
        own = {name: _spelled(name, asked[name]) for name in _ASKED if name in asked}
        own["model"] = model.title if model else task.model
        return Clip(
            task,
            state,
            status or word(state),
            self._cost(task, state),
            asked,
            {**task.labels, **{k: v for k, v in own.items() if k not in task.labels}},
            file_of(state, links_of(self.tally)) or "",
            media,
            wrong,
            self.links.get((file.store, file.name), "") if file else "",
        )

    def _cost(self, task: Task, state: TaskState) -> Micros:
        return self.tally.ledger.cost(task.id, len(state.attempts))


class Axes(NamedTuple):
    """What clips can be told apart by.

    Attributes:
        all: name and values of each, in order.
        named: how many of them, the first, the author has named.
    """

    all: list[tuple[str, list[str]]]
    named: int


def axes(books: Sequence[Book]) -> Axes:
    """The labels that vary, then the settings; several runs differ by `run`."""
    found: dict[str, dict[str, None]] = {}
    if len(books) > 1:
        found["run"] = dict.fromkeys(book.run for book in books)
    own = (*_ASKED, "model")
    for book in books:
        for clip in book.clips:
            for name, value in clip.labels.items():
                found.setdefault(name, {})[value] = None
    useful = {n: list(v) for n, v in found.items() if 1 < len(v) <= MOST_VALUES}
    labelled = {name for b in books for c in b.clips for name in c.task.labels}
    last = [name for name in own if name in useful and name not in labelled]
    first = [name for name in useful if name not in last]
    return Axes([(name, useful[name]) for name in (*first, *last)], len(first))


def _spelled(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value} s" if name == "duration" else str(value)
