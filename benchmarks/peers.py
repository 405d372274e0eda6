"""How the same work is done without batchgen: what `tasks_cpu` is measured against.

    python -m benchmarks.peers wavespeed|script API FOLDER COUNT
    python -m benchmarks.peers collect API FOLDER IDS

Each sells its soul for speed: no state, no budget, no check of what it fetched.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MODEL = "kwaivgi/kling-v3.0-4k/text-to-video"
AT_ONCE = 64
_POLL = 0.6


def wavespeed(api: str, folder: Path, count: int) -> None:
    """The vendor's package in a thread pool, and a plain download."""
    import requests  # noqa: PLC0415 - only this peer pays for it
    from wavespeed.api.client import Client  # noqa: PLC0415 - the same

    client = Client(api_key="benchmark-key-1234567890", base_url=api)

    def work(number: int) -> None:
        fields = {"prompt": f"A paper boat drifts, {folder.name} {number}"}
        found = client.run(MODEL, {**fields, "duration": 3}, poll_interval=_POLL)
        answer = requests.get(found["outputs"][0], timeout=60)
        answer.raise_for_status()
        (folder / f"{number}.mp4").write_bytes(answer.content)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(work, range(count)):
            pass


async def script(api: str, folder: Path, count: int, ids: list[str]) -> None:
    """What one writes in ten minutes: a semaphore, a fixed poll, no state.

    With `ids` it only waits for these and fetches them.
    """
    import aiohttp  # noqa: PLC0415 - only this peer pays for it

    room = asyncio.Semaphore(AT_ONCE)
    headers = {"Authorization": "Bearer benchmark-key-1234567890"}

    async def work(number: int, http: "aiohttp.ClientSession") -> None:
        async with room:
            identity = ids[number] if ids else await submit(number, http)
            while True:
                path = f"{api}/api/v3/predictions/{identity}/result"
                async with http.get(path, headers=headers) as answer:
                    data: dict[str, Any] = (await answer.json())["data"]
                if data["status"] == "completed":
                    break
                await asyncio.sleep(_POLL)
            async with http.get(data["outputs"][0]) as answer:
                answer.raise_for_status()
                (folder / f"{number}.mp4").write_bytes(await answer.read())

    async def submit(number: int, http: "aiohttp.ClientSession") -> str:
        fields = {"prompt": f"A paper boat drifts, {folder.name} {number}"}
        path = f"{api}/api/v3/{MODEL}"
        body = {**fields, "duration": 3}
        async with http.post(path, json=body, headers=headers) as answer:
            return str((await answer.json())["data"]["id"])

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(work(one, http) for one in range(len(ids) or count)))


def main(name: str, api: str, where: str, what: str) -> None:
    """Be one of them."""
    folder = Path(where)
    folder.mkdir()
    match name:
        case "wavespeed":
            wavespeed(api, folder, int(what))
        case "script":
            asyncio.run(script(api, folder, int(what), []))
        case "collect":
            ids = Path(what).read_text(encoding="utf-8").split()
            asyncio.run(script(api, folder, 0, ids))
        case _:
            sys.exit(f"no peer {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
