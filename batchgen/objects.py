"""Clips as objects in a bucket: Amazon S3 and its like, Google's and Azure's.

One request puts a whole clip, and only where nothing is under its name. So a clip is
there whole or not at all, whatever dies, and no parts of it are left for somebody to
pay for. Its bytes come from the page cache as the network takes them: memory does not
grow with their number. Needs the extra `s3`.

Everything blocks. The library has coroutines too, and a process that ends right after
one of them is now and then aborted (PyO3/pyo3-async-runtimes, issue 40).
"""

import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from batchgen.disk import Disk
from batchgen.downloads import DownloadStopped
from batchgen.errors import StoreError, Unavailable, UsageError
from batchgen.events import SavedFile
from batchgen.names import with_hash
from batchgen.parts import on_disk
from batchgen.patterns import pattern
from batchgen.redaction import SECRETS, Redaction
from batchgen.world import World

if TYPE_CHECKING:
    from obstore.store import ClientConfig
    from obstore.store import ObjectStore as Remote

MARKER = ".batchgen"
"""An object beside the clips: that it can be put proves that clips can."""

NOTHING = "Nothing was submitted."

_ENDPOINTS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)
_HERE = ("localhost", "127.0.0.1", "::1")
_LEAST_TIME = 64  # seconds for a small request, repeats not counted
_SLOWEST = 128 << 10  # bytes a second; what is slower is cut off and tried again
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_SAID_AT = 3  # tries; less is nobody's business
_GLANCE, _GRACE = 0.5, 3.0  # seconds
_BLOCK = 1 << 20

_STATUS = pattern(r"status code: (\d{3})")
_CODE = pattern(r"<Code>(\w{1,60})</Code>")
_KEYLESS = pattern(
    r"169\.254\.|token request|[Aa]ccount must be specified|[Cc]redential|metadata\."
)
_NETWORK = pattern(r"error sending request|timed? ?out|connection|HTTP error")
_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; of a profile: "
    'eval "$(aws configure export-credentials --format env)"',
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

T = TypeVar("T")


class ObjectStore:
    """The folder of one run in a bucket.

    It is made from its address alone; credentials, region and endpoint come from the
    environment. Whatever it does may be done twice.

    Its methods block; `stop` ends the waiting for a bucket that does not answer, with
    DownloadStopped. What goes on meanwhile goes with the process.

    Attributes:
        url: `s3://bucket/prefix/run`, `gs://…` or `az://…`.
    """

    def __init__(self, url: str, world: World, stop: Flag | None = None) -> None:
        self.url = url
        self._world = world
        self._stop = stop or Flag()
        self._remotes: dict[int, Remote] = {}
        self._redaction = Redaction(*(os.environ.get(name, "") for name in SECRETS))

    def look(self) -> dict[str, int]:
        """What is there: name -> bytes. And prove that clips can be put, and are safe.

        Raises:
            StoreError: they cannot, or an object could be overwritten.
            UsageError: the extra is not installed.
        """
        try:
            found = self._patiently(self._names, 1)
            self._patiently(self._prove, 1)
        except StoreError as error:
            error.advice = f"{NOTHING} {error.advice}".strip()
            raise
        return found

    def found(self, name: str, path: Path, prediction: str) -> SavedFile | None:
        """A clip that an earlier life has put and not written down.

        Args:
            name: that it should have.
            path: where that life may have left its download.
            prediction: whose clip it is.

        Raises:
            StoreError: the bucket does not tell.
        """
        about = self._about(name)
        if about is None:
            return None
        size, facts = about
        if facts.get("prediction") != prediction or "sha256" not in facts:
            return None
        file = SavedFile(name=name, bytes=size, sha256=facts["sha256"], store=self.url)
        remove_copy(path, file, self._world.disk)
        return file

    def keep(
        self, name: str, file: SavedFile, path: Path, prediction: str
    ) -> SavedFile:
        """Put a verified file below this name, or below one with its hash.

        Args:
            name: below the run's folder, `/` between folders.
            file: what it is.
            path: where it is on this disk; it is removed when it is there.
            prediction: whose clip it is.

        Raises:
            StoreError: the bucket does not take it; the local file stays.
        """
        twin = ""
        for target in (name, with_hash(name, file.sha256)):
            if self._put(target, file, path, prediction):
                return self._kept(target, file, path)
            if self._holds(target, file):
                twin = twin or target
        if not twin:
            raise StoreError(f"{self.url}/{name}: other objects have this name")
        return self._kept(twin, file, path)

    def explain(self, name: str, facts: Mapping[str, Any]) -> None:
        """Put a sidecar beside a clip that is ours; an older one is replaced."""
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        about = {"Content-Type": "application/json"}
        remote = self._remote()
        self._patiently(
            lambda: remote.put(name, data, attributes=about, mode="overwrite")
        )

    def move(self, file: SavedFile, target: str) -> str | None:
        """Give an object another name, never over another; where it is now.

        It is copied within the bucket, and removed when the copy is there. None: it
        is nowhere.

        Raises:
            StoreError: the bucket does not do it; the object is there.
        """
        if self._about(file.name) is None:
            for name in (target, with_hash(target, file.sha256)):
                if self._holds(name, file):
                    return name
            return None
        for name in (target, with_hash(target, file.sha256)):
            if name == file.name or self._copied(file, name):
                break
        else:
            return file.name
        if name != file.name:
            self._remote_call("delete", file.name)
            self._move_sidecar(file.name, name)
        return name

    def signed(self, names: Sequence[str], seconds: int) -> list[str]:
        """Links that open without credentials, for so long.

        Raises:
            StoreError: these credentials sign nothing.
        """
        if not names:
            return []
        from obstore import sign  # noqa: PLC0415 - an extra

        remote: Any = self._remote()
        try:
            return list(sign(remote, "GET", list(names), timedelta(seconds=seconds)))
        except Exception as error:
            raise self._said(error) from error

    def _kept(self, name: str, file: SavedFile, path: Path) -> SavedFile:
        with suppress(OSError):  # a copy too many is no harm
            self._world.disk.unlink(path)
        return replace(file, name=name, store=self.url)

    # -- one request each ----------------------------------------------------------

    def _names(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for batch in self._remote().list(chunk_size=1000):
            found.update((one["path"], one["size"]) for one in batch)
        found.pop(MARKER, None)
        return found

    def _prove(self) -> None:
        data = b"clips of a run of batchgen; the names are kept in its state file\n"
        remote = self._remote()
        for _ in range(2):
            try:
                remote.put(MARKER, data, mode="create")
            except _exceptions().AlreadyExistsError:
                return
        raise StoreError(
            f"{self.url}: an object there can be overwritten, because the service does "
            "not know `If-None-Match`",
            rule="store-unsafe",
        )

    def _put(self, name: str, file: SavedFile, path: Path, prediction: str) -> bool:
        """Whether it is there, put now or before; False if the name is another's."""
        facts = {"sha256": file.sha256, "prediction": prediction}
        about = {"Content-Type": "video/mp4", **facts}
        remote = self._remote(file.bytes)

        def put() -> None:
            with on_disk(path), self._world.disk.reader(path) as opened:
                body = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            try:
                remote.put(name, body, attributes=about, mode="create")
            finally:
                with suppress(BufferError):  # a failed request lets go of it later
                    body.close()

        try:
            self._patiently(put)
        except _exceptions().AlreadyExistsError:
            pass
        except FileNotFoundError as error:
            raise self._said(error) from error
        there = self._about(name)
        if there is None:
            raise StoreError(f"{self.url}/{name} was put, and is not there")
        return there[0] == file.bytes and facts.items() <= there[1].items()

    def _about(self, name: str) -> tuple[int, Mapping[str, str]] | None:
        """Size and facts of an object; None if there is none."""
        remote = self._remote()
        try:
            found = self._patiently(lambda: remote.get(name, options={"head": True}))
        except FileNotFoundError:
            return None
        return found.meta["size"], found.attributes

    def _holds(self, name: str, file: SavedFile) -> bool:
        """Whether an object is this very file, byte by byte where it does not tell."""
        about = self._about(name)
        if about is None or about[0] != file.bytes:
            return False
        told = about[1].get("sha256") or self._patiently(
            partial(self._sum, name, file.bytes)
        )
        return bool(told == file.sha256)

    def _sum(self, name: str, size: int) -> str:
        digest = hashlib.sha256()
        found = self._remote(size).get(name)
        for block in found.stream(min_chunk_size=_BLOCK):
            digest.update(block)
        return digest.hexdigest()

    def _copied(self, file: SavedFile, name: str) -> bool:
        """Whether the object is below this name as well; not if it is another's."""
        # Not every service knows of copies that overwrite nothing, so look first.
        if self._about(name) is None:
            remote = self._remote(file.bytes)
            with suppress(_exceptions().AlreadyExistsError):
                self._patiently(lambda: remote.copy(file.name, name, overwrite=False))
        here, there = self._about(file.name), self._about(name)
        return there is not None and there == here and self._holds(name, file)

    def _move_sidecar(self, before: str, now: str) -> None:
        old, new = (
            str(PurePosixPath(one).with_suffix(".json")) for one in (before, now)
        )
        if self._about(old) is not None:
            self._remote_call("copy", old, new)
            self._remote_call("delete", old)

    def _remote_call(self, method: str, *what: str) -> None:
        remote = self._remote()
        with suppress(FileNotFoundError):
            self._patiently(lambda: getattr(remote, method)(*what))

    # -- the client -----------------------------------------------------------------

    def _remote(self, size: int = 0) -> "Remote":
        """A client with time for so many bytes."""
        seconds = _LEAST_TIME
        while seconds < size // _SLOWEST:
            seconds *= 2
        if seconds not in self._remotes:
            self._remotes[seconds] = self._made(seconds)
        return self._remotes[seconds]

    def _made(self, seconds: int) -> "Remote":
        from_url = _obstore().from_url
        options: ClientConfig = {
            "allow_http": plain_http_of(os.environ),
            "allow_invalid_certificates": False,
            "connect_timeout": "10s",
            "timeout": f"{seconds}s",
            "user_agent": "batchgen",
        }
        # Longer trouble is borne here, where somebody is told of it.
        retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
        more: dict[str, str] = {}
        if self.url.startswith("s3://"):
            more["copy_if_not_exists"] = "header: If-None-Match: *"
        try:
            made: Remote = from_url(
                self.url, client_options=options, retry_config=retry, **more
            )
        except Exception as error:
            raise self._said(error) from error
        return made

    def _patiently(self, ask: Callable[[], T], most: int | None = None) -> T:
        """Ask until it is answered, for as long as patience lasts.

        Args:
            ask: makes one request, anew each time.
            most: so many times at most.

        Raises:
            StoreError: the bucket says no, or says nothing for too long.
            DownloadStopped: nobody waits for it any more.
            FileNotFoundError: there is no such object.
            AlreadyExistsError: there is one already (of obstore).
        """
        began, pause, tried = time.monotonic(), _FIRST_PAUSE, 0
        while True:
            tried += 1
            try:
                return self._asked(ask)
            except (FileNotFoundError, _exceptions().AlreadyExistsError):
                raise
            except _exceptions().BaseError as error:
                trouble = self._said(error)
                waited = time.monotonic() - began
                if isinstance(trouble, StoreError):
                    raise trouble from error
                if tried == most or waited >= self._world.patience.hold:
                    raise StoreError(trouble.message, rule="store") from error
                if tried == _SAID_AT:
                    self._world.alarm(f"{trouble.message}; it is tried again")
            if self._stop.wait(pause * self._world.chance.uniform(0.5, 1.0)):
                raise DownloadStopped("stopped; the clip is still on this disk")
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _asked(self, ask: Callable[[], T]) -> T:
        """One answer; it is not waited for when nobody wants it any more."""
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                answer.set_exception(error)

        Thread(target=work, daemon=True).start()
        while not wait([answer], _GLANCE).done:
            if self._stop.is_set() and not wait([answer], _GRACE).done:
                raise DownloadStopped("stopped; the clip is still on this disk")
        return answer.result()

    def _said(self, error: Exception) -> StoreError | Unavailable:
        """What a client's error means: a no, or passing trouble."""
        text = self._redaction.text(str(error).partition("\n\nDebug source")[0])
        found, code = _STATUS.search(text), _CODE.search(text)
        status = int(found[1]) if found else 0
        why = f" ({status}{f' {code[1]}' if code else ''})" if status else ""
        scheme = self.url.partition(":")[0]
        if _KEYLESS.search(text):
            why = "no credentials for it in the environment"
            return StoreError(f"{self.url}: {why}", rule="no-key", advice=_KEYS[scheme])
        if status in (401, 403):
            return StoreError(
                f"{self.url}: the credentials are refused{why}",
                rule="bad-key",
                advice="they need to list, read, write and delete objects there",
            )
        if status == 404 or isinstance(error, FileNotFoundError):  # noqa: PLR2004
            return StoreError(
                f"{self.url}: there is no such bucket{why}",
                rule="no-bucket",
                advice="make the bucket, or mend `output.store`",
            )
        if status in (408, 409, 425, 429) or status >= 500:  # noqa: PLR2004
            return Unavailable(f"{self.url} does not answer as it should{why}")
        if not status and _NETWORK.search(text):
            return Unavailable(f"{self.url} cannot be reached")
        advice = "is AWS_REGION the bucket's region?" if "redirect" in text else ""
        line = text.partition("\n")[0][:300]
        return StoreError(f"{self.url}: {line}", rule="store", advice=advice)


def remove_copy(path: Path, file: SavedFile, disk: Disk) -> None:
    """Remove a local file if it is that very clip; what fails is left for later."""
    with suppress(OSError):
        entry = disk.find(path)
        if entry is None or not entry.is_file or entry.size != file.bytes:
            return
        with disk.reader(path) as content:
            same = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
        if same:
            disk.unlink(path)


def plain_http_of(environ: Mapping[str, str]) -> bool:
    """Whether the bucket's service is on this machine, and so may go without TLS.

    Raises:
        UsageError: a service elsewhere would be spoken to in the open.
    """
    given = {name: environ.get(name, "") for name in _ENDPOINTS}
    plain = {name: url for name, url in given.items() if url.startswith("http://")}
    for name, url in plain.items():
        if urlsplit(url).hostname not in _HERE:
            raise UsageError(
                f"{name} must be https, or http on this machine",
                rule="bad-endpoint",
                advice="Nothing was submitted. Keys and clips would go in the open.",
            )
    return bool(plain) or environ.get("AZURE_STORAGE_USE_EMULATOR", "") != ""


def _obstore() -> Any:
    try:
        from obstore import store  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            "clips cannot go to a bucket: pip install 'batchgen[s3]'",
            rule="missing-extra",
            advice="Nothing was submitted. From a checkout: pip install '.[s3]'",
        ) from error
    return store


def _exceptions() -> Any:
    _obstore()
    from obstore import exceptions  # noqa: PLC0415 - an extra

    return exceptions
