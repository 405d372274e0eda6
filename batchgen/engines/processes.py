"""`python -m batchgen.engines.processes`: a Dask cluster for one run on this machine.

A process of its own, so that its workers inherit no key and no lock, and the
scheduler's work is not the driver's. It reads one line of JSON, answers with its
address, and ends when its standard input does: whatever becomes of the driver.
"""

import asyncio
import json
import logging
import sys
import tempfile
from typing import Any


async def _serve(order: dict[str, Any]) -> None:
    import dask  # noqa: PLC0415 - an extra
    import distributed  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="batchgen-dask-") as scratch:
        dask.config.set(
            {
                "temporary-directory": scratch,
                # Pages about itself, for whoever asks: there are none.
                "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": [],
            }
        )
        # The driver tells what matters; that connections end is no news.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        security = distributed.Security(require_encryption=True, **order["tls"])
        async with distributed.LocalCluster(
            n_workers=order["workers"],
            threads_per_worker=1,
            processes=True,
            protocol="tls",
            security=security,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
            memory_limit=None,  # clips are streamed; the page cache is not ours
            asynchronous=True,
        ) as cluster:
            sys.stdout.write(json.dumps({"address": cluster.scheduler_address}) + "\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    asyncio.run(_serve(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
