"""`include`: whole tasks beside the product, or further points of its axes."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.axes import value_of
from batchgen.drafts import OWN, Axis, Draft, Layer, Value, layer
from batchgen.findings import Finding
from batchgen.models import Model
from batchgen.models.checks import shown
from batchgen.outside import Outside
from batchgen.readers.nodes import Origin
from batchgen.spelling import listed


class Inclusion:
    """Turns entries of `include` into drafts.

    `base` are the fields every task starts from; `shared` says whether a task
    without a prompt of its own has one to use.
    """

    def __init__(
        self,
        axes: tuple[Axis, ...],
        model: Model,
        base: Mapping[str, Layer],
        *,
        shared: bool,
    ) -> None:
        self.findings: list[Finding] = []
        self._axes = axes
        self._model = model
        self._base = base
        self._shared = shared

    def draft(self, entry: Mapping[str, Any], origin: Origin) -> Draft | None:
        """The task, without its labels and takes; None if it cannot be made."""
        alone = "prompt" in entry or "multi_prompt" in entry
        fields = dict(self._base)
        chosen: dict[str, Value] | None = {}
        if alone:
            fields.pop("prompt", None)
            if "prompt" in entry:
                fields.pop("multi_prompt", None)
        else:
            chosen = self._chosen(entry, origin)
        if chosen is None:
            return None
        for value in chosen.values():
            for key, (given, place) in value.sets.items():
                fields[key] = layer(given, place, fields.get(key))
        self.findings += self._own(fields, entry, origin, alone=alone)
        name = shown(entry["id"]) if entry.get("id") is not None else ""
        return Draft(
            origin, self._model, name, fields=fields, choices=chosen, joined=not alone
        )

    def _own(
        self,
        fields: dict[str, Layer],
        entry: Mapping[str, Any],
        origin: Origin,
        *,
        alone: bool,
    ) -> Iterator[Finding]:
        names = {axis.name for axis in self._axes}
        for key, value in entry.items():
            if key in OWN or (not alone and key in names):
                continue
            known = key in self._model.fields or key == "extra"
            if known or (key not in names and isinstance(self._model, Outside)):
                fields[key] = layer(value, origin / key, fields.get(key))
            elif key in names:
                message = f"a task with its own prompt takes no `{key}`"
                here = origin / key
                yield here.error("unknown-key", message, "use labels", key=True)

    def _chosen(
        self, entry: Mapping[str, Any], origin: Origin
    ) -> dict[str, Value] | None:
        if not self._shared:
            message = "this task has no prompt, and there is no shared one"
            self.findings.append(origin.error("no-prompt", message))
            return None
        chosen: dict[str, Value] = {}
        for axis in self._axes:
            if axis.name not in entry:
                message = (
                    f"this task names no `{axis.name}`, and has no prompt of its own"
                )
                label = f"choose {listed([value.id for value in axis.values], 'or')}"
                self.findings.append(origin.error("missing-axis", message, label))
                return None
            found = self._choose(axis, entry[axis.name], origin / axis.name)
            if found is None:
                return None
            chosen[axis.name] = found
        return chosen

    def _choose(self, axis: Axis, given: Any, origin: Origin) -> Value | None:
        value = value_of(axis.name, given, origin, self._model)
        if isinstance(given, Mapping):
            return value
        known = next((known for known in axis.values if known.id == value.id), None)
        if known is not None or axis.name in self._model.fields:
            return known or value
        error = origin.error(
            "unknown-value",
            f"there is no {axis.name} `{value.id}`",
            f"choose {listed([known.id for known in axis.values], 'or')}",
        )
        self.findings.append(error)
        return None
