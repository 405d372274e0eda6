"""A manifest, a selection and a run folder put together: what was ordered."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field

from batchgen import known
from batchgen.cli.colour import say
from batchgen.cli.settings import Settings, fingerprint
from batchgen.cli.split import Cut, folder_name
from batchgen.errors import ManifestError, UsageError
from batchgen.events import ElementKnown
from batchgen.findings import Finding, Place
from batchgen.images import Album
from batchgen.manifest import Manifest, load
from batchgen.models import Catalog, Model, catalog
from batchgen.money import Micros
from batchgen.names import PREVIOUS
from batchgen.plan import Plan, Policy, Retry, before_of, change_of
from batchgen.readers.nodes import Origin
from batchgen.records import Record
from batchgen.selector import hashes, selector
from batchgen.shards import Shard
from batchgen.starts import days_of
from batchgen.state import Status, TaskState, word
from batchgen.tally import Tally
from batchgen.task import Days
from batchgen.tasks import Expansion, Task, check

_PENDING = word(TaskState())
_KEPT = 10_000  # tasks, of 1 KB each; more are made anew each time


class Flags(Struct, frozen=True):
    """What the command line says beside the manifest."""

    select: Sequence[str] = ()
    limit: int | None = None
    run: str | None = None
    encoding: str | None = None
    max_tasks: int = 10_000
    sandbox: bool = False
    model: str | None = None
    shard: Shard | None = None
    brief: bool = False  # only the sums are wanted: nothing is kept of a new task


class Order(Struct):
    """One manifest as this command means it.

    Attributes:
        manifest: what the user wrote.
        folder: where the run lives.
        live: whether real money is spent.
        plan: what a run would do and cost; complete after `survey`.
        chosen: ids of the selected tasks, elements first, each in order -> its place
            in the whole expansion.
        elements: those of them that make elements.
        known: task -> an element that the account has from an earlier run, so that it
            is not ordered.
        cache: where the account's elements are remembered; None for a sandbox.
        plan_id: a hash of the whole expansion, selection and limit; that of all shards.
        loads: what all clips and elements of each shard cost; empty without shards.
        days: what `{{ date }}` means, for good; see `begin`.
        clips: those that were chosen, or the first of them where they are many.
    """

    manifest: Manifest
    flags: Flags
    folder: Path
    live: bool
    models: Catalog
    plan: Plan = field(default_factory=Plan)
    chosen: dict[str, int] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    known: dict[str, ElementKnown] = field(default_factory=dict)
    cache: Path | None = None
    picked: int = 0
    plan_id: str = ""
    loads: list[Micros] = field(default_factory=list)
    first: Task | None = None
    first_labels: tuple[str, ...] = ()
    expansion: Expansion | None = None
    days: Days | None = None
    album: Album = field(default_factory=Album)
    by_name: bool = False
    clips: list[Task] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """The manifest's model."""
        return self.manifest.entry(self.models)

    @property
    def places(self) -> list[int]:
        """Where each chosen clip stands in the whole expansion."""
        return [
            place for task, place in self.chosen.items() if task not in self.elements
        ]

    @property
    def findings(self) -> list[Finding]:
        """Warnings and notes; complete after `survey`."""
        found = self.expansion.findings if self.expansion else []
        return [*found, self._by_name()] if self.by_name else found

    def survey(self, tally: Tally, policy: Policy, *, carries_on: bool = False) -> None:
        """Walk the expansion once: check it, choose from it, price it.

        `carries_on`: the start before was cut short, and this is the same one.

        Raises:
            ManifestError: with everything that is wrong in the manifest.
            UsageError: the selection means nothing.
        """
        ours = self._walk(tally, policy, carries_on=carries_on)
        if not (ours or self.by_name):
            self.by_name = True
            self._walk(tally, policy, carries_on=carries_on)
        self._refuse_nothing(self.expansion.count if self.expansion else 0)

    def _walk(self, tally: Tally, policy: Policy, *, carries_on: bool) -> bool:
        """Everything above once; whether no sheet lists only hashes of others."""
        self.expansion = self._expansion()
        self._forget()
        digest = hashlib.sha256(repr(self._selection()).encode())
        slugs = _slugs(tally)
        axes = [name for name, _ in self.expansion.axes if name != "prompt"]
        group = axes[0] if axes else ""
        other = "(included)" if axes else "prompts"
        meant = selector(self.flags.select, sheet, by_name=self.by_name)
        ours = not (listed := hashes(self.flags.select, sheet))
        removed = dict(slugs)  # of a new run nothing has to be remembered here
        names = {task: slug for slug, task in slugs.items()}
        cut = Cut(self.flags.shard, self.models)
        needed: set[str] = set()

        def seen(task: Task) -> str:
            removed.pop(task.slug, None)
            removed.pop(names.get(task.id, ""), None)
            digest.update(f"{task.id} {task.price}\n".encode())
            state = tally.states.get(task.id)
            return word(state) if state is not None else _PENDING

        def choose(task: Task, place: int) -> None:
            if not self.flags.brief or task.id in tally.states:
                self._choose(task, place)
            change = change_of(task, tally.states, slugs, policy)
            if carries_on and change == "failed" and _had_again(task, tally):
                change = "done"
            before = before_of(task, change, tally.states, slugs)
            self.plan.add(task, change, task.labels.get(group, other), before)

        for place, task in enumerate(self.expansion):
            status, mine = seen(task), cut.has(task)
            ours = ours or task.id[:8] in listed
            self.first_labels = self.first_labels or tuple(task.labels)
            wanted = meant(task, status) and not self._full()
            self.picked += wanted  # a limit is that of all shards together
            if wanted and mine:
                needed.update(task.elements)
                self.first = self.first or task
                choose(task, place)
        for place, task in enumerate(self.expansion.elements):
            status, mine = seen(task), cut.has_element(task)
            named = bool(self.flags.select) or task.ref not in cut.used
            alone = named and meant(task, status) and not self._full()
            if task.ref in needed and self._has(task, tally, policy):
                continue
            self.picked += task.ref in needed or alone
            if (task.ref in needed or alone) and mine:
                self.elements[task.id] = place
                choose(task, place)
        self.chosen, self.loads = {**self.elements, **self.chosen}, cut.loads
        self.expansion.verify()
        self.plan.removed = tuple(removed)
        self.plan_id = digest.hexdigest()[:6]
        return ours

    def _choose(self, task: Task, place: int) -> None:
        self.chosen[task.id] = place
        if len(self.chosen) <= _KEPT and task.id not in self.elements:
            self.clips.append(task)

    def _forget(self) -> None:
        """Begin a walk with nothing chosen."""
        self.chosen, self.elements, self.known, self.clips = {}, {}, {}, []
        self.plan = Plan(brief=self.flags.brief)
        self.first, self.picked = None, 0

    def _by_name(self) -> Finding:
        """Said whenever hashes are passed over: the same name may be another clip."""
        return Finding(
            Place(str(self.manifest.path), 0, 0, 0),
            "other-hashes",
            "no hash of the selection's sheet belongs to this plan (picks of a "
            f"rehearsal, perhaps), so {self.picked:,} tasks were chosen by name",
            severity="warning",
        )

    def _has(self, task: Task, tally: Tally, policy: Policy) -> bool:
        """Whether an earlier run made this element for the account."""
        status = tally.states.get(task.id, TaskState()).status
        if status not in (Status.PENDING, Status.FAILED) or policy.again:
            return False
        found = known.read(self.cache).get(task.ref) if self.cache else None
        if task.id in tally.elements or found is None:
            return task.id in tally.elements
        self.known[task.id] = ElementKnown(ref=task.ref, element_id=found)
        return True

    def remember(self, tally: Tally, now: datetime) -> None:
        """Tell other runs of the elements that this one made."""
        if self.cache is None or self.expansion is None:
            return
        found, fresh = {}, set()
        for task in self.expansion.elements:
            if task.id in tally.elements:
                found[task.ref] = tally.elements[task.id]
                attempts = tally.states.get(task.id, TaskState()).attempts
                if tally.ledger.is_of_this_start(task.id, len(attempts)):
                    fresh.add(task.ref)
        known.remember(self.cache, found, fresh, now)

    def begin(self, records: Sequence[Record], now: datetime) -> None:
        """Take in when this start is, and what the run knows of days.

        A run that has begun may be collected after its deadline; a new one not.

        Raises:
            ManifestError: nothing was bought yet, and nothing could be.
        """
        self.days = days_of(records, now)
        wanted, document = self.manifest.deadline, self.manifest.document
        if records or wanted is None or document is None:
            return
        if wanted.moment is not None and wanted.moment <= now:
            origin = Origin(document, ("deadline",))
            message = "this deadline is past, so the run could start nothing"
            label = "write a later one"
            raise ManifestError([origin.error("bad-time", message, label)])

    def tasks(self, *, whole: bool = False) -> Iterator[Task]:
        """The selected tasks, lazily and in order; elements before what shows them.

        `whole`: with the elements that they show and that are known already.
        """
        found = self.expansion.elements if self.expansion else []
        also = self.known if whole else {}
        yield from (task for task in found if task.id in self.chosen or task.id in also)
        if len(self.chosen) <= _KEPT:
            yield from self.clips
        else:
            yield from (task for task in self._expansion() if task.id in self.chosen)

    def _expansion(self) -> Expansion:
        return check(
            self.manifest,
            self.models,
            live=self.live,
            max_tasks=self.flags.max_tasks,
            days=self.days,
            album=self.album,
        )

    def _full(self) -> bool:
        return self.flags.limit is not None and self.picked >= self.flags.limit

    def _refuse_nothing(self, count: int) -> None:
        """A selection that means nothing is a slip, not an empty wish."""
        if self.picked or not (self.flags.select and count):
            return
        labels = sorted(self.first_labels)
        raise UsageError(
            f"no task matches {' or '.join(self.flags.select)}",
            rule="matches-nothing",
            advice="Nothing was submitted. Tasks can be chosen by name, by id=, status="
            + "".join(f", {label}=" for label in labels),
        )

    def _selection(self) -> tuple[object, ...]:
        sheets = [
            sheet(part[1:])
            for text in self.flags.select
            for part in text.split(",")
            if part.startswith("@")
        ]
        return (list(self.flags.select), self.flags.limit, *sheets)


def known_models(settings: Settings, *, sandbox: bool) -> Catalog:
    """The catalog with what this address's list said; the embedded sandbox has none."""
    if sandbox or not settings.lists.is_dir():
        return catalog()
    from batchgen import refreshed  # noqa: PLC0415 - only after `models --refresh`

    folder = refreshed.place(settings.lists, settings.base_url)
    if not folder.is_dir():
        return catalog()

    def warn(text: str) -> None:
        say(f"warning: {text}", err=True)

    return refreshed.Refreshed(catalog(), folder, settings.base_url, warn)


def place(path: Path, settings: Settings, flags: Flags) -> Order:
    """Read a manifest and find its run folder.

    Raises:
        ManifestError: the manifest has mistakes.
        UsageError: there is no such file, or the run has no name.
    """
    live = not (flags.sandbox or settings.loopback)
    models = known_models(settings, sandbox=flags.sandbox)
    if str(path) != "-" and not path.is_file():
        raise UsageError(f"there is no manifest {path}", rule="no-file")
    manifest = load(
        path,
        environ=settings.environ,
        catalog=models,
        live=live,
        encoding=flags.encoding,
        model=_rehearsal(flags.model, models),
    )
    if str(path) == "-" and not flags.run:
        raise UsageError("standard input has no name: add --run NAME", rule="no-name")
    name = flags.run or manifest.name
    if flags.model and not flags.run:
        name = f"{name}.{models[flags.model].alias}"
    folder = settings.outputs / folder_name(run_name(name, live=live), flags.shard)
    cache = None
    if live and settings.key:
        cache = known.place(settings.cache, fingerprint(settings.key))
    return Order(manifest, flags, folder, live, models, cache=cache)


def command(path: Path, flags: Flags, *, whole: bool) -> str:
    """What starts this, as a shell takes it; `whole`: not only the selection."""
    words = ["batchgen", "run", str(path)]
    if not whole:
        words += [word for text in flags.select for word in ("--select", text)]
        words += ["--limit", str(flags.limit)] if flags.limit else []
    words += ["--model", flags.model] if flags.model else []
    words += ["--run", flags.run] if flags.run else []
    words += ["--shard", str(flags.shard)] if flags.shard else []
    words += ["--encoding", flags.encoding] if flags.encoding else []
    words += ["--sandbox"] if flags.sandbox else []
    return shlex.join(words)


def _rehearsal(name: str | None, models: Catalog) -> Model | None:
    """The model of `--model`, which a run folder of its own belongs to."""
    if name is None:
        return None
    model = models.find(name)
    if model is None:
        raise UsageError(
            f"no model {name} in the catalog",
            rule="unknown-model",
            advice=f"models: {', '.join(model.alias for model in models)}",
        )
    return model


def run_name(name: str, *, live: bool) -> str:
    """A fake clip must not count as done: sandbox runs have folders of their own."""
    if name != Path(name).name or name in ("", ".", ".."):
        raise UsageError(f"{name!r} is no name of a run", rule="bad-name")
    return name if live or name.endswith(".sandbox") else f"{name}.sandbox"


def sheet(name: str) -> str:
    """The text of a sheet that a selection names.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name}: {error}", rule="no-file") from error


def policy_of(
    manifest: Manifest, retry: Sequence[Retry] = (), *, again: bool = False
) -> Policy:
    """What manifest and flags allow together."""
    allowed: set[Retry] = set(retry)
    if manifest.uncertain == "rebuy-absent":
        allowed.add("absent")
    return Policy(
        attempts=manifest.retry.attempts,
        backoff=manifest.retry.backoff,
        longest_backoff=manifest.retry.max_backoff,
        retry=frozenset(allowed),
        again=again,
        task_timeout=manifest.task_timeout,
        stop_after_failures=manifest.stop_after_failures,
        quarantine=manifest.output.flagged == "quarantine",
        sidecars=manifest.output.sidecar,
    )


def cap_of(
    manifest: Manifest,
    budget: Micros | None,
    ceiling: Micros | None,
    shard: Shard | None = None,
) -> Micros | None:
    """The cap of the whole life. The flag replaces the manifest's.

    The machine's ceiling wins, unless it bounds the session. All of them are about the
    whole run, so that the same line may start every shard: this one has its part.
    """
    wanted = budget if budget is not None else manifest.budget
    if manifest.session_budget is None:
        wanted = _lower(wanted, ceiling)
    return wanted if wanted is None or shard is None else shard.part(wanted)


def session_cap_of(
    manifest: Manifest, ceiling: Micros | None, shard: Shard | None = None
) -> Micros | None:
    """The cap of one calendar start, where there is one; of a shard its part."""
    if manifest.session_budget is None:
        return None
    wanted = _lower(manifest.session_budget, ceiling)
    return wanted if wanted is None or shard is None else shard.part(wanted)


def _lower(*caps: Micros | None) -> Micros | None:
    return min((cap for cap in caps if cap is not None), default=None)


def _had_again(task: Task, tally: Tally) -> bool:
    """Whether a finished clip was bought in this start already."""
    state = tally.states[task.id]
    mine = tally.ledger.is_of_this_start(task.id, len(state.attempts))
    return mine and state.status is Status.DONE


def _slugs(tally: Tally) -> dict[str, str]:
    """Known slug -> the task that has it now.

    Several tasks had it if a prompt was edited; the one whose clip did not have to
    give way is the present one, also after an edit was taken back.
    """
    owners: dict[str, tuple[int, str]] = {}
    for task, state in tally.states.items():
        if state.planned is None:
            continue
        rank = 1
        if state.files:
            rank = 0 if state.files[0].name.startswith(f"{PREVIOUS}/") else 2
        known = owners.get(state.planned.slug, (0, ""))
        if rank >= known[0]:
            owners[state.planned.slug] = (rank, task)
    return {slug: task for slug, (_, task) in owners.items()}
