"""The elements of a manifest: names for ids, and tasks that make new ones."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from batchgen.drafts import Draft
from batchgen.findings import Finding, Mistake
from batchgen.images import Album
from batchgen.manifest import Manifest
from batchgen.models import ELEMENTS_MODEL, Catalog, Model
from batchgen.models.canonical import digest, plain
from batchgen.models.checks import shown
from batchgen.outside import Outside
from batchgen.pictures import Hanging
from batchgen.readers.nodes import Origin
from batchgen.spelling import hint
from batchgen.task import Task, is_ref

if TYPE_CHECKING:
    from batchgen.keys import ElementKeys, Written

_KEYS = {"element_refer_list": "references", "tag_list": "tags"}


class Elements:
    """What prompts may call by name.

    Attributes:
        tasks: those that make elements: of `elements:`, then lines of data.
        findings: what is wrong with `elements:`.
    """

    def __init__(
        self, manifest: Manifest, catalog: Catalog, album: Album, *, live: bool
    ) -> None:
        self.tasks: list[Task] = []
        self.findings: list[Finding] = []
        self._ids: dict[str, str] = {}
        self._origins: dict[str, Origin] = {}
        self._asked: dict[str, Finding] = {}
        self._named: set[str] = set()
        self._lines: set[str] = set()
        self._made: set[str] = set()
        self._model = catalog[ELEMENTS_MODEL]
        self._album = album
        self._live = live
        if manifest.document is not None:
            self._define(manifest.written, Origin(manifest.document, ("elements",)))

    def _define(self, written: "Written", root: Origin) -> None:
        for name, element in written.elements.items():
            origin = root / name
            self._origins[plain(name)] = origin
            if isinstance(element, str):
                self._ids[plain(name)] = element
            else:
                self._make(plain(name), element, origin)

    def _make(self, name: str, element: "ElementKeys", origin: Origin) -> None:
        fields: dict[str, Any] = {
            "name": name,
            "description": element.description,
            "image": element.image,
            "element_refer_list": element.references or [element.image],
            "tag_list": [{"tag_id": tag} for tag in element.tags],
        }
        spelled, mistakes = self._model.judge(fields, live=self._live)
        folder = Path(origin.source.file).parent
        hanging = Hanging(self._model, self._album, lambda _: folder)
        spelled = hanging.hung(spelled)
        mistakes += hanging.mistakes
        if not element.references:  # the front stands for itself: say it once
            mistakes = [one for one in mistakes if one.path[0] != "element_refer_list"]
        self.findings += [self._finding(one, origin) for one in mistakes]
        self._ids[name] = ""
        if mistakes:
            return
        canonical = self._model.lean(spelled)
        whole = digest(self._model.id, canonical, 1)
        self._ids[name] = f"sha256:{whole}"
        task = Task(
            id=whole[:32],
            slug=f"element_{name}",
            model=self._model.id,
            input=self._model.body(canonical),
            take=1,
            price=self._model.price.of(canonical),
            seconds=0,
            labels={},
            output="",
            place=origin.source.place(origin.path, key=True),
            files=hanging.files,
        )
        self.tasks.append(task)
        self._made.add(task.ref)

    def _finding(self, mistake: Mistake, origin: Origin) -> Finding:
        first, *rest = mistake.path
        if first == "name":
            return origin.finding(replace(mistake, path=()), key=True)
        path = (_KEYS.get(str(first), first), *rest)
        return origin.finding(replace(mistake, path=path))

    def add(self, line: Task) -> None:
        """An element that has a line of data of its own."""
        self.tasks.append(line)
        self._lines.add(line.ref)
        self._made.add(line.ref)

    def defined(self) -> Iterator[tuple[Task, Draft]]:
        """What `elements:` makes, for comparing names."""
        for task in tuple(self.tasks):
            origin = self._origins[task.input["name"]]
            yield task, Draft(origin, self._model, task.slug)

    def begin(self) -> None:
        """Forget what the last walk has seen."""
        self.tasks = [task for task in self.tasks if task.ref not in self._lines]
        self._lines.clear()
        self._asked.clear()
        self._named.clear()
        self._made = {task.ref for task in self.tasks}

    def cast(
        self, listed: Iterable[Any], model: Model
    ) -> tuple[list[Any], list[Mistake]]:
        """An `element_list` with ids and references instead of names."""
        found: list[Any] = []
        mistakes: list[Mistake] = []
        for index, one in enumerate(listed):
            name = one.get("element_id") if isinstance(one, Mapping) else None
            if not isinstance(name, str) or is_ref(name):
                found.append(one)
                continue
            known = self._ids.get(name)
            if known is not None:
                self._named.add(name)
                found.append({**one, "element_id": known})
            else:
                found.append(one)
                if not (name.isdigit() or isinstance(model, Outside)):
                    mistakes.append(self._unknown(name, index))
        return found, mistakes

    def _unknown(self, name: str, index: int) -> Mistake:
        message = f"there is no element `{shown(name)}`"
        label = hint(name, self._ids)
        advice = "" if self._ids else "give its id, or say under `elements:` what it is"
        path = ("element_list", index)
        return Mistake(path, "unknown-element", message, label, advice=advice)

    def ask(self, task: Task, origin: Origin) -> None:
        """Remember what a task needs; whether it is made, the end of the walk tells."""
        for ref in task.elements:
            if ref not in self._asked:
                message = f"no line of this file makes the element {ref[:15]}…"
                label = "keep the lines of kling-elements with the others"
                self._asked[ref] = origin.error("unknown-element", message, label)

    @property
    def used(self) -> list[Task]:
        """Those that a task needs, and those that have a line of their own."""
        wanted = self._asked.keys() | self._lines
        return [task for task in self.tasks if task.ref in wanted]

    def strays(self) -> list[Finding]:
        """References that nobody makes; complete after a walk."""
        return [one for ref, one in self._asked.items() if ref not in self._made]

    def unused(self) -> list[Finding]:
        """Warnings about names that no task lists; complete after a walk."""
        message = "no task lists this element, so it does nothing"
        mistake = Mistake(
            (),
            "unused-element",
            message,
            "name it in an `element_list`",
            severity="warning",
        )
        return [
            origin.finding(mistake, key=True)
            for name, origin in self._origins.items()
            if name not in self._named
        ]
