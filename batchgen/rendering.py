"""Fills in a draft: its fields, its name, its file."""

from collections.abc import Iterable, Mapping
from typing import Any

from batchgen import names
from batchgen.drafts import Axis, Draft, Layer
from batchgen.findings import Finding, Gathered, Mistake
from batchgen.given import NAME
from batchgen.manifest import Manifest
from batchgen.models import Model
from batchgen.patterns import pattern
from batchgen.readers import cells
from batchgen.readers.nodes import Origin
from batchgen.task import Days
from batchgen.variables import TemplateFault, is_template

_EXAMPLES = {
    "scene": "steam curls off the rim",
    "camera": "slow dolly in",
    "look": "speckled like a river pebble",
    "material": "matte stone-glaze ceramic",
    "tagline": "slow mornings, warm hands",
}
_BRACES = pattern(r"(?<!\{)\{[^{}\n]*[,|][^{}\n]*\}(?!\})")


class Rendering:
    """The templates of one manifest."""

    def __init__(
        self, manifest: Manifest, axes: Iterable[Axis], days: Days | None = None
    ) -> None:
        self._manifest = manifest
        self._days = days
        self._axes = tuple(axes)
        self._output = manifest.output
        self._vars = dict(manifest.written.vars)
        self._templates: Any = None
        self._outputs: Any = None
        self._warnings = Gathered()

    def findings(self) -> list[Finding]:
        """Warnings about texts that look like another tool's templates."""
        return list(self._warnings)

    def fields(self, draft: Draft) -> tuple[Mapping[str, Any], list[Finding]]:
        """The request's fields, and why some cannot be filled in."""
        if draft.literal is not None:
            prompt = draft.literal.get("prompt")
            if isinstance(prompt, str) and "{" in prompt:
                self._warn(prompt, draft.origin / "prompt")
            return draft.literal, []
        variables: dict[str, Any] | None = None
        fields: dict[str, Any] = {}
        faults: list[Finding] = []
        for name, layer in draft.fields.items():
            value = layer.value
            if layer.template:
                if variables is None:
                    variables = self._variables(draft)
                try:
                    value = self._render(name, layer, variables, draft.model)
                except TemplateFault as fault:
                    faults.append(self._fault(fault, layer))
                except cells.CellError as error:
                    faults.append(layer.origin.finding(error.at()))
            if name == "prompt" and isinstance(value, str) and "{" in value:
                self._warn(value, layer.origin)
            fields[name] = value
        return fields, faults

    def slug(self, draft: Draft, fields: Mapping[str, Any], key: str, take: int) -> str:
        """The name people see."""
        if draft.take is not None and draft.name:
            return draft.name
        if draft.model.kind == "elements" and not draft.name:
            return names.segment(f"element_{fields.get('name', '')}")
        if draft.literal is not None and draft.name and take == 1:
            return names.segment(draft.name)
        parts = [names.segment(draft.name)] if draft.name else []
        if draft.joined:
            parts += [names.segment(value.id) for value in draft.choices.values()]
        hashed = not draft.name and (draft.named_row or not draft.choices)
        if hashed:
            parts.insert(0, names.words(_opening(fields)))
        if take > 1:
            parts[-1] += f"_t{take}"
        return "_".join(parts) + (f"~{key[:8]}" if hashed else "")

    def output(
        self,
        draft: Draft,
        fields: Mapping[str, Any],
        slug: str,
        key: str,
        take: int,
        labels: Mapping[str, str],
    ) -> str | Finding:
        """The file's name below the videos folder."""
        keys = self._output
        if draft.model.kind == "elements":
            return ""  # no file comes of it
        if draft.output is not None:
            found = names.path(draft.output)
            origin = draft.origin / "output"
            return found or _unsafe(origin, draft.output)
        if keys.name == NAME:
            return names.segment(slug, fold=keys.ascii, ending=".mp4")
        document = self._manifest.document
        origin = Origin(document, ("output",)) if document else draft.origin
        if document and document.node(("output", "name")):
            origin /= "name"
        day = {"date": self._days.of(key)} if self._days else {}
        variables = {
            **day,  # a sheet's own column of that name says more
            **labels,
            **self._vars,
            **{name: value.choice for name, value in draft.choices.items()},
            "slug": slug,
            "id": draft.name or slug,
            "hash": key[:8],
            "take": take,
            "aspect_ratio": fields.get("aspect_ratio", ""),
            "duration": fields.get("duration", ""),
            "run": self._manifest.name,
        }
        if self._outputs is None:
            from batchgen.templates import Templates  # noqa: PLC0415 - slow to import

            self._outputs = Templates(
                lambda value: names.segment(str(value), fold=keys.ascii)
            )
        try:
            text = self._outputs.render(keys.name, variables)
        except TemplateFault as fault:
            return _located(fault, origin)
        return names.path(text, fold=keys.ascii) or _unsafe(origin, text)

    def _variables(self, draft: Draft) -> dict[str, Any]:
        chosen = {name: value.choice for name, value in draft.choices.items()}
        return {**draft.labels, **self._vars, **chosen}

    def _render(
        self, name: str, layer: Layer, variables: Mapping[str, Any], model: Model
    ) -> Any:
        value = self._filled(layer.value, name, layer, variables, model)
        schema = model.fields.get(name, {})
        if isinstance(layer.value, str) and schema.get("type", "string") != "string":
            return cells.reader(name, schema)(value.strip())
        return value

    def _filled(
        self,
        value: Any,
        name: str,
        layer: Layer,
        variables: Mapping[str, Any],
        model: Model,
    ) -> Any:
        if self._templates is None:
            from batchgen.templates import Templates  # noqa: PLC0415 - slow to import

            self._templates = Templates()
        templates = self._templates
        if isinstance(value, str) and is_template(value):
            if "inherited" in value and "inherited" in templates.uses(value):
                below = layer.below
                inherited: Any = model.identity_defaults.get(name, "")
                if below is not None:
                    inherited = below.value
                    if below.template:
                        inherited = self._render(name, below, variables, model)
                variables = {**variables, "inherited": inherited}
            return templates.render(value, variables)
        if isinstance(value, Mapping):
            return {
                key: self._filled(inner, name, layer, variables, model)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [
                self._filled(inner, name, layer, variables, model) for inner in value
            ]
        return value

    def _fault(self, fault: TemplateFault, layer: Layer) -> Finding:
        advice = ""
        owner, _, part = fault.culprit.partition(".")
        for axis in self._axes:
            if axis.name == owner and part and fault.rule == "undefined-variable":
                place = axis.origin.source.place(axis.origin.path, key=True)
                if not any(value.fields for value in axis.values):
                    ids = ", ".join(value.id for value in axis.values)
                    first = axis.values[0].id
                    example = _EXAMPLES.get(part, "…")
                    advice = (
                        f"the {owner}s are on line {place.line}:  {owner}: [{ids}]\n"
                        f"e.g.  - {{ id: {first}, {part}: {example} }}"
                    )
        return _located(fault, layer.origin, advice)

    def _warn(self, text: str, origin: Origin) -> None:
        found = _BRACES.search(text)
        if found:
            finding = Finding(
                origin.source.find(origin.path, found.group()),
                "braces",
                f"`{found.group()}` is sent literally; use `matrix` for variants",
                severity="warning",
                path=origin.path,
            )
            self._warnings.append(finding)


def _located(fault: TemplateFault, origin: Origin, advice: str = "") -> Finding:
    finding = origin.finding(
        Mistake((), fault.rule, fault.message, fault.label, advice=advice)
    )
    place = origin.source.find(origin.path, fault.culprit)
    return Finding(
        place,
        finding.rule,
        finding.message,
        finding.label,
        path=finding.path,
        advice=advice,
    )


def _unsafe(origin: Origin, text: str) -> Finding:
    message = f"`{text}` is no file name below the run's folder"
    label = "no absolute path, no `..`, no empty part"
    return origin.error("unsafe-name", message, label)


def _opening(fields: Mapping[str, Any]) -> str:
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and prompt:
        return prompt
    scenes = fields.get("multi_prompt")
    first = scenes[0] if isinstance(scenes, list) and scenes else {}
    return str(first.get("prompt", "")) if isinstance(first, Mapping) else ""
