"""How a command ends when it does not end well: one text, one exit code."""

import sys

import click

from batchgen.cli import settings
from batchgen.cli.colour import say
from batchgen.errors import (
    ApiError,
    BatchgenError,
    EngineLost,
    JournalError,
    JournalLocked,
    ManifestError,
    StoreError,
)

BUG = 70


def code_of(error: BatchgenError) -> tuple[int, str]:
    """Exit code and reason word."""
    match error:
        case JournalLocked():
            return 5, "locked"
        case JournalError():
            return 7, "state"
        case StoreError():
            return 8, "disk"
        case EngineLost():
            return 4, "network"
        case ApiError():
            return 4, "key" if error.http in (401, 403) else "network"
        case _:
            return 2, "usage"


def meaning(error: BaseException) -> tuple[int, str, dict[str, str]]:
    """Exit code, reason word, and rule and message, of what is not a person's no."""
    if isinstance(error, BatchgenError):
        code, reason = code_of(error)
        return code, reason, {"rule": error.rule, "message": error.message}
    message = settings.redaction().text(f"{type(error).__name__}: {error}")
    return BUG, "bug", {"rule": "bug", "message": message}


def fail(error: BaseException, *, command: str, as_json: bool) -> int:
    """Tell the person and, with `--json`, the program; the exit code."""
    error = single(error)
    match error:
        case ManifestError():
            return _mistakes(error, command=command, as_json=as_json)
        case BatchgenError():
            code, reason, told = meaning(error)
            message, rule, advice = told["message"], told["rule"], error.advice
        case click.ClickException():
            code, reason, rule = 2, "usage", "usage"
            message, advice = error.format_message(), ""
        case KeyboardInterrupt() | click.Abort():
            code, reason, rule = 130, "interrupted", "interrupted"
            message = "interrupted"
            advice = "The state file is safe: run the same command."
        case _:
            import traceback  # noqa: PLC0415 - only for a mistake of ours

            crash = "".join(traceback.format_exception(error))
            _say(settings.redaction().text(crash))
            code, reason, told = meaning(error)
            message, rule = told["message"], told["rule"]
            advice = "This is a mistake in batchgen. Please report the lines above."
    _say(f"error: {message} [{rule}]")
    for line in advice.splitlines():
        _say(f"  {line}")
    if as_json:
        answer(command, code, reason, error={"rule": rule, "message": message})
    return code


def answer(command: str, code: int, reason: str, **more: object) -> None:
    """The one JSON document on stdout."""
    from batchgen.report import to_json  # noqa: PLC0415 - heavy

    head = {"schema": f"batchgen.{command}/1", "exit": code, "reason": reason}
    click.echo(to_json(head | more))


def single(error: BaseException) -> BaseException:
    """The one error of a task group that matters: ours before a stranger's."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        return error.__cause__  # Python 3.11 wraps one that falls into a class body
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [single(leaf) for leaf in error.exceptions]
    ours = [leaf for leaf in leaves if isinstance(leaf, BatchgenError)]
    return (ours or leaves)[0]


def _mistakes(error: ManifestError, *, command: str, as_json: bool) -> int:
    from batchgen.findings import as_json as row  # noqa: PLC0415 - only when needed
    from batchgen.findings import render  # noqa: PLC0415 - the same
    from batchgen.readers import sources  # noqa: PLC0415 - the same

    _say(render(error.findings, sources(error.findings)))
    if as_json:
        rows = [row(finding) for finding in error.findings]
        first = {"rule": "manifest", "message": error.message}
        answer(command, 2, "usage", error=first, findings=rows)
    return 2


def _say(text: str) -> None:
    try:
        say(text, err=True)
    except OSError:
        sys.stderr = None  # nobody listens any more
