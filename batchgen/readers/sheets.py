"""From the rows of a table to tasks as they are written elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any

from batchgen.findings import Finding, Mistake, Place
from batchgen.models import Model
from batchgen.readers import cells
from batchgen.readers.csv import Row, Table, scene_of
from batchgen.readers.nodes import Origin
from batchgen.spelling import near

MARKED = "#<"  # how broken formulas and `<empty>` begin; other text is what it is
OWN: dict[str, Callable[[str], Any]] = {
    "id": lambda cell: cells.text(cell, "id"),
    "model": lambda cell: cells.text(cell, "model"),
    "output": lambda cell: cells.text(cell, "output"),
    "take": lambda cell: cells.whole(cell, "take"),
    "takes": lambda cell: cells.whole(cell, "takes"),
    "price": lambda cell: cells.number(cell, "price"),
    "extra": lambda cell: cells.structure(cell, "object"),
}


class Sheet:
    """How the columns of one table set the fields of one model."""

    def __init__(
        self, table: Table, model: Model, others: Mapping[str, Any] | None = None
    ) -> None:
        """Read the header.

        Args:
            table: of tasks.
            model: of rows that name none.
            others: fields of other models, for tables whose rows name them.
        """
        fields = _fields(table, model, others)
        self.table = table
        self.findings: list[Finding] = []
        self.labels: list[tuple[int, str]] = []
        self._fields: list[tuple[int, str, Callable[[str], Any]]] = []
        self._texts = {"id", "model", "output"}
        self._scenes: list[tuple[int, int, str]] = []
        self.texts: list[str] = []
        self._blank: list[int] = []
        self._prompt: int | None = None
        self._ratio, self._ratio_at = "", -1
        known = [*fields, *OWN, "scene_1", "scene_1_duration"]
        for column in table.columns:
            scene = scene_of(column.name)
            if not column.name:
                self._blank.append(column.index)
            elif scene and "multi_prompt" in fields:
                self._scenes.append((column.index, *scene))
            elif column.name in fields:
                schema = fields[column.name]
                read = cells.reader(column.name, schema)
                if schema.get("type") == "string" and "enum" not in schema:
                    self._texts.add(column.name)
                    self.texts.append(column.name)
                self._fields.append((column.index, column.name, read))
            elif column.name in OWN:
                self._fields.append((column.index, column.name, OWN[column.name]))
            elif column.name in model.elsewhere and not _names_models(table):
                mistake = model.stranger(column.name, (), fields)
                self.findings.append(mistake.at(self._header(column.index)))
            else:
                self._label(column.index, column.name, column.shown, known)
            if column.name == "prompt":
                self._prompt = column.index
            elif column.name == "aspect_ratio":
                self._ratio_at = column.index

    def task(self, row: Row) -> tuple[dict[str, Any], list[Finding]]:
        """The task a row describes, and what is wrong with it."""
        values = row.cells
        if len(values) > len(self.table.columns):
            return {}, [self._extra_cell(row)]
        data: dict[str, Any] = {}
        mistakes: list[Mistake] = []
        count = len(values)
        for index, name, read in self._fields:
            if index >= count or not values[index]:
                continue
            if name in self._texts and values[index][0] not in MARKED:
                data[name] = values[index]
            else:
                try:
                    data[name] = read(values[index])
                except cells.CellError as error:
                    mistakes.append(error.at(name))
        if self._scenes:
            self._read_scenes(values, data, mistakes)
        labels = self._labels_of(values) if self.labels else None
        if labels:
            data["labels"] = labels
        if not self._ratio and "aspect_ratio" in data:
            self._note_ratio(row, data["aspect_ratio"])
        return data, self._wrong(row, mistakes) if mistakes or self._blank else []

    def _wrong(self, row: Row, mistakes: list[Mistake]) -> list[Finding]:
        found = [Origin(row).finding(mistake) for mistake in mistakes]
        return found + self._blank_headers(row)

    def _labels_of(self, values: list[str]) -> dict[str, str]:
        count = len(values)
        return {
            name: values[index]
            for index, name in self.labels
            if index < count and values[index]
        }

    def note(self) -> Finding | None:
        """What was read differently from how it was written, for the whole file."""
        parts = []
        delimiter = self.table.delimiter
        if delimiter != ",":
            shown = {"\t": "tab"}.get(delimiter, f"`{delimiter}`")
            parts.append(f"read {shown} as the delimiter")
        if self._ratio:
            parts.append(("" if parts else "read ") + self._ratio)
        if not parts:
            return None
        place = Place(self.table.file, self.table.header_line, 1, 2)
        message = f"{' and '.join(parts)}."
        return Finding(place, "spreadsheet", message, severity="note")

    def _label(self, index: int, name: str, shown: str, known: list[str]) -> None:
        meant = near(name, known, cutoff=0.8)
        if not meant:
            self.labels.append((index, name))
            return
        place = self._header(index)
        message = f"unknown column `{shown}`"
        label = f"did you mean `{meant}`?"
        fix = "rename it; a label needs a name of its own"
        self.findings.append(Finding(place, "unknown-key", message, label, fix))

    def _header(self, index: int) -> Place:
        table = self.table
        return Row(table, table.header_line, [], table.header).cell(index)

    def _read_scenes(
        self, values: list[str], data: dict[str, Any], mistakes: list[Mistake]
    ) -> None:
        scenes: dict[int, dict[str, Any]] = {}
        for index, number, part in self._scenes:
            if index >= len(values) or not values[index]:
                continue
            try:
                read = cells.whole if part == "duration" else cells.text
                scenes.setdefault(number, {})[part] = read(
                    values[index],
                    f"scene_{number + 1}{'_duration' * (part != 'prompt')}",
                )
            except cells.CellError as error:
                mistakes.append(error.at("multi_prompt", number, part))
        if scenes and "multi_prompt" in data:
            message = "scenes stand in scene columns or in multi_prompt, not both"
            mistakes.append(Mistake(("multi_prompt",), "two-sources", message))
        elif scenes:
            data["multi_prompt"] = [scenes[number] for number in sorted(scenes)]

    def _extra_cell(self, row: Row) -> Finding:
        extra = len(row.cells) - len(self.table.columns)
        first = len(self.table.columns) if self._prompt is None else self._prompt
        start, last = row.cell(first), row.cell(first + extra)
        end = last.end if last.line == start.line else start.end
        noun = "prompt" if self._prompt is not None else "text"
        return Finding(
            Place(row.file, start.line, start.column, end),
            "extra-cell",
            f"this row has {len(row.cells)} cells, "
            f"the header has {len(self.table.columns)}",
            f"the `{self.table.delimiter}` inside the {noun} split it",
            f"put the {noun} in double quotes, or re-save from the spreadsheet app, "
            "which does it for you",
        )

    def _blank_headers(self, row: Row) -> list[Finding]:
        for index in self._blank:
            if index < len(row.cells) and row.cells[index]:
                place = row.cell(index)
                message = "this column has no name in the header"
                return [Finding(place, "blank-header", message)]
        return []

    def _note_ratio(self, row: Row, value: object) -> None:
        written = row.cells[self._ratio_at]
        if ":" in written and written != value:
            self._ratio = (
                f"{written} in row {row.line} as {value} "
                "(spreadsheets turn ratios into times)"
            )


def _fields(
    table: Table, model: Model, others: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    if not others or not _names_models(table):
        return model.fields
    return {**others, **model.fields}


def _names_models(table: Table) -> bool:
    return any(column.name == "model" for column in table.columns)
