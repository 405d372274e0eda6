"""The one template language: prompts, settings and output names."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batchgen import names
from batchgen.spelling import hint
from batchgen.variables import TemplateFault

FILTERS = ("lower", "upper", "title", "trim", "replace", "default", "join", "length")
LONGEST = 64 * 1024


class _Undefined(StrictUndefined):
    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


class _Environment(ImmutableSandboxedEnvironment):
    """Names, fields, `if` and `for`: no calls, no arithmetic that could explode."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_callable(self, obj: Any) -> bool:
        del obj
        return False

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        del context, left, right
        raise SecurityError(f"`{operator}` is not part of the template language")


def _spoken(value: Any) -> Any:
    """Values as they are written in a manifest."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return "" if value is None else value


class Templates:
    """Compiled templates of one manifest."""

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        self._environment = _Environment(
            undefined=_Undefined, finalize=finalize or _spoken, autoescape=False
        )
        environment = self._environment
        slug: Callable[[Any], str] = lambda text: names.folder(str(text))  # noqa: E731
        environment.filters = {
            **{name: environment.filters[name] for name in FILTERS},
            "slug": slug,
        }
        environment.globals = {}
        self._compiled: dict[str, Any] = {}

    def render(self, text: str, variables: Mapping[str, Any]) -> str:
        """Fill in a template.

        Raises:
            TemplateFault: it is malformed, or a name in it is not there.
        """
        template = self._compile(text)
        parts: list[str] = []
        size = 0
        try:
            for part in template.generate(variables):
                size += len(part)
                if size > LONGEST:
                    raise TemplateFault(
                        "too-long", "this template grows too long", text
                    )
                parts.append(part)
        except UndefinedError as error:
            raise self._missing(text, str(error.message), variables) from None
        except SecurityError as error:
            message = str(error)
            if "safely callable" in message:
                message = "templates have names and filters, but no calls"
            raise TemplateFault("template", message, text) from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError):
            message = "this template cannot be filled in with these values"
            raise TemplateFault("template", message, text) from None
        return "".join(parts)

    def uses(self, text: str) -> frozenset[str]:
        """The names a template mentions."""
        try:
            tree = self._environment.parse(text)
        except TemplateSyntaxError:
            return frozenset()
        return frozenset(name.name for name in tree.find_all(nodes.Name))

    def _compile(self, text: str) -> Any:
        if text not in self._compiled:
            try:
                self._compiled[text] = self._environment.from_string(text)
            except TemplateError as error:
                raise _malformed(text, str(error.message)) from None
        return self._compiled[text]

    def _missing(
        self, text: str, name: str, variables: Mapping[str, Any]
    ) -> TemplateFault:
        tree = self._environment.parse(text)
        for node in tree.find_all(nodes.Getattr):
            if not isinstance(node.node, nodes.Name) or node.attr != name:
                continue
            owner = node.node.name
            if owner in variables:
                return _no_field(owner, name, variables[owner])
        message = f"there is no `{name}` here"
        known = [word for word in variables if not word.startswith("_")]
        return TemplateFault("undefined-variable", message, name, hint(name, known))


def _no_field(owner: str, name: str, value: Any) -> TemplateFault:
    fields = getattr(value, "_fields", {})
    if fields:
        message = f"{owner} `{value}` has no `{name}`"
        label = f"it has {', '.join(fields)}"
    else:
        message = f"`{owner}` is plain text here, so it has no `{name}`"
        label = f"use {{{{ {owner} }}}}, or give every {owner} a {name}"
    return TemplateFault("undefined-variable", message, f"{owner}.{name}", label)


def _malformed(text: str, reason: str) -> TemplateFault:
    if reason.startswith("No filter named"):
        name = reason.split("'")[1]
        message = f"there is no filter `{name}`"
        label = f"filters: {', '.join((*FILTERS, 'slug'))}"
        return TemplateFault("unknown-filter", message, name, label)
    message = "this template is malformed: check its {{ }} and {% %}"
    return TemplateFault("template", message, text)
