"""`batchgen sandbox`: the make-believe API as a server of its own."""

from pathlib import Path

from batchgen.money import Micros, plain


def sandbox(
    *,
    port: int,
    data: Path,
    speed: float,
    balance: Micros,
    tier: str,
    faults: str,
    offset: float,
) -> int:
    """Serve until a signal ends it."""
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
        faults=faults,
        offset=offset,
    )
    serve.run(options)
    return 0
