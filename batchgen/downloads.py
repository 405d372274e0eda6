"""A URL becomes a verified file: resumed where that is safe, never over another.

The query of a link is a secret: it is sent, and neither stored nor shown.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import httpx

from batchgen import addresses, mp4
from batchgen.answers import retry_after, when
from batchgen.bodies import Speed, broken
from batchgen.disk import Disk
from batchgen.errors import BatchgenError, Unavailable
from batchgen.events import SavedFile
from batchgen.parts import BLOCK, MOST_BYTES, BadClip, Note, Part, too_big
from batchgen.patterns import pattern
from batchgen.sockets import Carrier, Question, Served, Wire, proxy_of, within
from batchgen.trust import trust

MOST_HOPS = 5
HEAD_WITHIN = 30.0  # seconds from the connection to the end of the headers
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "batchgen"}

_WHOLE, _REST, _BEYOND = 200, 206, 416
_ANSWERS = frozenset({_WHOLE, _REST, _BEYOND})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_PAGES = pattern(r"html|json|xml")
_STRONG_ETAG = pattern(r'"[!#-~]*"')


class LinkExpired(Unavailable):
    """This link will not give the file; ask the API for a fresh one."""

    rule = "link-expired"


class DownloadStopped(BatchgenError):
    """The stop flag was set; what came so far is kept."""

    rule = "stopped"


def carrier(*, authorities: Path | None = None, proxy: str | None = None) -> Carrier:
    """What downloads are sent by: no key, no cookies, no environment, no redirects.

    `authorities` is a file of certificates to trust in place of the usual ones; `proxy`
    opens the connections, if it is of a kind that can (`proxy_of`).
    """
    # They log whole links and headers.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    context = trust()
    if authorities is not None:
        context = ssl.create_default_context(cafile=authorities)
    return Wire(context, proxy_of(proxy))


def fetch(
    url: str,
    target: Path,
    *,
    http: Carrier,
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
    part = Part(target, disk, boot)
    with disk.inside(target.parent), closing(part):
        try:
            link = addresses.parse(url)
            asked = "" if link.query else _bare(link)
            if saved := part.open(asked):
                return saved
            if not part.whole_copy_of(asked):
                _Transfer(part, http, loopback, stop, on_bytes).run(link, asked)
            return part.finish()
        except addresses.AddressRefused as refusal:
            # Asking there again is no use; a fresh link may lead elsewhere.
            raise LinkExpired(refusal.message) from refusal


class _Transfer:
    """One attempt to bring a part to its full length."""

    def __init__(
        self,
        part: Part,
        http: Carrier,
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
            served, answer = self._follow(link, resume=resume)
            with closing(answer):
                status, headers = answer.status, answer.headers
                _judge_status(status, served.host, headers)
                if status == _BEYOND:
                    if not (resume and part.is_whole):
                        continue
                    part.keep()
                    return
                _judge_body(headers, served.host)
                if status == _WHOLE:
                    part.restart(_fresh_note(headers, served, asked))
                elif resume and part.continued_by(headers):
                    part.keep()
                else:
                    continue
                self._receive(answer)
                return
        raise Unavailable(f"{link.host} answered for a range that nobody asked for")

    def _follow(self, link: httpx.URL, *, resume: bool) -> tuple[httpx.URL, Served]:
        for _ in range(MOST_HOPS + 1):
            self._mind_stop()
            part = self._part
            headers = part.range_of(_bare(link)) if resume and part.is_begun else {}
            answer = self._knock(link, headers)
            if answer.status not in _REDIRECTS:
                return link, answer
            answer.close()
            link = _next_hop(link, answer.headers.get("location", ""))
        raise LinkExpired(f"{link.host} redirects without end")

    def _knock(self, link: httpx.URL, headers: dict[str, str]) -> Served:
        """Ask every address of the host until one answers."""
        problem: Exception | None = None
        for route in addresses.routes(link, loopback=self._loopback):
            sent = {"Host": route.host, **_HEADERS, **headers}
            try:
                with within(HEAD_WITHIN):
                    return self._http.ask(Question(route.url, route.name, sent))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
            except httpx.TransportError as error:
                raise broken(link.host, error) from error
        raise broken(link.host, problem) from problem

    def _mind_stop(self) -> None:
        if self._stop.is_set():
            raise DownloadStopped("stopped; what came so far is kept")

    def _receive(self, answer: Served) -> None:
        part = self._part
        total = part.note.total
        if (total or 0) > MOST_BYTES:
            part.discard(Note())
            raise BadClip(too_big(part.target.name))
        part.make_room()
        try:
            for block in self._blocks(answer):
                part.append(block)
        except httpx.RemoteProtocolError as error:
            if total is None or part.size == total:
                raise broken("the connection", error) from error
        except (httpx.TransportError, OSError) as error:
            raise broken("the connection", error) from error
        if total is not None and part.size != total:
            raise Unavailable(f"{part.size:,} of {total:,} bytes came")

    def _blocks(self, body: Served) -> Iterator[memoryview]:
        """Full buffers, then the rest; what came before a failure is not lost."""
        buffer = memoryview(bytearray(min(BLOCK, self._part.note.total or BLOCK)))
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


def _bare(link: httpx.URL) -> str:
    """A link without its secrets: origin and path."""
    return str(link).partition("#")[0].partition("?")[0]


def _next_hop(link: httpx.URL, location: str) -> httpx.URL:
    if not location:
        raise Unavailable(f"{link.host} redirects to nowhere")
    try:
        # A header is bytes; most of those that are not ASCII are UTF-8.
        raw = location.encode("latin-1")
        with suppress(UnicodeDecodeError):
            location = raw.decode()
        return link.join(location)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise addresses.AddressRefused(
            f"{link.host} redirects to what is not a URL"
        ) from None


def _judge_status(status: int, host: str, headers: Mapping[str, str]) -> None:
    if status in _ANSWERS:
        return
    if httpx.codes.is_client_error(status) and status not in _TRANSIENT:
        raise LinkExpired(f"{host} answered {status}", http=status)
    wait = retry_after(headers)
    raise Unavailable(f"{host} answered {status}", http=status, retry_after=wait)


def _judge_body(headers: Mapping[str, str], host: str) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Unavailable(f"{host} sent an encoded body, unasked")
    kind = headers.get("content-type", "").partition(";")[0].lower()
    if _PAGES.search(kind):
        raise Unavailable(f"{host} sent a page in place of a clip")


def _fresh_note(headers: Mapping[str, str], served: httpx.URL, asked: str) -> Note:
    etag, length = headers.get("etag", ""), headers.get("content-length", "")
    modified = headers.get("last-modified", "")
    if _STRONG_ETAG.fullmatch(etag):
        modified = ""  # one validator is enough
    else:
        etag = ""
        modified = modified if _settled(modified, headers.get("date", "")) else ""
    return Note(
        asked=asked,
        served=_bare(served),
        etag=etag,
        last_modified=modified,
        total=int(length) if length.isdecimal() else None,
    )


def _settled(modified: str, date: str) -> bool:
    """Whether a date tells versions apart: changes of one second share it."""
    then, now = when(modified), when(date)
    return bool(then and now and (now - then).total_seconds() >= 1)
