"""The runner one would write in an evening: log when done, retry on error.

It is measured by the same harness as batchgen, so that the harness is seen to count.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

Order = tuple[str, str, Mapping[str, Any]]
"""The clip's name, its model, its request."""


async def run(api: str, orders: Sequence[Order], folder: Path) -> None:
    """Buy what the log does not have, four at a time."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - as one writes it
    log = folder / "done.log"
    done = set(log.read_text().split("\n")) if log.exists() else set()
    four, key = asyncio.Semaphore(4), {"Authorization": "Bearer ordinary"}
    async with httpx.AsyncClient(base_url=f"{api}/api/v3/", headers=key) as http:

        async def clip(name: str, model: str, body: Mapping[str, Any]) -> None:
            async with four:
                started = await patiently(http, "POST", model, body)
                path = f"predictions/{started['id']}/result"
                while not (found := await patiently(http, "GET", path))["outputs"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                async with httpx.AsyncClient() as plain:
                    video = await plain.get(found["outputs"][0])
                (folder / f"{name}.mp4").write_bytes(video.content)
                with log.open("a") as file:
                    file.write(f"{name}\n")

        left = [order for order in orders if order[0] not in done]
        await asyncio.gather(*(clip(*order) for order in left))


async def patiently(
    http: httpx.AsyncClient, method: str, path: str, body: object = None
) -> Any:
    """The answer's data; on an error try again, as one does."""
    for _ in range(5):
        try:
            answer = await http.request(method, path, json=body)
            return json.loads(answer.raise_for_status().content)["data"]
        except (httpx.HTTPError, ValueError, KeyError):
            await asyncio.sleep(0.05)
    raise SystemExit(f"{path} does not work")
