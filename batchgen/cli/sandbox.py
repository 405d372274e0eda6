"""`batchgen sandbox`: the make-believe API as a server of its own."""

from pathlib import Path

import click

from batchgen.errors import UsageError
from batchgen.money import Micros, plain


def sandbox(
    *,
    port: int,
    data: Path | None,
    speed: float,
    balance: Micros,
    tier: str,
    excess: str,
    faults: str,
    offset: float,
    list_faults: bool,
) -> int:
    """Serve until a signal ends it, or say how it can misbehave.

    Raises:
        UsageError: no folder was named, or the extra is not installed.
    """
    if list_faults:
        from batchgen.sandbox import switches  # noqa: PLC0415 - for this flag alone

        click.echo(switches.listing(), nl=False)
        return 0
    if data is None:
        raise UsageError(
            "--data DIR is missing: where the sandbox remembers what it sold",
            rule="missing-data",
            advice="for example: batchgen sandbox --data outputs/sandbox",
        )
    from batchgen.sandbox import launch  # noqa: PLC0415 - says first what is missing

    launch.require()
    from batchgen.sandbox import serve  # noqa: PLC0415 - needs the extra
    from batchgen.sandbox.options import Options  # noqa: PLC0415 - needs the extra

    options = Options(
        data=data,
        port=port,
        speed=speed,
        balance=plain(balance),
        tier=tier,
        excess=excess,
        faults=faults,
        offset=offset,
    )
    serve.run(options)
    return 0
