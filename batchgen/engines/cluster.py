"""Workers of a Dask cluster: one that is there, or processes of this machine.

Dask has no passwords. Whoever reaches a scheduler may run programs as its workers and
as the driver, so the own cluster speaks TLS with keys that only its processes have.
"""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from batchgen import __version__
from batchgen.engines.pool import SLOTS, Hands, Pool, Unfit, first
from batchgen.engines.probe import probe
from batchgen.engines.station import Greeting, Station
from batchgen.errors import EngineLost, UsageError

_ANSWER = 10.0  # seconds for a question to the scheduler
_HIRING = 30.0
_TLS = ("ca_file", "client_key", "client_cert", "scheduler_key", "scheduler_cert")
_TLS_FIELDS = tuple(f"tls_{name}" for name in (*_TLS, "worker_key", "worker_cert"))


def require() -> None:
    """Make sure that the extra is installed.

    Raises:
        UsageError: it is not; the advice names the command.
    """
    missing = [name for name in ("distributed", "cryptography") if not _is_there(name)]
    if missing:
        raise UsageError(
            "--engine dask is not installed: pip install 'batchgen[dask]'",
            rule="missing-extra",
            advice="Nothing was submitted. Nearly every run needs no cluster: one "
            "process fetches as fast as the network gives.",
        )


@asynccontextmanager
async def opened(
    folder: Path,
    tell: Callable[[str], None],
    *,
    scheduler: str = "",
    workers: int | None = None,
    store: str = "",
    posters: bool = True,
) -> AsyncIterator[Pool]:
    """An engine on a cluster, with its first worker ready.

    Args:
        folder: of the run, which exists.
        tell: hears when workers come and go.
        scheduler: `tcp://host:port` or `tls://host:port` of a cluster that is there;
            empty for processes of this machine.
        workers: how many of these; None for one a core.
        store: address of the bucket that clips go to; empty for the folder.
        posters: workers look into clips as well, if they can.

    Raises:
        UsageError: the extra is not installed.
        EngineLost: the scheduler cannot be reached, or no worker comes.
        Unfit: no worker sees the folder.
    """
    require()
    # Its own lines about lost connections say less than ours.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler:
        dask = _Dask(await _client(scheduler, None), folder, store)
        async with _working(dask, folder, tell, posters=posters) as pool:
            yield pool
    else:
        count = workers or _cores()
        with _processes(count) as (address, security):
            dask = _Dask(await _client(address, security), folder, store)
            async with _working(dask, folder, tell, posters=posters) as pool:
                yield pool


async def _client(address: str, security: Any) -> Any:
    import distributed  # noqa: PLC0415 - heavy, and an extra

    try:
        return await distributed.Client(
            address, security=security, asynchronous=True, timeout=_ANSWER
        )
    except (OSError, ValueError, TypeError) as error:
        raise EngineLost(
            f"no Dask scheduler answers at {address}: {error}",
            rule="no-scheduler",
            advice="Nothing was submitted. Check --scheduler, or leave it out for "
            "processes of this machine.",
        ) from error


@asynccontextmanager
async def _working(
    dask: "_Dask", folder: Path, tell: Callable[[str], None], *, posters: bool
) -> AsyncIterator[Pool]:
    try:
        async with anyio.create_task_group() as group:
            pool = Pool(dask, tell, folder, posters=posters)
            await group.start(pool.run)
            try:
                yield pool
            finally:
                pool.stop()
                group.cancel_scope.cancel()
    except ExceptionGroup as errors:
        raise first(errors) from errors
    finally:
        with anyio.move_on_after(_ANSWER, shield=True), suppress(Exception):
            await dask.close()


class _Dask:
    """What a pool needs of a Dask cluster."""

    def __init__(self, client: Any, folder: Path, store: str) -> None:
        self._client = client
        self._folder = folder
        self._store = store

    async def close(self) -> None:
        """Let go of the scheduler."""
        await self._client.close(timeout=1)

    async def addresses(self) -> AbstractSet[str]:
        """Who is there."""
        with anyio.fail_after(_ANSWER):
            return set(await self._client.scheduler.ncores())

    async def hire(self, address: str) -> Hands:
        """Start an actor there, and see that it is in our folder."""
        with anyio.fail_after(_HIRING), probe(self._folder, self._store) as laid:
            try:
                actor: Any = await self._client.submit(
                    Station,
                    str(self._folder.absolute()),
                    SLOTS,
                    self._store,
                    actor=True,
                    pure=False,
                    workers=[address],
                    allow_other_workers=False,
                )
                greeting: Greeting = await actor.greet(laid.name, laid.token)
            except (ImportError, AttributeError, TypeError, UsageError) as error:
                why = f"batchgen {__version__} does not run there: {error}"
                raise Unfit(why) from error
            laid.check(greeting)
        hands: Hands = actor
        return hands


@contextmanager
def _processes(workers: int) -> Iterator[tuple[str, Any]]:
    """A cluster of this machine, which dies with this process; address and keys.

    Raises:
        EngineLost: it does not start.
    """
    from distributed.security import Security  # noqa: PLC0415 - heavy, and an extra

    security = Security.temporary()
    keys = {name: getattr(security, name) for name in _TLS_FIELDS}
    # The key of the service stays here: who fetches needs links and nothing else.
    started = subprocess.Popen(
        [sys.executable, "-m", "batchgen.engines.processes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=without_secrets(os.environ),
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C is not for it
    )
    with started:
        assert started.stdin is not None  # noqa: S101 - it was asked for above
        assert started.stdout is not None  # noqa: S101 - the same
        print(json.dumps({"workers": workers, "tls": keys}), file=started.stdin)
        started.stdin.flush()
        line = started.stdout.readline()
        if not line:
            raise EngineLost(
                "the cluster of this machine does not start",
                advice="Nothing was submitted. Run without --engine.",
            )
        # Leaving closes standard input, which ends it, and waits for that.
        yield json.loads(line)["address"], security


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker's process may inherit."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("WAVESPEED_API_KEY")
    }


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
