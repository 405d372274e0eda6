"""`batchgen validate`: only findings; for editors and hooks."""

from collections.abc import Sequence
from pathlib import Path

import click

from batchgen import findings
from batchgen.cli import exits, settings
from batchgen.cli.colour import say
from batchgen.cli.order import Flags, place
from batchgen.errors import ManifestError
from batchgen.findings import Finding, render
from batchgen.plan import Policy
from batchgen.readers import sources
from batchgen.starts import days_of
from batchgen.tally import Tally
from batchgen.world import World


def validate(
    *,
    manifests: Sequence[Path],
    encoding: str | None,
    sandbox: bool,
    model: str | None,
    max_tasks: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Check each manifest; 0 if none has an error."""
    del verbose
    flags = Flags(
        encoding=encoding,
        max_tasks=max_tasks,
        sandbox=sandbox,
        run="validated",
        model=model,
    )
    found: list[Finding] = []
    for path in manifests:
        more = _check(path, flags)
        found += more
        if more and not as_json:
            say(render(more, sources(more, encoding)), err=True)
        elif not (quiet or as_json):
            click.echo(f"{path}: no mistakes", err=True)
    failed = any(finding.severity == "error" for finding in found)
    code, reason = (2, "usage") if failed else (0, "done")
    if as_json:
        exits.answer(
            "validate",
            code,
            reason,
            findings=[findings.as_json(item) for item in found],
        )
    return code


def _check(path: Path, flags: Flags) -> list[Finding]:
    try:
        order = place(path, settings.read(), flags)
        order.days = days_of((), World().now())
        order.survey(Tally(), Policy())
    except ManifestError as error:
        return list(error.findings)
    return order.findings
