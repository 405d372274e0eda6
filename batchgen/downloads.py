"""A URL becomes a verified file: resumed where that is safe, never over another.

The query of a link is a secret: it is sent, and neither stored nor shown.
"""

import errno
import hashlib
import json
import logging
import os
import re
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import httpx
from pydantic import BaseModel, ConfigDict

from batchgen import addresses, mp4
from batchgen.answers import retry_after, when
from batchgen.disk import Disk
from batchgen.errors import BatchgenError, StoreError, Unavailable
from batchgen.events import SavedFile
from batchgen.trust import trust

BLOCK = 1 << 20
SYNC_EVERY = 8 << 20
MOST_BYTES = 2 << 30
MOST_HOPS = 5
LEAST_RATE = 10 << 10  # bytes a second, over
RATE_WINDOW = 60.0  # seconds
SILENCE = 30.0
_TICK = 0.25  # seconds after which a silent socket lets the stop flag be seen
_TIMEOUT = {"connect": 10.0, "read": SILENCE, "write": 10.0, "pool": 30.0}
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "batchgen"}

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_PAGES = re.compile(r"html|json|xml")
_STRONG_ETAG = re.compile(r'"[!#-~]*"')
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
)


class LinkExpired(Unavailable):
    """This link will not give the file; ask the API for a fresh one."""

    rule = "link-expired"


class BadClip(StoreError):
    """The service gives something else than a clip, again and again."""

    rule = "bad-clip"


class DownloadStopped(BatchgenError):
    """The stop flag was set; what came so far is kept."""

    rule = "stopped"


def open_http(*, authorities: Path | None = None) -> httpx.Client:
    """The client of downloads: no key, no cookies, no environment, no redirects.

    `authorities` is a file of certificates to trust in place of the usual ones.
    """
    # At INFO it logs whole links.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    context = trust()
    if authorities is not None:
        context = ssl.create_default_context(cafile=authorities)
    return httpx.Client(
        verify=context,
        trust_env=False,
        follow_redirects=False,
        # A kept connection was checked for one name only.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


def fetch(
    url: str,
    target: Path,
    *,
    http: httpx.Client,
    loopback: bool,
    disk: Disk,
    boot: str = "",
    stop: threading.Event,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> SavedFile:
    """Bring the file at `url` to `target`, whose folder exists; one attempt.

    Runs in a thread of its own. `on_bytes` is told how many bytes came, as they come;
    0 while the server is silent.
    Raises Unavailable (call again later; the part is kept), LinkExpired (call again
    with a fresh link), DownloadStopped, or StoreError.
    """
    part = _Part(target, disk, boot)
    try:
        link = addresses.parse(url)
        asked = "" if link.query else _bare(link)
        if saved := part.adopted(asked):
            return saved
        part.open()
        if not part.whole_copy_of(asked):
            _Transfer(part, http, loopback, stop, on_bytes).run(link, asked)
        return part.finish()
    except addresses.AddressRefused as refusal:
        # Asking there again is no use; a fresh link may lead elsewhere.
        raise LinkExpired(refusal.message) from refusal
    finally:
        part.close()


def write_sidecar(
    path: Path, value: Mapping[str, Any], *, disk: Disk | None = None
) -> None:
    """Put a JSON object beside a clip: whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    data = text.encode("utf-8", "backslashreplace") + b"\n"
    with _on_disk(path):
        _replace(disk or Disk(), path, data, sync=True)


class Speed:
    """Gives up on a body that comes too slowly, or not at all."""

    def __init__(self, now: float) -> None:
        self._since = self._heard = now
        self._bytes = 0

    def note(self, count: int, now: float) -> None:
        """So many bytes came by now; Unavailable if that is too few."""
        self._bytes += count
        if count:
            self._heard = now
        elif now - self._heard >= SILENCE:
            raise Unavailable(f"no byte came for {SILENCE:.0f} s")
        if now - self._since >= RATE_WINDOW:
            if self._bytes < LEAST_RATE * (now - self._since):
                raise Unavailable(f"less than {LEAST_RATE >> 10} KiB a second came")
            self._since, self._bytes = now, 0


class _Note(BaseModel):
    """What is known of a part; stands beside it."""

    model_config = ConfigDict(frozen=True, strict=True)

    asked: str = ""  # the link as given, if its path alone names the file
    served: str = ""  # where the bytes came from, after redirects, without the query
    etag: str = ""  # strong, or empty
    last_modified: str = ""  # older than the answer, or empty
    total: int | None = None
    synced: int = 0
    boot: str = ""
    sha256: str = ""  # once verified
    bad: bool = False  # an earlier copy was damaged

    @property
    def validator(self) -> str:
        return self.etag or self.last_modified


class _Part:
    """The unfinished file beside its note."""

    def __init__(self, target: Path, disk: Disk, boot: str) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.size = 0
        self.note = _Note()
        self._kept = 0
        self._note_path = target.with_name(f"{target.name}.part.json")
        self._disk = disk
        self._boot = boot
        self._handle = -1
        self._digest = hashlib.sha256()
        with suppress(OSError, ValueError):
            self.note = _Note.model_validate_json(self._note_path.read_bytes())

    def adopted(self, asked: str) -> SavedFile | None:
        """The final file, if a crash came after it was verified and got its name."""
        if not self.note.sha256 or self.note.asked != asked or not asked:
            return None
        with _on_disk(self.target):
            for name in self._names(self.note.sha256):
                if self._sum(name) == self.note.sha256:
                    return self._settle(name, name.stat().st_size)
        return None

    def open(self) -> None:
        """Find what an earlier attempt left."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with _on_disk(self.path):
            self._handle = self._disk.open(self.path, flags, 0o644)
            status = os.fstat(self._handle)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                # It is a finished file under its first name: not to be written to.
                self.close()
                self._disk.unlink(self.path)
                self._handle = self._disk.open(self.path, flags | os.O_EXCL, 0o644)
            size = self._disk.size(self._handle)
        # A dead process leaves its bytes to the system; a dead system loses the tail.
        same_boot = self._boot and self._boot == self.note.boot
        kept = size if same_boot else self.note.synced
        if kept <= size and self.note.total is not None and kept <= self.note.total:
            self._kept = kept

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            self._disk.close(handle)

    def whole_copy_of(self, asked: str) -> bool:
        """Whether all bytes of exactly this file are here; then they are kept."""
        whole = bool(asked) and asked == self.note.asked and self.is_whole
        if whole:
            self.keep()
        return whole

    @property
    def is_whole(self) -> bool:
        return bool(self._kept) and self._kept == self.note.total

    def range_of(self, served: str) -> dict[str, str]:
        """The headers that ask for the rest, where that is safe."""
        if not self._kept or not self.note.validator or served != self.note.served:
            return {}
        return {"Range": f"bytes={self._kept}-", "If-Range": self.note.validator}

    def continued_by(self, headers: httpx.Headers) -> bool:
        """Whether a 206 is the rest of this very part."""
        total = self.note.total or 0
        if headers.get("content-range") != f"bytes {self._kept}-{total - 1}/{total}":
            return False
        if self.note.etag:
            return bool(headers.get("etag") == self.note.etag)
        return bool(headers.get("last-modified") == self.note.last_modified)

    def keep(self) -> None:
        """Go on where the earlier attempt ended."""
        with _on_disk(self.path):
            self._disk.truncate(self._handle, self._kept)
            with self._reading(self.path) as file:
                self._digest = hashlib.file_digest(file, "sha256")
            self.size = self._kept
            self._tell(synced=min(self.note.synced, self._kept), boot=self._boot)

    def restart(self, note: _Note) -> None:
        """Begin with the first byte."""
        with _on_disk(self.path):
            self._disk.truncate(self._handle, 0)
            self._digest = hashlib.sha256()
            self.size = 0
            self.note = note.model_copy(update={"bad": self.note.bad})
            self._tell(boot=self._boot)

    def make_room(self) -> None:
        """StoreError if the rest, and a twentieth of the whole, does not fit."""
        total = self.note.total or 0
        with _on_disk(self.path):
            free = self._disk.free(self.path.parent)
        if free < total + total // 20 - self.size:
            raise StoreError(
                f"{self.path.parent}: {free:,} bytes free, too few for "
                f"{self.target.name} of {total:,}",
                rule="disk-full",
            )

    def append(self, block: memoryview) -> None:
        """Add bytes to the end."""
        if not self.size and not mp4.starts_well(block):
            raise Unavailable("what came is not an MP4 file")
        if self.size + len(block) > MOST_BYTES:
            self.discard(_Note())
            raise BadClip(_too_big(self.target.name))
        with _on_disk(self.path):
            _write(self._disk, self._handle, bytes(block))
        self._digest.update(block)
        self.size += len(block)
        if self.size - self.note.synced >= SYNC_EVERY:
            self._sync()

    def finish(self) -> SavedFile:
        """Verify the whole part, and give it its final name."""
        self._sync()
        with _on_disk(self.path), self._reading(self.path) as file:
            sized = self.note.total is not None
            problem = mp4.flaw(file, self.size, open_end=sized)
        if problem:
            self._reject(problem)
        with _on_disk(self.target):
            self._tell(sha256=self._digest.hexdigest(), sync=True)
            for name in self._names(self.note.sha256):
                with suppress(FileExistsError):
                    self._link(name)
                    return self._settle(name, self.size)
                if self._sum(name) == self.note.sha256:
                    return self._settle(name, self.size)
        raise StoreError(f"{self.target}: another file has this name")

    def discard(self, note: _Note) -> None:
        """Throw the bytes away; only the note goes on."""
        self.close()
        with _on_disk(self.path):
            self._disk.unlink(self.path)
            self.note = note
            self._tell()

    def _reject(self, problem: str) -> NoReturn:
        if not self.note.bad:
            self.discard(_Note(bad=True))
            raise Unavailable(f"{self.target.name} came damaged: {problem}")
        kept = self.target.with_name(f"{self.target.name}.bad")
        with _on_disk(kept):
            self._disk.rename(self.path, kept)
            self._disk.unlink(self._note_path)
        raise BadClip(
            f"{self.target.name} came damaged twice: {problem}",
            advice=f"kept for inspection: {kept.name}",
        )

    def _sync(self) -> None:
        with _on_disk(self.path):
            try:
                self._disk.sync(self._handle)
            except OSError:
                # Nobody can say which bytes were lost.
                self.discard(_Note(bad=self.note.bad))
                raise
            self._tell(synced=self.size)

    def _tell(self, *, sync: bool = False, **news: int | str) -> None:
        self.note = self.note.model_copy(update=news)
        data = self.note.model_dump_json(exclude_defaults=True).encode()
        _replace(self._disk, self._note_path, data, sync=sync)

    def _names(self, sha256: str) -> tuple[Path, Path]:
        other = f"{self.target.stem}~{sha256[:8]}{self.target.suffix}"
        return self.target, self.target.with_name(other)

    def _link(self, name: Path) -> None:
        try:
            self._disk.link(self.path, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._copy(name)

    def _copy(self, name: Path) -> None:
        if self._begins_with(name):
            self._disk.unlink(name)  # a copy that a crash cut short
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = self._disk.open(name, flags, 0o644)
        try:
            with self._reading(self.path) as file:
                while block := file.read(BLOCK):
                    _write(self._disk, handle, block)
            self._disk.sync(handle)
        except BaseException:
            self._disk.unlink(name)
            raise
        finally:
            self._disk.close(handle)

    def _begins_with(self, name: Path) -> bool:
        """Whether a file is the beginning of this one, and no more."""
        if not name.is_file() or name.stat().st_size >= self.size:
            return False
        with self._reading(name) as file, self._reading(self.path) as part:
            while block := file.read(BLOCK):
                if block != part.read(len(block)):
                    return False
        return True

    def _settle(self, name: Path, size: int) -> SavedFile:
        """Make the final name durable and sweep; the last thing that can fail."""
        handle = self._disk.open(name, os.O_RDONLY)
        try:
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)
        with suppress(FileNotFoundError):
            self._disk.unlink(self.path)
        self._disk.sync_folder(name.parent)
        with suppress(FileNotFoundError):
            self._disk.unlink(self._note_path)
        note = self.note
        return SavedFile(
            name=name.name, bytes=size, sha256=note.sha256, validator=note.validator
        )

    def _sum(self, path: Path) -> str:
        """The SHA-256 of a regular file, empty if there is none of that name."""
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return ""
            with self._reading(path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return ""

    def _reading(self, path: Path) -> BufferedReader:
        return os.fdopen(self._disk.open(path, os.O_RDONLY), "rb")


class _Transfer:
    """One attempt to bring a part to its full length."""

    def __init__(
        self,
        part: _Part,
        http: httpx.Client,
        loopback: bool,  # noqa: FBT001 - never a literal here
        stop: threading.Event,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._part = part
        self._http = http
        self._loopback = loopback
        self._stop = stop
        self._on_bytes = on_bytes

    def run(self, link: httpx.URL, asked: str) -> None:
        """Fetch the rest; where the server has no rest to give, fetch the whole."""
        part = self._part
        for resume in (True, False):
            served, response = self._follow(link, resume=resume)
            with closing(response):
                status = response.status_code
                _judge_status(status, served.host, response.headers)
                if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    if not (resume and part.is_whole):
                        continue
                    part.keep()
                    return
                _judge_body(response.headers, served.host)
                if status == httpx.codes.OK:
                    part.restart(_fresh_note(response.headers, served, asked))
                elif resume and part.continued_by(response.headers):
                    part.keep()
                else:
                    continue
                self._receive(response)
                return
        raise Unavailable(f"{link.host} answered for a range that nobody asked for")

    def _follow(
        self, link: httpx.URL, *, resume: bool
    ) -> tuple[httpx.URL, httpx.Response]:
        for _ in range(MOST_HOPS + 1):
            self._mind_stop()
            headers = self._part.range_of(_bare(link)) if resume else {}
            response = self._knock(link, headers)
            if response.status_code not in _REDIRECTS:
                return link, response
            response.close()
            link = _next_hop(link, response.headers.get("location", ""))
        raise LinkExpired(f"{link.host} redirects without end")

    def _knock(self, link: httpx.URL, headers: dict[str, str]) -> httpx.Response:
        """Ask every address of the host until one answers."""
        problem: Exception | None = None
        for route in addresses.routes(link, loopback=self._loopback):
            # Not `build_request`: nothing the client holds, cookies above all, is sent.
            request = httpx.Request(
                "GET",
                route.url,
                headers={"Host": route.host, **_HEADERS, **headers},
                extensions={"timeout": _TIMEOUT, "sni_hostname": route.name},
            )
            try:
                return self._http.send(
                    request, stream=True, auth=None, follow_redirects=False
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
            except httpx.TransportError as error:
                raise _broken(link.host, error) from error
        raise _broken(link.host, problem) from problem

    def _mind_stop(self) -> None:
        if self._stop.is_set():
            raise DownloadStopped("stopped; what came so far is kept")

    def _receive(self, response: httpx.Response) -> None:
        part = self._part
        total = part.note.total
        if (total or 0) > MOST_BYTES:
            part.discard(_Note())
            raise BadClip(_too_big(part.target.name))
        part.make_room()
        try:
            for block in self._blocks(_Body(response)):
                part.append(block)
        except (httpx.TransportError, OSError) as error:
            raise _broken("the connection", error) from error
        if total is not None and part.size != total:
            raise Unavailable(f"{part.size:,} of {total:,} bytes came")

    def _blocks(self, body: "_Body") -> Iterator[memoryview]:
        """Full buffers, then the rest; what came before a failure is not lost."""
        buffer = memoryview(bytearray(BLOCK))
        filled = 0
        speed = Speed(time.monotonic())
        try:
            while (count := body.read_into(buffer[filled:])) != 0:
                filled += count or 0
                self._on_bytes(count or 0)
                if filled == len(buffer):
                    yield buffer
                    filled = 0
                speed.note(count or 0, time.monotonic())
                self._mind_stop()
        except (httpx.TransportError, OSError, Unavailable, DownloadStopped):
            if self._part.size or mp4.starts_well(buffer[:filled]):
                yield buffer[:filled]
            raise
        # A body too short to be judged is judged all the same.
        if filled or not self._part.size:
            yield buffer[:filled]


class _Body:
    """The bytes of an answer, straight from the socket where that is sound.

    The first chunk is taken through httpx and empties what it had read ahead. From
    then on an HTTP/1.1 body of known length is just the next so many bytes of the
    connection, which is closed afterwards.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_raw()
        self._ahead = memoryview(b"")
        self._left = 0
        self._socket: socket.socket | None = None

    def read_into(self, view: memoryview) -> int | None:
        """How many bytes came; 0 at the end, None if none came for a while."""
        if not self._ahead:
            if self._socket is not None:
                return self._receive_into(view, self._socket)
            self._ahead = memoryview(next(self._chunks, b""))
            self._leave_httpx()
        count = min(len(view), len(self._ahead))
        view[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def _leave_httpx(self) -> None:
        response = self._response
        length = response.headers.get("content-length", "")
        if (
            response.http_version != "HTTP/1.1"
            or "transfer-encoding" in response.headers
            or not length.isdecimal()
            or response.num_bytes_downloaded != len(self._ahead)
        ):
            return
        stream = response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        # TLS inside TLS hands out the outer socket; then httpx goes on reading.
        sealed = response.url.scheme == "https"
        if isinstance(found, ssl.SSLSocket if sealed else socket.socket):
            self._left = int(length) - len(self._ahead)
            self._socket = found
            found.settimeout(_TICK)

    def _receive_into(self, view: memoryview, found: socket.socket) -> int | None:
        if not self._left:
            return 0
        try:
            count = found.recv_into(view[: self._left])
        except TimeoutError:
            return None
        self._left -= count
        return count


def _bare(link: httpx.URL) -> str:
    """A link without its secrets: origin and path."""
    return str(link.copy_with(query=None, fragment=None))


def _next_hop(link: httpx.URL, location: str) -> httpx.URL:
    if not location:
        raise Unavailable(f"{link.host} redirects to nowhere")
    try:
        return link.join(location)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise addresses.AddressRefused(
            f"{link.host} redirects to what is not a URL"
        ) from None


def _judge_status(status: int, host: str, headers: httpx.Headers) -> None:
    known = {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}
    if status in known | {httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}:
        return
    if httpx.codes.is_client_error(status) and status not in _TRANSIENT:
        raise LinkExpired(f"{host} answered {status}", http=status)
    wait = retry_after(headers)
    raise Unavailable(f"{host} answered {status}", http=status, retry_after=wait)


def _judge_body(headers: httpx.Headers, host: str) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Unavailable(f"{host} sent an encoded body, unasked")
    kind = headers.get("content-type", "").partition(";")[0].lower()
    if _PAGES.search(kind):
        raise Unavailable(f"{host} sent a page in place of a clip")


def _fresh_note(headers: httpx.Headers, served: httpx.URL, asked: str) -> _Note:
    etag = headers.get("etag", "")
    modified = headers.get("last-modified", "")
    length = headers.get("content-length", "")
    return _Note(
        asked=asked,
        served=_bare(served),
        etag=etag if _STRONG_ETAG.fullmatch(etag) else "",
        last_modified=modified if _settled(modified, headers.get("date", "")) else "",
        total=int(length) if length.isdecimal() else None,
    )


def _settled(modified: str, date: str) -> bool:
    """Whether a date tells versions apart: changes of one second share it."""
    then, now = when(modified), when(date)
    return bool(then and now and (now - then).total_seconds() >= 1)


def _broken(what: str, error: Exception | None) -> Unavailable:
    return Unavailable(f"{what}: {str(error) or type(error).__name__}")


def _too_big(name: str) -> str:
    return f"{name}: more than {MOST_BYTES >> 30} GiB is no clip"


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(f"{path}: the disk is full", rule="disk-full") from error
        raise StoreError(f"{path}: {error.strerror or error}") from error


def _write(disk: Disk, handle: int, data: bytes) -> None:
    while data:
        data = data[disk.write(handle, data) :]


def _replace(disk: Disk, path: Path, data: bytes, *, sync: bool) -> None:
    """Exchange a small file in one move."""
    fresh = path.with_name(f"{path.name}.tmp")
    handle = disk.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write(disk, handle, data)
        if sync:
            disk.sync(handle)
    finally:
        disk.close(handle)
    disk.rename(fresh, path)
    if sync:
        disk.sync_folder(path.parent)
