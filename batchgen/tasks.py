"""How a manifest becomes tasks: checked, priced, compared."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchgen.clashes import Clashes, Prints
from batchgen.drafts import Draft
from batchgen.elements import Elements
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Gathered, Mistake, Place, in_table
from batchgen.given import NAME
from batchgen.images import Album
from batchgen.manifest import Manifest
from batchgen.models import Catalog, Model, Price
from batchgen.models.canonical import digest
from batchgen.money import Micros, dollars, usd
from batchgen.outside import Outside, length
from batchgen.pictures import FIELDS, Hanging
from batchgen.readers.csv import Table
from batchgen.rendering import Rendering
from batchgen.task import Days, Task, priced, to_json
from batchgen.variants import Variants

__all__ = ["MAX_TASKS", "Expansion", "Task", "check", "expand", "to_json"]

MAX_TASKS = 10_000
_COUNTED = 100_000  # so many are counted one by one, past the limit too
Json = Mapping[str, Any]
Measure = tuple[Micros, int]
Files = Mapping[str, str]
Sound = tuple[Model, dict[str, Any], Files, bool]


def expand(
    manifest: Manifest,
    catalog: Catalog,
    *,
    live: bool,
    max_tasks: int = MAX_TASKS,
) -> Iterator[Task]:
    """The clips, one after the other; nothing is yielded before all are sound.

    Walks the manifest twice: once to check, once to yield.

    Raises:
        ManifestError: with everything that is wrong, before the first task.
    """
    checked = check(manifest, catalog, live=live, max_tasks=max_tasks)
    for _ in checked:
        pass
    checked.verify()
    yield from checked


def check(
    manifest: Manifest,
    catalog: Catalog,
    *,
    live: bool,
    max_tasks: int = MAX_TASKS,
    days: Days | None = None,
    album: Album | None = None,
) -> "Expansion":
    """One walk that yields the sound tasks and collects what is wrong.

    `days` are what `{{ date }}` means; without them there is no such name. `album`
    knows the pictures that this command has looked at already.
    """
    return Expansion(
        manifest, catalog, live=live, max_tasks=max_tasks, days=days, album=album
    )


class Expansion:
    """One walk over a manifest's tasks.

    Iterate it to the end, then call `verify()` before anything is bought:

        expansion = check(manifest, catalog, live=True)
        tasks = list(expansion)
        expansion.verify()

    Attributes (true once the walk is over):
        axes: name and number of values of each axis, `prompt` first if there are
            rows: "prompt 2 x locale 3".
        product: combinations of rows and axes.
        excluded: combinations that `exclude` drops.
        included: tasks that `include` adds.
        count: tasks, takes included.
        price: what they cost, micro-dollars.
        seconds: how long they are.
        findings: errors, warnings and notes.
    """

    def __init__(
        self,
        manifest: Manifest,
        catalog: Catalog,
        *,
        live: bool,
        max_tasks: int,
        days: Days | None = None,
        album: Album | None = None,
        quick: bool = True,
    ) -> None:
        self.manifest = manifest
        self.count = self.price = self.seconds = 0
        self._live = live
        self._limit = max_tasks
        self._days = days
        # Forms know file names that follow from the slug alone.
        quick = quick and manifest.output.name == NAME
        self._variants = Variants(manifest, catalog, quick=quick)
        self._rendering = Rendering(manifest, self._variants.axes, days)
        self._found = Gathered()
        self._said = {(item.place, item.rule) for item in manifest.warnings}
        self._catalog = catalog
        self._price = manifest.price
        self._prints = Prints()
        self._clashes: tuple[int, list[Finding]] = (-1, [])
        self._album = album or Album()
        self._elements = Elements(manifest, catalog, self._album, live=live)

    @property
    def elements(self) -> list[Task]:
        """Tasks that make what the clips show, in written order.

        They are not among those that it yields, and not in its counts.
        """
        return self._elements.used

    @property
    def axes(self) -> tuple[tuple[str, int], ...]:
        """Name and number of values of each axis."""
        axes = [(axis.name, len(axis.values)) for axis in self._variants.axes]
        rows = self._variants.rows
        return (("prompt", rows), *axes) if rows > 1 else tuple(axes)

    @property
    def product(self) -> int:
        """Combinations of rows and axes."""
        return self._variants.product

    @property
    def excluded(self) -> int:
        """Combinations that `exclude` drops."""
        return self._variants.excluded

    @property
    def included(self) -> int:
        """Tasks that `include` adds."""
        return self._variants.included

    @property
    def rows(self) -> int | None:
        """Rows that were read, if the manifest is a table."""
        rows = self.manifest.rows
        return rows.rows if rows is not None else None

    @property
    def findings(self) -> list[Finding]:
        """Errors, warnings and notes, sorted by place."""
        found = [*self.manifest.warnings, *self._variants.findings, *self._found]
        found += self._compared()
        found += [*self._elements.findings, *self._elements.strays()]
        if not any(one.severity == "error" for one in found):
            found += self._elements.unused()
        found += self._rendering.findings()
        sheet = self._variants.sheet
        note = sheet.note() if sheet else None
        found += [note] if note else []
        unique = {(item.place, item.rule, item.message): item for item in found}
        return sorted(unique.values(), key=lambda item: item.place)

    def verify(self) -> None:
        """Stop if anything is wrong.

        Raises:
            ManifestError: with all errors and warnings.
        """
        findings = self.findings
        if any(finding.severity == "error" for finding in findings):
            raise ManifestError(findings)

    def __iter__(self) -> Iterator[Task]:
        """The sound clips, in order."""
        self._prints = Prints()
        remember = self._prints.remember
        for task, draft in self._walk():
            remember(task)
            if draft is None or draft.model.kind != "elements":
                yield task

    def _compared(self) -> list[Finding]:
        """Clashes between tasks; only where some have twins are they made again."""
        if self._clashes[0] != self.count:
            twins = self._prints.twins()
            clashes = Clashes(self._variants, twins)
            again = Expansion(
                self.manifest,
                self._catalog,
                live=self._live,
                max_tasks=self._limit,
                days=self._days,
                album=self._album,
                quick=False,
            )
            for task, draft in again._walk() if twins else ():
                if task in twins and draft is not None:
                    clashes.remember(task, draft)
            self._clashes = (self.count, list(clashes.findings()))
        return self._clashes[1]

    def _walk(self) -> Iterator[tuple[Task, Draft | None]]:
        self.count = self.price = self.seconds = 0
        self._elements.begin()
        if self._variants.combinations > 100 * self._limit:
            self._too_many(self._variants.combinations, more=True)
            return
        yield from self._elements.defined()
        most = max(self._limit, _COUNTED)
        for task, draft in self._made():
            if draft is not None:
                if draft.model.kind == "elements":
                    self._elements.add(task)
                    yield task, draft
                    continue
                self._elements.ask(task, draft.origin / "element_list")
            self.count += 1
            if self.count > most:
                self._too_many(max(self.count, self._upper()), more=True)
                return
            self.price += task.price
            self.seconds += task.seconds
            if self.count <= self._limit:
                yield task, draft
        if self.count > self._limit:
            self._too_many(self.count)

    def _made(self) -> Iterator[tuple[Task, Draft | None]]:
        """All tasks; those whose row has a form have no draft."""
        for found in self._variants:
            if isinstance(found, Task):
                yield found, None
                continue
            for task in self._tasks(found):
                yield task, found

    def _upper(self) -> int:
        found, prompts = self.manifest.rows, self.manifest.written.prompts
        rows = found.count() if isinstance(found, Table) else self._variants.rows
        rows = max(rows, len(prompts) if isinstance(prompts, list) else 1)
        included = len(self.manifest.written.include)
        return (
            self._variants.combinations * rows * self.manifest.written.takes + included
        )

    def _too_many(self, count: int, *, more: bool = False) -> None:
        """Say how many there are; `more`: counting them all would take too long."""
        known = max(self.count - more, 1)
        cost = dollars(self.price * count // known) if self.price else "unknown"
        place = Place(str(self.manifest.path), 0, 0, 0)
        size = f"{count:,} tasks for {cost}"
        if more:
            size = f"{count:,} tasks or more, about {cost}"
        message = f"this manifest makes {size}, and {self._limit:,} is the limit"
        advice = f"if that is meant: --max-tasks {count}"
        self._found.append(Finding(place, "too-many", message, advice=advice))

    def _sound(self, draft: Draft) -> Sound | None:
        """The model at its price, canonical fields, files; None if they are not.

        And whether there was nothing to say, not even a warning.
        """
        rendered, faults = self._rendering.fields(draft)
        for fault in faults:
            self._say(fault)
        if faults:
            return None
        model = self._priced_model(draft)
        spelled, mistakes = model.judge(rendered, live=self._live)
        files: Files = {}
        if model.media or not FIELDS.isdisjoint(spelled):
            hanging = Hanging(model, self._album, lambda name: _folder(draft, name))
            spelled, files = hanging.hung(spelled), hanging.files
            mistakes += hanging.mistakes
        if isinstance(spelled.get("element_list"), list):
            cast, wrong = self._elements.cast(spelled["element_list"], model)
            spelled = {**spelled, "element_list": cast}
            unknown = {mistake.path for mistake in wrong}
            mistakes = [one for one in mistakes if one.path not in unknown] + wrong
        for mistake in mistakes:
            self._say(self._blame(draft, mistake))
        if mistakes and any(mistake.severity == "error" for mistake in mistakes):
            return None
        return model, model.lean(spelled), files, not mistakes

    def _tasks(self, draft: Draft) -> Iterator[Task]:
        sound = self._sound(draft)
        if sound is None:
            return
        model, canonical, files, clean = sound
        whole = priced(model, canonical)
        measure = self._measured(draft, model, whole)
        if measure is None:
            return
        price, seconds = measure
        place = draft.origin.source.place(draft.origin.path)
        takes = [draft.take] if draft.take else range(1, draft.takes + 1)
        for take in takes:
            key = digest(model.id, canonical, take)[:32]
            slug = self._rendering.slug(draft, canonical, key, take)
            labels = draft.labels
            if draft.choices:
                chosen = {name: value.id for name, value in draft.choices.items()}
                labels = {**labels, **chosen}
            output = self._rendering.output(draft, whole, slug, key, take, labels)
            if isinstance(output, Finding):
                self._say(output)
                return
            task = Task(
                key, slug, model.id, model.body(canonical), take, price, seconds,
                labels, output, place, files,
            )  # fmt: skip
            if clean and self._variants.forms is not None:
                self._variants.forms.learn(draft, task, canonical)
            yield task

    def _priced_model(self, draft: Draft) -> Model:
        if draft.price is not None:
            price = Price(per_task=usd(str(draft.price)))
        elif self._price is not None:
            price = self._price
        else:
            return draft.model
        return draft.model.priced(price)

    def _measured(self, draft: Draft, model: Model, whole: Json) -> Measure | None:
        """Price and seconds; None, and a finding, where nobody can tell the price."""
        if not isinstance(model, Outside):
            return model.price.of(whole), int(whole.get("duration", 0))
        seconds = length(whole)
        if model.price == Price():
            message = f"nobody has quoted a price for {model.id}"
            label = f"batchgen models {model.id} --refresh asks; or write `price`"
            self._say(draft.origin.error("no-price", message, label))
            return None
        if model.price.per_second is None or seconds is not None:
            return model.price.of({"duration": seconds}), int(seconds or 0)
        message = "this price is for a second, and this task has no `duration`"
        label = "give it one, or the price `per_task`"
        self._say(draft.origin.error("no-price", message, label))
        return None

    def _blame(self, draft: Draft, mistake: Mistake) -> Finding:
        if draft.literal is not None:
            return draft.origin.finding(mistake)
        layer = draft.fields.get(str(mistake.path[0])) if mistake.path else None
        if layer is None:
            return draft.origin.finding(replace(mistake, path=mistake.path[:1]))
        return layer.origin.finding(replace(mistake, path=mistake.path[1:]))

    def _say(self, finding: Finding) -> None:
        if not in_table(finding.place.file):
            key = (finding.place, finding.rule)
            if key in self._said:
                return
            self._said.add(key)
        self._found.append(finding)


def _folder(draft: Draft, name: str) -> Path:
    """Where the file lies in which a field's value was written."""
    found = None if draft.literal is not None else draft.fields.get(name)
    return Path((found or draft).origin.source.file).parent
