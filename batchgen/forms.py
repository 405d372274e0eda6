"""Rows of a sheet that differ in their texts only: judged once, priced once. Pure.

A sheet of a million rows has few different durations, ratios and switches. The first
row with a certain choice of them goes the whole way from cells to a task, and leaves a
form: what all rows of that choice have in common. The others need only their texts
looked at. A row that is not plain in every way has no form and goes the whole way
itself, so only that way knows mistakes and how to speak of them.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from msgspec import Struct

from batchgen import names
from batchgen.drafts import Draft
from batchgen.manifest import Manifest
from batchgen.models import Model
from batchgen.models.canonical import encoded, fingerprint, plain, quoted
from batchgen.models.checks import LONG_PROMPT
from batchgen.readers.csv import Row
from batchgen.readers.sheets import MARKED, Sheet
from batchgen.task import Task

_SHORT = names.LONGEST - len(".mp4")
_MOST = 4096  # forms; a sheet of more has nothing to gain
# A model with another rule has no forms: who knows what that reads in a text.
_UNDERSTOOD = frozenset(
    {
        "absent-field",
        "element-named",
        "end-image-alone",
        "long-prompt",
        "prompt-or-scenes",
        "scene-length",
    }
)
# Where these stand, rules look into the texts.
_DEEP = frozenset({"multi_prompt", "element_list"})
Picker = Callable[[Sequence[str]], tuple[str, ...]]


class _Form(Struct):
    """What rows have in common: their request with gaps for the texts.

    `pieces` are the canonical JSON around the texts `gaps`, in its order.
    """

    model: Model
    body: dict[str, Any]
    pieces: tuple[str, ...]
    gaps: tuple[str, ...]
    texts: tuple[tuple[int, str, Callable[[Any], bool], object], ...]
    price: int
    seconds: int


class Forms:
    """The forms of one sheet, learned row by row."""

    def __init__(self, manifest: Manifest, sheet: Sheet) -> None:
        columns = sheet.table.columns
        at = {column.name: column.index for column in columns}
        free = [name for name in sheet.texts if name in at]
        labels = {index for index, _ in sheet.labels}
        apart = {at[name] for name in free} | labels
        apart |= {at["id"]} if "id" in at else set()
        closed = [column.index for column in columns if column.index not in apart]
        self._texts = [(at[name], name) for name in free]
        self._labels = sheet.labels
        self._id = at.get("id", -1)
        self._prompt = at.get("prompt", -1)
        self._width = len(columns)
        self._closed = _picker(closed)
        self._open = _picker([index for index, _ in self._texts])
        self._common = dict(manifest.written.labels)
        self._fold = manifest.output.ascii
        self._forms: dict[tuple[object, ...], _Form] = {}

    def learn(self, draft: Draft, task: Task, canonical: Mapping[str, Any]) -> None:
        """Make a form of a row that went the whole way and left nothing to say."""
        row = draft.origin.source
        if not isinstance(row, Row) or len(self._forms) >= _MOST:
            return
        form = self._form(row, draft, task, canonical)
        if form is not None and self._made(row, form) == task:
            self._forms[self._key(row.cells)] = form

    def task(self, row: Row) -> Task | None:
        """The task of a row that has a form; None for one that goes the whole way."""
        if len(row.cells) != self._width:
            return None
        form = self._forms.get(self._key(row.cells))
        return self._made(row, form) if form else None

    def _key(self, cells: list[str]) -> tuple[object, ...]:
        """What a form hangs on: the closed cells, and which texts there are."""
        texts, closed = self._open(cells), self._closed(cells)
        return (*closed, *map(bool, texts)) if "" in texts else closed

    def _form(
        self, row: Row, draft: Draft, task: Task, canonical: Mapping[str, Any]
    ) -> _Form | None:
        model = draft.model
        if (
            type(model) is not Model
            or model.kind == "elements"
            or not _UNDERSTOOD.issuperset(model.rules)
            or not _DEEP.isdisjoint(canonical)
            or any(path[0] in canonical for path in model.media)
            or draft.output is not None
            or (draft.take, draft.takes, task.take) != (None, 1, 1)
            or task.files
            or len(row.cells) != self._width
        ):
            return None
        there = [(index, name) for index, name in self._texts if row.cells[index]]
        marks = {name: f"\ue000{index}\ue001" for index, name in there}
        if not marks.keys() <= canonical.keys():
            return None
        text = encoded(model.id, {**canonical, **marks}, 1)
        gaps = sorted(marks)
        pieces = []
        for name in gaps:
            piece, _, text = text.partition(quoted(marks[name]))
            pieces.append(piece)
        return _Form(
            model,
            model.body(canonical),
            (*pieces, text),
            tuple(gaps),
            tuple(
                (index, name, model.quick(name), model.identity_defaults.get(name))
                for index, name in there
            ),
            task.price,
            task.seconds,
        )

    def _made(self, row: Row, form: _Form) -> Task | None:
        cells = row.cells
        body = form.body.copy()
        for index, name, sound, default in form.texts:
            cell = cells[index]
            text = cell.strip() if cell.isascii() else plain(cell)
            if cell[0] in MARKED or text == default or not sound(text):
                return None
            body[name] = text
        prompt = body.get("prompt", "")
        if "{" in prompt or len(prompt) > LONG_PROMPT:
            return None
        gaps = form.gaps
        filled = [""] * (2 * len(gaps) + 1)
        filled[::2] = form.pieces
        filled[1::2] = [quoted(body[name]) for name in gaps]
        key = fingerprint("".join(filled))[:32]
        name = cells[self._id] if self._id >= 0 else ""
        if name:
            slug = names.segment(name)
            if not slug or len(name) > names.LONGEST_ID or name[0] in MARKED:
                return None
        elif prompt:
            slug = f"{names.words(prompt)}~{key[:8]}"
        else:
            return None
        labels = self._common.copy()
        for index, label in self._labels:
            if cells[index]:
                labels[label] = cells[index]
        if slug == name and slug.isascii() and len(slug) < _SHORT:
            output = f"{slug}.mp4"  # what left the name as it is leaves it so again
        else:
            output = names.segment(slug, fold=self._fold, ending=".mp4")
        return Task(
            key, slug, form.model.id, body, 1, form.price, form.seconds, labels, output,
            row.place(()),
        )  # fmt: skip


def _picker(indexes: Sequence[int]) -> Picker:
    """The cells at these places, always as a tuple."""
    if len(indexes) > 1:
        return itemgetter(*indexes)
    if indexes:
        (only,) = indexes
        return lambda cells: (cells[only],)
    return lambda _: ()
