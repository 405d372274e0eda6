"""A task: one generation fully spelled out; and how a manifest becomes tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchgen import names
from batchgen.errors import ManifestError
from batchgen.findings import Finding, Mistake, Place
from batchgen.manifest import Manifest
from batchgen.models import Catalog, Model, Price, catalog
from batchgen.models.canonical import digest
from batchgen.money import Micros, dollars, plain, usd
from batchgen.rendering import Rendering
from batchgen.variants import Draft, Variants

MAX_TASKS = 10_000


@dataclass(frozen=True, slots=True)
class Task:
    """One clip to buy.

    Attributes:
        id: identity, 32 hex characters: a hash of model, input and take.
        slug: the name people see; unique inside a manifest.
        model: full id of the model.
        input: the request body as it is sent.
        take: 1 for the first; further takes of one input count up.
        price: upper bound of the charge, micro-dollars.
        seconds: length of the clip.
        labels: axis ids, label columns and `labels`.
        output: file name below the run's videos folder, with `/` between folders.
        place: where the author wrote it; None once it comes from a journal.
    """

    id: str
    slug: str
    model: str
    input: Mapping[str, Any]
    take: int
    price: Micros
    seconds: int
    labels: Mapping[str, str]
    output: str
    place: Place | None = None


def to_json(task: Task, models: Catalog | None = None) -> dict[str, Any]:
    """A task as a line of JSONL that is itself a manifest of this one task."""
    model = (models or catalog()).find(task.model)
    fields = model.fields if model else task.input
    line: dict[str, Any] = {"id": task.slug, "model": task.model, "take": task.take}
    line |= {key: value for key, value in task.input.items() if key in fields}
    extra = {key: value for key, value in task.input.items() if key not in fields}
    if extra:
        line["extra"] = extra
    if task.labels:
        line["labels"] = dict(task.labels)
    line["output"] = task.output
    if model is None or model.price.of(_priced(model, task.input)) != task.price:
        line["price"] = float(plain(task.price))
    return line


def expand(
    manifest: Manifest,
    catalog: Catalog,
    *,
    live: bool,
    max_tasks: int = MAX_TASKS,
) -> Iterator[Task]:
    """The tasks, one after the other; nothing is yielded before all are sound.

    Walks the manifest twice: once to check, once to yield.

    Raises:
        ManifestError: with everything that is wrong, before the first task.
    """
    checked = check(manifest, catalog, live=live, max_tasks=max_tasks)
    for _ in checked:
        pass
    checked.verify()
    yield from Expansion(manifest, catalog, live=live, max_tasks=max_tasks)


def check(
    manifest: Manifest,
    catalog: Catalog,
    *,
    live: bool,
    max_tasks: int = MAX_TASKS,
) -> "Expansion":
    """One walk that yields the sound tasks and collects what is wrong."""
    return Expansion(manifest, catalog, live=live, max_tasks=max_tasks)


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
        self, manifest: Manifest, catalog: Catalog, *, live: bool, max_tasks: int
    ) -> None:
        self.manifest = manifest
        self.count = self.price = self.seconds = 0
        self._live = live
        self._limit = max_tasks
        self._variants = Variants(manifest, catalog)
        self._rendering = Rendering(manifest, self._variants.axes)
        self._found: list[Finding] = []
        self._said = {(item.place, item.rule) for item in manifest.warnings}
        self._clashes = Clashes(self._variants)

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
        found += self._clashes.findings()
        found += self._rendering.findings()
        sheet = self._variants.sheet
        note = sheet.note() if sheet else None
        found += [note] if note else []
        unique = {(item.place, item.rule, item.message): item for item in found}
        return _gathered(sorted(unique.values(), key=lambda item: item.place))

    def verify(self) -> None:
        """Stop if anything is wrong.

        Raises:
            ManifestError: with all errors and warnings.
        """
        findings = self.findings
        if any(finding.severity == "error" for finding in findings):
            raise ManifestError(findings)

    def __iter__(self) -> Iterator[Task]:
        """The sound tasks, in order."""
        self.count = self.price = self.seconds = 0
        if self._variants.combinations > 100 * self._limit:
            self._too_many(self._variants.combinations)
            return
        for draft in self._variants:
            for task in self._tasks(draft):
                self.count += 1
                if self.count > self._limit:
                    self._too_many(max(self.count, self._upper()))
                    return
                self.price += task.price
                self.seconds += task.seconds
                self._clashes.remember(task, draft)
                yield task

    def _upper(self) -> int:
        rows = self._variants.rows if self.manifest.rows is None else 1
        prompts = self.manifest.written.prompts
        rows = max(rows, len(prompts) if isinstance(prompts, list) else 1)
        included = len(self.manifest.written.include)
        return (
            self._variants.combinations * rows * self.manifest.written.takes + included
        )

    def _too_many(self, count: int) -> None:
        known = max(self.count - 1, 1)
        cost = dollars(self.price * count // known) if self.price else "unknown"
        place = Place(str(self.manifest.path), 0, 0, 0)
        message = (
            f"this manifest makes {count:,} tasks or more, about {cost}, "
            f"and {self._limit:,} is the limit"
        )
        advice = f"if that is meant: --max-tasks {count}"
        self._found.append(Finding(place, "too-many", message, advice=advice))

    def _tasks(self, draft: Draft) -> Iterator[Task]:
        rendered, faults = self._rendering.fields(draft)
        for fault in faults:
            self._say(fault)
        if faults:
            return
        model = self._priced_model(draft)
        wrong = False
        for mistake in model.mistakes(rendered, live=self._live):
            self._say(self._blame(draft, mistake))
            wrong = wrong or mistake.severity == "error"
        if wrong:
            return
        canonical = model.canonical(rendered)
        whole = _priced(model, canonical)
        price, seconds = model.price.of(whole), int(whole.get("duration", 0))
        place = draft.origin.source.place(draft.origin.path)
        takes = [draft.take] if draft.take else range(1, draft.takes + 1)
        for take in takes:
            key = digest(model.id, canonical, take)[:32]
            slug = self._rendering.slug(draft, canonical, key, take)
            labels = {name: value.id for name, value in draft.choices.items()}
            labels = {**draft.labels, **labels}
            output = self._rendering.output(draft, whole, slug, key, take, labels)
            if isinstance(output, Finding):
                self._say(output)
                return
            yield Task(
                key, slug, model.id, model.request(canonical), take, price, seconds,
                labels, output, place,
            )  # fmt: skip

    def _priced_model(self, draft: Draft) -> Model:
        written = self.manifest.written.price
        if draft.price is not None:
            price = Price(per_task=usd(str(draft.price)))
        elif written is not None:
            price = Price(written.per_second, written.per_task)
        else:
            return draft.model
        return replace(draft.model, price=price)

    def _blame(self, draft: Draft, mistake: Mistake) -> Finding:
        layer = draft.fields.get(str(mistake.path[0])) if mistake.path else None
        if layer is None:
            return draft.origin.finding(replace(mistake, path=()))
        return layer.origin.finding(replace(mistake, path=mistake.path[1:]))

    def _say(self, finding: Finding) -> None:
        key = (finding.place, finding.rule)
        if key not in self._said:
            self._said.add(key)
            self._found.append(finding)


class Clashes:
    """What must be remembered of every task, so that no two get in each other's way."""

    def __init__(self, variants: Variants) -> None:
        self._variants = variants
        self._slugs: dict[str, tuple[str, Place | None]] = {}
        self._outputs: dict[str, str] = {}
        self._ids: dict[str, tuple[str, Place | None, tuple[str, ...]]] = {}
        self._same_slug: list[tuple[str, Place | None, Place | None]] = []
        self._same_output: dict[str, list[str]] = {}
        self._same_request: list[tuple[Task, Draft, tuple[str, ...]]] = []
        self._first_request: list[tuple[str, Place | None]] = []

    def remember(self, task: Task, draft: Draft) -> None:
        """Compare a task with all before it."""
        ids = tuple(value.id for value in draft.choices.values())
        slug = names.clash(task.slug)
        first = self._slugs.setdefault(slug, (task.slug, task.place))
        known = self._ids.setdefault(task.id, (task.slug, task.place, ids))
        if known[0] != task.slug:
            self._same_request.append((task, draft, known[2]))
            self._first_request.append((known[0], known[1]))
        elif first[0] != task.slug or first[1] != task.place:
            self._same_slug.append((task.slug, task.place, first[1]))
        output = names.clash(task.output)
        owner = self._outputs.setdefault(output, task.slug)
        if owner != task.slug:
            self._same_output.setdefault(task.output, [owner]).append(task.slug)

    def findings(self) -> Iterator[Finding]:
        """All clashes."""
        yield from self._duplicates()
        yield from self._identical()
        yield from self._overwritten()

    def _duplicates(self) -> Iterator[Finding]:
        for slug, place, first in self._same_slug[:50]:
            if place is not None and first is not None:
                message = f"the id `{slug}` is used twice"
                label = f"first in line {first.line}"
                yield Finding(place, "duplicate-id", message, label)

    def _identical(self) -> Iterator[Finding]:
        if not self._same_request:
            return
        _, draft, first = self._same_request[0]
        count = len(self._same_request)
        price = dollars(sum(twin.price for twin, _, __ in self._same_request))
        twice = "request would" if count == 1 else "requests would each"
        cost = f"{count} {twice} be bought twice: {price} for nothing new"
        for axis, one, other in zip(
            self._variants.axes, first, draft.choices.values(), strict=False
        ):
            if one != other.id:
                yield axis.origin.error(
                    "identical-requests",
                    f"{len(axis.values)} {axis.name}s, one and the same request",
                    f"`{axis.name}` is never used",
                    advice=f"{cost}\nuse {{{{ {axis.name} }}}} in the prompt, remove "
                    "the axis, or say `takes: 2` if you want two",
                    key=True,
                )
                return
        for (twin, _, __), (slug, place) in zip(
            self._same_request[:50], self._first_request, strict=False
        ):
            if twin.place is not None:
                where = f", line {place.line}" if place else ""
                message = f"the same request as {slug}{where}"
                advice = f"{cost}\nremove one, or say `takes: 2` if you want two"
                yield Finding(twin.place, "identical-requests", message, advice=advice)

    def _overwritten(self) -> Iterator[Finding]:
        document = self._variants.manifest.document
        for output, slugs in list(self._same_output.items())[:20]:
            more = f" and {len(slugs) - 2} more" if len(slugs) > 2 else ""  # noqa: PLR2004
            message = f"{len(slugs)} tasks would be saved as {output}"
            advice = ", ".join(slugs[:2]) + more
            fix = ""
            if document is not None and document.node(("output",)):
                place = document.place(("output", "name"))
                stem = self._variants.manifest.output.name.removesuffix(".mp4")
                if "slug" not in stem:
                    fix = f'output: "{stem}/{{{{ slug }}}}.mp4"'
            else:
                place = Place(str(self._variants.manifest.path), 0, 0, 0)
            yield Finding(place, "name-clash", message, fix=fix, advice=advice)


def _priced(model: Model, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**model.identity_defaults, **fields}


def _gathered(findings: list[Finding]) -> list[Finding]:
    """One finding per column and rule of a table: the first in full, then the rows."""
    kept: list[Finding] = []
    groups: dict[tuple[str, str, str], int] = {}
    more: dict[int, list[int]] = {}
    for finding in findings:
        table = finding.place.file.endswith((".csv", ".tsv"))
        key = (finding.place.file, finding.rule, str(finding.path[:1]))
        if table and key in groups:
            more.setdefault(groups[key], []).append(finding.place.line)
            continue
        groups[key] = len(kept)
        kept.append(finding)
    for index, lines in more.items():
        rows = ", ".join(map(str, lines[:3])) + (" …" if len(lines) > 3 else "")  # noqa: PLR2004
        text = f"and {len(lines)} more row{'s' * (len(lines) > 1)}: {rows}"
        advice = "\n".join(filter(None, (kept[index].advice, text)))
        kept[index] = replace(kept[index], advice=advice)
    return kept
