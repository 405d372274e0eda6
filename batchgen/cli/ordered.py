"""The tasks that were ordered last, as `tasks.jsonl` in a run's folder has them.

The state file alone does not know what is left of an order. A line holds the request as
it is written for people; nearly always it says just what the state file has planned,
and then that is all there is to look at.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from msgspec.json import Decoder

from batchgen.events import TaskPlanned
from batchgen.images import Album
from batchgen.models import Model, catalog
from batchgen.money import usd
from batchgen.pictures import Hanging
from batchgen.rows import model_of
from batchgen.tally import Tally
from batchgen.tasks import Task

NAME = "tasks.jsonl"
_PAGE = 1 << 17  # bytes
_BESIDE = ("id", "model", "take", "labels", "output")  # the request
_OWN = (*_BESIDE, "price", "extra")
_NONE: dict[str, str] = {}
_LINES: Decoder[Any] = Decoder()


def ordered(
    folder: Path, tally: Tally, only: Collection[int] | None = None
) -> Iterator[Task]:
    """The expansion last run, in order; nothing where it was not written down.

    With `only` no other lines than these, which count from 0.
    """
    try:
        stream = (folder / NAME).open("rb")
    except OSError:
        return
    reader = _Reader(tally)
    numbers = count()
    with stream:
        for page in _pages(stream):
            text = page
            if only is not None:
                lines = zip(page.splitlines(keepends=True), numbers, strict=False)
                text = b"".join(line for line, number in lines if number in only)
            for line in _LINES.decode_lines(text):
                task = reader.as_it_stands(line) or reader.made(line)
                if task is not None:
                    yield task


def _pages(stream: BinaryIO) -> Iterator[bytes]:
    """The file in pieces that end where a line does."""
    rest = b""
    while block := stream.read(max(_PAGE, len(rest))):
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        yield block[:end]
    yield rest


class _Reader:
    """Makes tasks of lines, with what the journal knows of them.

    That is their identity, and what the pictures were that a line names by their
    paths, whatever became of the files; of other tasks the files are looked at.
    """

    album = Album()  # for the whole command: a run may be looked at every second

    def __init__(self, tally: Tally) -> None:
        self._models = catalog()
        self._known = {model.id for model in self._models}
        self._states = tally.states
        self._next = self._all()

    def _all(self) -> Iterator[TaskPlanned]:
        for state in self._states.values():
            if state.planned is not None:
                yield state.planned

    @cached_property
    def _planned(self) -> dict[str, list[TaskPlanned]]:
        """What was planned, by its name."""
        found: dict[str, list[TaskPlanned]] = {}
        for planned in self._all():
            found.setdefault(planned.slug, []).append(planned)
        return found

    def _of(self, slug: str) -> Iterator[TaskPlanned]:
        """What was planned under a name."""
        # As a rule it was in the order of the lines, and none has to be looked for.
        one = next(self._next, None)
        if one is not None and one.slug == slug:
            yield one
        else:
            self._next = iter(())
        yield from self._planned.get(slug, ())

    def as_it_stands(self, line: dict[str, Any]) -> Task | None:
        """The task of a line that says just what was planned; nearly every one does."""
        plain = "price" not in line and "extra" not in line
        if not (plain and str(line["model"]) in self._known):
            return None
        fields = line.copy()
        slug, model, take = fields.pop("id"), fields.pop("model"), fields.pop("take")
        labels, output = fields.pop("labels", _NONE), fields.pop("output")
        for planned in self._of(slug):
            if (
                planned.input == fields
                and planned.take == take
                and planned.model == model
            ):
                return Task(
                    planned.task,
                    slug,
                    planned.model,
                    planned.input,
                    take,
                    planned.price,
                    planned.seconds,
                    # One object where two are equal: there are many tasks.
                    planned.labels if planned.labels == labels else labels,
                    planned.output if planned.output == output else output,
                )
        return None

    def made(self, line: dict[str, Any]) -> Task | None:
        """A task from its own line; the line holds the request as it is sent."""
        model = model_of(line["model"], line.get("price"), self._models)
        if model is None:
            return None
        fields = {key: value for key, value in line.items() if key not in _OWN}
        fields |= line.get("extra", {})
        fields = self._hung(fields, model, line)
        whole = {**model.identity_defaults, **fields}
        price = line.get("price")
        return Task(
            id=self._identity(fields, model, line),
            slug=line["id"],
            model=model.id,
            input=fields,
            take=line["take"],
            price=model.price.of(whole) if price is None else usd(str(price)),
            seconds=int(whole.get("duration", 0)),
            labels=line.get("labels", {}),
            output=line["output"],
        )

    def _identity(
        self, fields: Mapping[str, Any], model: Model, line: dict[str, Any]
    ) -> str:
        """The id of a line's task: looked up where it was planned as it stands."""
        take: int = line["take"]
        for planned in self._planned.get(line["id"], ()):
            if (planned.model, planned.take) != (model.id, take):
                continue
            if planned.input == fields:
                return planned.task
        return model.identity(fields, take)

    def _hung(
        self, fields: dict[str, Any], model: Model, line: dict[str, Any]
    ) -> dict[str, Any]:
        """The request with references instead of paths."""
        names = {path[0] for path in model.media}
        if names.isdisjoint(fields):
            return fields
        hanging = Hanging(model, self.album, lambda _: Path())
        known = [
            dict(planned.input)
            for planned in self._planned.get(line["id"], ())
            if (planned.model, planned.take) == (model.id, line["take"])
            and _without(planned.input, names) == _without(fields, names)
        ]
        now = known[0] if len(known) == 1 else hanging.hung(fields)
        return known[-1] if known and now not in known else now


def _without(fields: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}
