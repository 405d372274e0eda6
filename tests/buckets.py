"""A bucket on this machine: a real S3 server over HTTP, in a process of its own."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
from obstore.store import S3Store

SECRET = "canary/secret+of/the+bucket/9f1c20ab"


@dataclass(frozen=True)
class Bucket:
    """One server with one bucket.

    Attributes:
        url: of the server.
        name: of the bucket.
    """

    url: str
    name: str

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to put clips there."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
        }

    def names(self) -> list[str]:
        """The names of all objects, sorted; the marker of a run is not one."""
        answer = httpx.get(f"{self.url}/{self.name}?list-type=2&max-keys=5000")
        found = answer.text.split("<Key>")[1:]
        names = (part.partition("</Key>")[0] for part in found)
        return sorted(name for name in names if not name.endswith("/.batchgen"))

    def get(self, key: str) -> httpx.Response:
        """An object."""
        minutes = timedelta(minutes=5)
        return httpx.get(obstore.sign(self._store, "GET", key, minutes))

    @property
    def _store(self) -> Any:
        store: Any = S3Store(
            self.name,
            endpoint=self.url,
            region="us-east-1",
            access_key_id="AKIDOFTHETESTS",
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )
        return store

    def put(self, key: str, body: bytes) -> None:
        """Somebody else's object."""
        httpx.put(f"{self.url}/{self.name}/{key}", content=body).raise_for_status()

    def delete(self, key: str) -> None:
        """Somebody else removes one."""
        obstore.delete(self._store, key)

    def copy(self, key: str, other: str) -> None:
        """Somebody else copies one."""
        obstore.copy(self._store, key, other)

    def uploads(self) -> int:
        """Multipart uploads that nobody finished and somebody pays for."""
        return httpx.get(f"{self.url}/{self.name}?uploads").text.count("<UploadId>")


@contextmanager
def serving(folder: Path, name: str = "clips") -> Iterator[Bucket]:
    """A server until the end; what it is asked stands in `requests.log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (folder / "requests.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.put(f"{url}/{name}").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield Bucket(url, name)
    finally:
        server.kill()
        server.wait()


def puts(folder: Path, status: int = 200) -> list[str]:
    """Paths of all clips that were put so far and answered so, in order."""
    lines = (folder / "requests.log").read_text(errors="replace").splitlines()
    asked = (line.partition('"')[2] for line in lines if " HTTP/1.1" in line)
    plain = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in asked)
    words = [line.split() for line in plain if f'" {status}' in line]
    return [w[1] for w in words if w[0] == "PUT" and w[1].endswith(".mp4")]
