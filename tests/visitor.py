"""A client of the sandbox that knows nothing and tries everything."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import nursery

MODEL = "/api/v3/kwaivgi/kling-v3.0-4k/text-to-video"
KEY = {"Authorization": "Bearer anything"}
FAST = ("--profile", "preview", "--speed", "1800")


class Visitor:
    """A client of the sandbox with as little cleverness as possible."""

    def __init__(self, api: httpx.Client) -> None:
        self.api = api

    def submit(self, fault: str = "", **fields: Any) -> httpx.Response:
        headers = {"X-Sandbox-Fault": fault} if fault else {}
        return self.api.post(MODEL, json={"prompt": "a"} | fields, headers=headers)

    def result(self, identity: str, fault: str = "") -> httpx.Response:
        headers = {"X-Sandbox-Fault": fault} if fault else {}
        path = f"/api/v3/predictions/{identity}/result"
        return self.api.get(path, headers=headers)

    def finished(self, identity: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            data: dict[str, Any] = self.result(identity).json()["data"]
            if data["status"] not in ("created", "processing"):
                return data
            time.sleep(0.01)
        raise AssertionError(identity)

    def bought(self, fault: str = "", **fields: Any) -> dict[str, Any]:
        return self.finished(self.submit(fault, **fields).json()["data"]["id"])

    def history(self, fault: str = "", **asked: Any) -> httpx.Response:
        headers = {"X-Sandbox-Fault": fault} if fault else {}
        body = {"page": 1, "page_size": 100} | asked
        return self.api.post("/api/v3/predictions", json=body, headers=headers)

    @property
    def till(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.api.get("/__sandbox__/till").json()
        return rows

    @property
    def sold(self) -> list[dict[str, Any]]:
        """The charges alone: a refund may come between two looks."""
        return [row for row in self.till if not row["price_usd"].startswith("-")]

    @property
    def seen(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.api.get("/__sandbox__/requests").json()
        return counts


@contextmanager
def visiting(data: Path, *arguments: str) -> Iterator[Visitor]:
    with (
        nursery.sandbox(data, *FAST, *arguments) as addresses,
        httpx.Client(base_url=addresses["api"], headers=KEY) as api,
    ):
        yield Visitor(api)
