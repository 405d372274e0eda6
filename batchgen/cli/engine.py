"""Who fetches the clips of a run, as the command line names it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from batchgen.engines import Engine
from batchgen.errors import UsageError


def check(name: str, scheduler: str | None) -> None:
    """Refuse what cannot be begun, before anything else is.

    Raises:
        UsageError: flags that do not go together, or a missing extra.
    """
    if name == "local":
        if scheduler is not None:
            raise UsageError(
                "--scheduler goes with --engine dask",
                rule="no-engine",
                advice=f"Nothing was submitted. Add: --engine dask "
                f"--scheduler {scheduler}",
            )
        return
    if scheduler is not None and not scheduler.startswith(("tcp://", "tls://")):
        raise UsageError(
            f"{scheduler} is not the address of a scheduler",
            rule="bad-scheduler",
            advice="Nothing was submitted. Write tcp://host:8786 or tls://host:8786.",
        )
    from batchgen.engines import cluster  # noqa: PLC0415 - an extra

    cluster.require()


@asynccontextmanager
async def opened(
    name: str,
    scheduler: str | None,
    folder: Path,
    store: str,
    tell: Callable[[str], None],
) -> AsyncIterator[Engine | None]:
    """The engine of a run, ready; None is this process.

    Raises:
        BatchgenError: see `batchgen.engines.cluster.opened`.
    """
    if name == "local":
        yield None
        return
    from batchgen.engines import cluster  # noqa: PLC0415 - an extra

    tell("starting workers" if scheduler is None else f"asking {scheduler} for workers")
    async with cluster.opened(
        folder, tell, scheduler=scheduler or "", store=store
    ) as pool:
        tell(f"{pool.workers} of the cluster's workers are ready")
        yield pool
