import errno
import hashlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchgen import addresses, downloads, parts
from batchgen.bodies import Speed
from batchgen.disk import Disk
from batchgen.downloads import DownloadStopped, LinkExpired, carrier, fetch
from batchgen.errors import StoreError, Unavailable
from batchgen.events import SavedFile
from batchgen.parts import BadClip, Part, write_sidecar
from batchgen.sockets import Carrier, Line, Question

MIB = 1 << 20
DATE = "Thu, 01 Oct 2026 12:00:00 GMT"
HOUR_BEFORE = "Thu, 01 Oct 2026 11:00:00 GMT"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def clip(seed: bytes, size: int = 200_000) -> bytes:
    head = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", bytes(64))
    return head + box(b"mdat", hashlib.shake_256(seed).digest(size - len(head) - 8))


CLIP = clip(b"first")
OTHER = clip(b"other")
SHA = hashlib.sha256(CLIP).hexdigest()
Reply = Callable[["Ask"], None]


class Ask(BaseHTTPRequestHandler):
    """One request; replies write to it what they like."""

    protocol_version = "HTTP/1.1"
    server: "Site"

    def do_GET(self) -> None:
        self.server.asked.append(self)
        self.close_connection = True
        replies = self.server.replies.get(self.path.partition("?")[0], [])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        reply(self)

    def say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response_only(status)
        # It hangs up, and says so: who reuses the connection would sometimes fail.
        own = {"Content-Length": str(len(body)), "Connection": "close"}
        for name, value in {**own, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Site(ThreadingHTTPServer):
    """A host of files that misbehaves as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ask)
        self.asked: list[Ask] = []
        self.replies: dict[str, list[Reply]] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no mistake here."""

    def url(self, path: str = "/a.mp4") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def give(self, *replies: Reply, path: str = "/a.mp4") -> None:
        self.replies[path] = list(replies)

    @property
    def ranges(self) -> list[str | None]:
        return [ask.headers["Range"] for ask in self.asked]


def file(
    data: bytes = CLIP, validator: dict[str, str] | None = None, stop: int | None = None
) -> Reply:
    """A file as a good server gives it; cut off after `stop` bytes of the body."""
    headers = {"ETag": '"v1"'} if validator is None else validator

    def reply(ask: Ask) -> None:
        wanted, condition = ask.headers["Range"], ask.headers["If-Range"]
        start, status, extra = 0, 200, {"Date": DATE, **headers}
        if wanted and condition in headers.values():
            start, status = int(wanted[6:-1]), 206
            if start >= len(data):
                ask.say(416, {**extra, "Content-Range": f"bytes */{len(data)}"})
                return
            extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        ask.say(status, {**extra, "Content-Length": str(len(body))}, body[:stop])

    return reply


def answer(status: int, headers: dict[str, str], body: bytes = b"") -> Reply:
    return lambda ask: ask.say(status, headers, body)


def redirect(to: str, status: int = 302) -> Reply:
    return answer(status, {"Location": to, "Set-Cookie": "id=1; Path=/"})


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def http() -> Iterator[Carrier]:
    with closing(carrier()) as made:
        yield made


class Bench:
    """Fetches into a folder."""

    def __init__(self, folder: Path, http: Carrier, site: Site) -> None:
        self.folder = folder
        self.target = folder / "clip.mp4"
        self.disk = Disk()
        self.boot = "boot-1"
        self.stop = threading.Event()
        self.got: list[int] = []
        self._http = http
        self._site = site

    def fetch(self, path: str = "/a.mp4", **options: Any) -> SavedFile:
        given: dict[str, Any] = {
            "http": self._http,
            "loopback": True,
            "disk": self.disk,
            "boot": self.boot,
            "stop": self.stop,
            "on_bytes": self.got.append,
            **options,
        }
        return fetch(self._site.url(path), self.target, **given)

    def fail(self, kind: type[Exception], path: str = "/a.mp4", **options: Any) -> str:
        with pytest.raises(kind) as failure:
            self.fetch(path, **options)
        assert type(failure.value) is kind
        return str(failure.value)

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    @property
    def part(self) -> Path:
        return self.folder / "clip.mp4.part"


@pytest.fixture
def bench(tmp_path: Path, http: Carrier, site: Site) -> Bench:
    return Bench(tmp_path, http, site)


def saved(data: bytes = CLIP, name: str = "clip.mp4", validator: str = "") -> SavedFile:
    sha256 = hashlib.sha256(data).hexdigest()
    return SavedFile(name=name, bytes=len(data), sha256=sha256, validator=validator)


# The way it should be


def test_a_clip_arrives_whole_and_alone(bench: Bench, site: Site) -> None:
    site.give(file())
    assert bench.fetch() == saved(validator='"v1"')
    assert bench.target.read_bytes() == CLIP
    assert bench.names == {"clip.mp4"}
    assert sum(bench.got) == len(CLIP)
    assert bench.target.stat().st_mode & 0o111 == 0


def test_nothing_is_sent_but_what_is_needed(bench: Bench, site: Site) -> None:
    site.give(redirect("/b.mp4"))
    site.give(file(), path="/b.mp4")
    bench.fetch()
    assert len(site.asked) == 2
    for ask in site.asked:
        assert set(ask.headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}
        assert ask.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("ahead", [0, 1, 7, 8, 100, 60_000, 70_000, len(CLIP)])
def test_bytes_that_came_with_the_head_are_neither_lost_nor_doubled(
    bench: Bench, site: Site, ahead: int
) -> None:
    def reply(ask: Ask) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CLIP)}\r\n\r\n".encode()
        ask.connection.sendall(head + CLIP[:ahead])
        for place in range(ahead, len(CLIP), 50_000):
            ask.connection.sendall(CLIP[place : place + 50_000])

    site.give(reply)
    assert bench.fetch() == saved()
    assert bench.target.read_bytes() == CLIP


def test_what_follows_the_body_on_the_wire_is_not_taken(
    bench: Bench, site: Site
) -> None:
    site.give(answer(200, {"Content-Length": str(len(CLIP))}, CLIP + b"HTTP/1.1 200"))
    assert bench.fetch() == saved()
    assert bench.target.read_bytes() == CLIP


def chunked(data: bytes, end: bytes = b"0\r\n\r\n") -> Reply:
    def reply(ask: Ask) -> None:
        ask.send_response_only(200)
        ask.send_header("Transfer-Encoding", "chunked")
        ask.end_headers()
        for place in range(0, len(data), 30_000):
            block = data[place : place + 30_000]
            ask.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        ask.wfile.write(end)

    return reply


def test_a_body_of_unknown_length_ends_where_its_chunks_end(
    bench: Bench, site: Site
) -> None:
    site.give(chunked(CLIP, end=b""), chunked(CLIP))
    bench.fail(Unavailable)
    assert bench.fetch() == saved()
    assert site.ranges == [None, None]


def test_a_clip_that_ends_anywhere_needs_a_length(bench: Bench, site: Site) -> None:
    endless = CLIP[:92] + struct.pack(">I4s", 0, b"mdat") + b"frames"
    site.give(chunked(endless), answer(200, {}, endless))
    assert "does not say where it ends" in bench.fail(Unavailable)
    assert bench.fetch() == saved(endless)


def test_a_long_clip_is_synced_on_the_way(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SYNC_EVERY", 8 * MIB)
    synced: list[int] = []

    class Watched(Disk):
        def sync(self, handle: int) -> None:
            super().sync(handle)
            synced.append(self.size(handle))

    long = clip(b"long", 20 * MIB + 5)
    bench.disk = Watched()
    site.give(file(long))
    assert bench.fetch() == saved(long, validator='"v1"')
    assert synced[:3] == [8 * MIB, 16 * MIB, len(long)]


# Resuming


def test_what_came_before_a_reset_is_kept(bench: Bench, site: Site) -> None:
    def reply(ask: Ask) -> None:
        ask.say(200, {"ETag": '"v1"', "Content-Length": str(len(CLIP))}, CLIP[:90_000])
        ended.wait(10)
        now = struct.pack("ii", 1, 0)
        ask.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        os.close(ask.connection.detach())

    def receive(count: int) -> None:
        bench.got.append(count)
        if sum(bench.got) == 90_000:
            ended.set()

    ended = threading.Event()
    site.give(reply, file())
    assert "reset" in bench.fail(Unavailable, on_bytes=receive)
    assert bench.part.read_bytes() == CLIP[:90_000]
    assert bench.fetch() == saved(validator='"v1"')
    assert site.ranges == [None, "bytes=90000-"]


@pytest.mark.parametrize(
    ("validator", "condition"),
    [
        ({"ETag": '"v1"'}, '"v1"'),
        ({"ETag": '"v1"', "Last-Modified": HOUR_BEFORE}, '"v1"'),
        ({"Last-Modified": HOUR_BEFORE}, HOUR_BEFORE),
        ({"ETag": 'W/"v1"', "Last-Modified": HOUR_BEFORE}, HOUR_BEFORE),
    ],
)
def test_a_cut_transfer_goes_on_where_it_ended(
    bench: Bench, site: Site, validator: dict[str, str], condition: str
) -> None:
    site.give(file(validator=validator, stop=90_000), file(validator=validator))
    words = bench.fail(Unavailable)
    assert words == "90,000 of 200,000 bytes came"
    assert bench.part.read_bytes() == CLIP[:90_000]
    assert bench.fetch() == saved(validator=condition)
    assert bench.target.read_bytes() == CLIP
    assert site.ranges == [None, "bytes=90000-"]
    assert site.asked[1].headers["If-Range"] == condition
    assert sum(bench.got) == len(CLIP)


def boxes(count: int) -> bytes:
    """A clip whose end nobody sees: it is whole at each of its fragments."""
    return CLIP[:92] + (box(b"moof", bytes(992)) + box(b"mdat", bytes(20_000))) * count


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Length": f"{len(boxes(4))} \t"},
        {"Content-Length": f"000{len(boxes(4))}"},
        {"Transfer-Encoding": "identity"},
        {"Transfer-Encoding": "gzip"},
    ],
)
def test_a_clip_that_is_whole_at_every_cut_is_not_taken_before_its_end(
    bench: Bench, site: Site, headers: dict[str, str]
) -> None:
    whole = boxes(4)

    def cut(ask: Ask) -> None:
        ask.send_response_only(200)
        told = headers or {"Content-Length": str(len(whole))}
        for name, value in told.items():
            ask.send_header(name, value)
        ask.end_headers()
        ask.wfile.write(boxes(2))

    site.give(cut, file(whole))
    bench.fail(Unavailable)
    assert bench.fetch() == saved(whole, validator='"v1"')


@pytest.mark.parametrize(
    "validator", [{}, {"ETag": 'W/"v1"'}, {"ETag": "v1"}, {"Last-Modified": DATE}]
)
def test_without_a_strong_validator_it_starts_again(
    bench: Bench, site: Site, validator: dict[str, str]
) -> None:
    site.give(file(validator=validator, stop=90_000), file(validator=validator))
    bench.fail(Unavailable)
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, None]


def test_a_file_that_changed_meanwhile_is_fetched_whole(
    bench: Bench, site: Site
) -> None:
    site.give(file(stop=90_000), file(OTHER, {"ETag": '"v2"'}))
    bench.fail(Unavailable)
    assert bench.fetch() == saved(OTHER, validator='"v2"')
    assert site.ranges == [None, "bytes=90000-"]


def partial(status: int, **headers: str) -> Reply:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return answer(status, given, OTHER[90_000:])


REST = "bytes 90000-199999/200000"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content_Range": REST, "ETag": '"v2"'}),
        (206, {"Content_Range": REST, "ETag": 'W/"v1"'}),
        (206, {"Content_Range": REST}),
        (206, {"Content_Range": "bytes 80000-199999/200000", "ETag": '"v1"'}),
        (206, {"Content_Range": "bytes 90000-199999/200001", "ETag": '"v1"'}),
        (206, {"Content_Range": "bytes 90000-100000/200000", "ETag": '"v1"'}),
        (206, {"Content_Range": "bytes 90000-199999/*", "ETag": '"v1"'}),
        (206, {"ETag": '"v1"'}),
        (416, {"Content_Range": "bytes */50000"}),
    ],
)
def test_a_rest_that_does_not_fit_is_not_appended(
    bench: Bench, site: Site, status: int, headers: dict[str, str]
) -> None:
    site.give(file(stop=90_000), partial(status, **headers), file())
    bench.fail(Unavailable)
    assert bench.fetch() == saved(validator='"v1"')
    assert bench.target.read_bytes() == CLIP
    assert site.ranges == [None, "bytes=90000-", None]


def test_a_range_that_nobody_asked_for_is_no_file(bench: Bench, site: Site) -> None:
    site.give(partial(206, Content_Range="bytes 0-109999/110000"))
    bench.fail(Unavailable)
    assert bench.part.read_bytes() == b""


def test_a_dead_machine_keeps_only_what_was_synced(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SYNC_EVERY", 8 * MIB)
    long = clip(b"long", 20 * MIB)
    site.give(file(long, stop=19 * MIB), file(long))
    bench.fail(Unavailable)
    with bench.part.open("r+b") as part:
        part.seek(18 * MIB)
        part.write(bytes(MIB))
    bench.boot = "boot-2"
    assert bench.fetch() == saved(long, validator='"v1"')
    assert site.ranges == [None, f"bytes={16 * MIB}-"]


def test_without_a_boot_id_only_synced_bytes_are_trusted(
    bench: Bench, site: Site
) -> None:
    bench.boot = ""
    site.give(file(stop=90_000), file())
    bench.fail(Unavailable)
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, None]


@pytest.mark.parametrize("note", [b"", bytes(80), b"[]", b'{"total": "many"}', b"{"])
def test_a_part_with_a_damaged_note_starts_again(
    bench: Bench, site: Site, note: bytes
) -> None:
    site.give(file(stop=90_000), file())
    bench.fail(Unavailable)
    (bench.folder / "clip.mp4.part.json").write_bytes(note)
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, None]


def test_a_part_of_another_file_is_not_continued(bench: Bench, site: Site) -> None:
    site.give(file(OTHER, stop=90_000), path="/other.mp4")
    site.give(file())
    bench.fail(Unavailable, "/other.mp4")
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, None]


def test_a_renewed_signature_continues_the_same_file(bench: Bench, site: Site) -> None:
    site.give(file(stop=90_000), file())
    bench.fail(Unavailable, "/a.mp4?Signature=canary-1")
    for path in bench.folder.iterdir():
        assert b"canary" not in path.read_bytes()
    assert bench.fetch("/a.mp4?Signature=canary-2").sha256 == SHA
    assert site.ranges == [None, "bytes=90000-"]


class LinkFails(Disk):
    """The link cannot be made, for a reason of its own."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EIO, f"no link from {source} to {target}")


def test_a_whole_part_is_proved_by_the_server_or_by_its_link(
    bench: Bench, site: Site
) -> None:
    site.give(file())
    bench.fail(StoreError, "/a.mp4?id=1", disk=LinkFails())
    assert bench.fetch("/a.mp4?id=1").sha256 == SHA
    assert site.ranges == [None, "bytes=200000-"]

    bench.target.unlink()
    bench.fail(StoreError, disk=LinkFails())
    asked = len(site.asked)
    assert bench.fetch().sha256 == SHA
    assert len(site.asked) == asked


def test_another_file_under_the_same_path_is_asked_for(
    bench: Bench, site: Site
) -> None:
    site.give(file(), file(OTHER, {"ETag": '"v2"'}))
    bench.fail(StoreError, "/a.mp4?id=1", disk=LinkFails())
    assert bench.fetch("/a.mp4?id=2") == saved(OTHER, validator='"v2"')


def test_the_stop_flag_ends_a_transfer_and_keeps_the_part(
    bench: Bench, site: Site
) -> None:
    def reply(ask: Ask) -> None:
        """What comes while the clip is given up may come all the same."""
        headers = {"ETag": '"v1"', "Content-Length": str(len(CLIP))}
        ask.say(200, headers, CLIP[:90_000])
        bench.stop.wait()

    site.give(reply, file())

    def enough(_: int) -> None:
        bench.stop.set()

    bench.fail(DownloadStopped, on_bytes=enough)
    kept = bench.part.read_bytes()
    assert 0 < len(kept) < len(CLIP)
    bench.stop.clear()
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, f"bytes={len(kept)}-"]


def test_a_set_flag_asks_nobody(bench: Bench, site: Site) -> None:
    bench.stop.set()
    bench.fail(DownloadStopped)
    assert site.asked == []


def test_a_silent_server_does_not_hide_the_stop_flag(bench: Bench, site: Site) -> None:
    ended = threading.Event()

    def reply(ask: Ask) -> None:
        ask.say(200, {"Content-Length": str(len(CLIP))}, CLIP[:90_000])
        ended.wait()

    def stop_in_silence(count: int) -> None:
        if not count:
            bench.stop.set()

    site.give(reply)
    try:
        bench.fail(DownloadStopped, on_bytes=stop_in_silence)
    finally:
        ended.set()
    assert bench.part.read_bytes() == CLIP[:90_000]


# Answers that are no file


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451])
def test_a_dead_link_asks_for_a_fresh_one(
    bench: Bench, site: Site, status: int
) -> None:
    site.give(answer(status, {}, b"<Error>"))
    assert bench.fail(LinkExpired) == f"127.0.0.1 answered {status}"


@pytest.mark.parametrize("status", [204, 304, 408, 425, 429, 500, 502, 503, 599])
def test_a_passing_trouble_is_tried_again(
    bench: Bench, site: Site, status: int
) -> None:
    site.give(answer(status, {"Retry-After": "7"}))
    with pytest.raises(Unavailable) as trouble:
        bench.fetch()
    assert type(trouble.value) is Unavailable
    assert (trouble.value.http, trouble.value.retry_after) == (status, 7.0)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, CLIP),
        ({"Content-Type": "application/json"}, CLIP),
        ({"Content-Type": "application/problem+json"}, b'{"error": 1}'),
        ({"Content-Type": "application/xml"}, b"<Error/>"),
        ({"Content-Type": "video/mp4"}, b"<html>please log in</html>"),
        ({"Content-Type": "video/mp4"}, bytes(5000)),
        ({"Content-Encoding": "gzip"}, CLIP),
        ({"Content-Encoding": "identity, gzip"}, CLIP),
        ({}, b""),
        ({}, b"\0\0\0"),
    ],
)
def test_what_is_no_clip_leaves_nothing(
    bench: Bench, site: Site, headers: dict[str, str], body: bytes
) -> None:
    site.give(answer(200, headers, body), file())
    bench.fail(Unavailable)
    assert bench.part.read_bytes() == b""
    assert bench.fetch() == saved(validator='"v1"')


def test_a_connection_that_nobody_takes_is_tried_again(
    bench: Bench, http: Carrier
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match=r"^127\.0\.0\.1: ") as trouble:
        fetch(
            f"http://127.0.0.1:{port}/a.mp4?sig=canary",
            bench.target,
            http=http,
            loopback=True,
            disk=bench.disk,
            stop=bench.stop,
        )
    assert "canary" not in str(trouble.value)


def test_a_server_that_hangs_up_is_tried_again(bench: Bench, site: Site) -> None:
    site.give(lambda _: None, lambda ask: ask.connection.sendall(b"what?\r\n\r\n"))
    bench.fail(Unavailable)
    bench.fail(Unavailable)


def drip(*, say: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send a byte every 50 ms, without an end."""

    def serve(taken: socket.socket, ended: threading.Event) -> None:
        count = 0
        with suppress(OSError):
            while not ended.wait(0.05):
                taken.sendall(say[count : count + 1] or b"x")
                count += 1

    return serve


def hush(taken: socket.socket, ended: threading.Event) -> None:
    """Take what is said, answer nothing."""
    ended.wait()
    taken.close()


def once_more(taken: socket.socket, ended: threading.Event) -> None:
    """Interim answers, without an end."""
    with suppress(OSError):
        while not ended.wait(0.05):
            taken.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


@pytest.mark.parametrize(
    ("scheme", "serve"),
    [
        ("http", drip(say=b"HTTP/1.1 200 OK\r\nX-Long: ")),
        ("http", once_more),
        # A record of the longest kind begins, and does not end.
        ("https", drip(say=b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")),
        ("https", hush),
    ],
    ids=["headers", "interim", "handshake", "silence"],
)
def test_a_head_that_never_ends_is_given_up(
    bench: Bench,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    serve: Callable[[socket.socket, threading.Event], None],
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(downloads, "HEAD_WITHIN", 0.5)

    def take(door: socket.socket) -> None:
        taken, _ = door.accept()
        with taken:
            serve(taken, ended)

    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        url = httpx.URL(f"{scheme}://127.0.0.1:{port}/a.mp4")
        route = addresses.Route(url, url.netloc.decode(), "127.0.0.1")
        monkeypatch.setattr(addresses, "routes", lambda *_, **__: (route,))
        server = threading.Thread(target=take, args=(door,))
        server.start()
        # Were there no deadline, this would end the server, and its client with it.
        guard = threading.Timer(20.0, ended.set)
        guard.start()
        try:
            words = bench.fail(Unavailable)
            assert not ended.is_set()
        finally:
            guard.cancel()
            ended.set()
            server.join()
    assert "127.0.0.1: " in words
    monkeypatch.undo()
    site.give(file())
    assert bench.fetch() == saved(validator='"v1"')


def test_a_body_may_take_longer_than_its_head(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Event()

    def reply(ask: Ask) -> None:
        ask.send_response_only(200)
        ask.send_header("Content-Length", str(len(CLIP)))
        ask.end_headers()
        late.wait(0.8)
        ask.wfile.write(CLIP)

    monkeypatch.setattr(downloads, "HEAD_WITHIN", 0.5)
    site.give(reply)
    assert bench.fetch() == saved()


# Redirects


def test_five_redirects_are_followed_and_no_more(bench: Bench, site: Site) -> None:
    for hop in range(1, 6):
        site.give(
            redirect(f"/{hop + 1}", 300 + (1, 2, 3, 7, 8)[hop - 1]), path=f"/{hop}"
        )
    site.give(file(), path="/6")
    site.give(redirect("/1"), path="/0")
    assert bench.fetch("/1").sha256 == SHA
    assert all(ask.headers["Cookie"] is None for ask in site.asked)
    assert bench.fail(LinkExpired, "/0") == "127.0.0.1 redirects without end"


@pytest.mark.parametrize(
    "place",
    [
        "http://localhost:{port}/b.mp4",
        "http://127.0.0.2:{port}/b.mp4",
        "http://2130706433:{port}/b.mp4",
        "http://[::1]:{port}/b.mp4",
        "https://127.0.0.1:{port}/b.mp4",
        "https://10.0.0.1/b.mp4",
        "https://169.254.169.254/latest/meta-data/",
        "//user:word@127.0.0.1:{port}/b.mp4",
        "http://user@127.0.0.1:{port}/b.mp4",
        "file:///etc/passwd",
        "http://127.0.0.1:99999999/",
        "http://127.0.0.1:port/",
    ],
)
def test_a_redirect_is_held_to_the_same_rules(
    bench: Bench, site: Site, place: str
) -> None:
    site.give(redirect(place.format(port=site.server_port)))
    site.give(file(), path="/b.mp4")
    bench.fail(LinkExpired)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("sent", "asked"),
    [("/vid\u00e9o.mp4".encode(), "/vid%C3%A9o.mp4"), (b"/\xe9.mp4", "/%C3%A9.mp4")],
)
def test_a_redirect_that_is_not_ascii_is_read_as_browsers_read_it(
    bench: Bench, site: Site, sent: bytes, asked: str
) -> None:
    site.give(redirect(sent.decode("latin-1")))
    site.give(file(), path=asked)
    assert bench.fetch().sha256 == SHA


def test_a_redirect_to_nowhere_is_tried_again(bench: Bench, site: Site) -> None:
    site.give(answer(302, {}))
    bench.fail(Unavailable)


def test_a_resumed_range_is_asked_only_of_the_file_it_began_with(
    bench: Bench, site: Site
) -> None:
    site.give(redirect("/b.mp4"), redirect("/b.mp4"), redirect("/c.mp4"))
    site.give(file(stop=50_000), file(stop=60_000), path="/b.mp4")
    site.give(file(OTHER), path="/c.mp4")
    bench.fail(Unavailable)
    bench.fail(Unavailable)
    assert bench.fetch().sha256 == hashlib.sha256(OTHER).hexdigest()
    assert site.ranges == [None, None, None, "bytes=50000-", None, None]


def test_plain_http_needs_the_sandbox(bench: Bench, site: Site) -> None:
    site.give(file())
    bench.fail(LinkExpired, loopback=False)
    assert site.asked == []


# Damage


@pytest.mark.parametrize("damage", [CLIP[:-1], CLIP + b"\0", CLIP[:24] + bytes(9)])
def test_damage_is_fetched_once_more_and_then_kept_as_evidence(
    bench: Bench, site: Site, damage: bytes
) -> None:
    site.give(file(damage))
    assert "clip.mp4 came damaged: " in bench.fail(Unavailable)
    assert not bench.part.exists()
    assert "clip.mp4 came damaged twice: " in bench.fail(BadClip)
    assert bench.names == {"clip.mp4.bad"}
    assert (bench.folder / "clip.mp4.bad").read_bytes() == damage
    assert site.ranges == [None, None]
    assert BadClip.rule == "bad-clip"


def test_the_second_copy_may_be_good(bench: Bench, site: Site) -> None:
    site.give(file(CLIP[:-1]), file(stop=90_000), file())
    bench.fail(Unavailable)
    bench.fail(Unavailable)
    assert bench.fetch().sha256 == SHA
    assert bench.names == {"clip.mp4"}


def test_more_than_two_gibibytes_are_no_clip(bench: Bench, site: Site) -> None:
    site.give(answer(200, {"Content-Length": str((2 << 30) + 1)}, CLIP))
    assert "more than 2 GiB" in bench.fail(BadClip)
    assert not bench.part.exists()


def test_a_body_without_a_length_may_not_grow_beyond_the_limit(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchgen.parts.MOST_BYTES", len(CLIP) - 1)
    site.give(chunked(CLIP))
    bench.fail(BadClip)
    assert not bench.part.exists()


def test_a_slow_body_is_given_up_after_a_minute() -> None:
    speed = Speed(100.0)
    for second in range(1, 61):
        speed.note(10 << 10, 100.0 + second)
    for second in range(61, 120):
        speed.note((10 << 10) - 1, 100.0 + second)
    with pytest.raises(Unavailable, match="less than 10 KiB a second"):
        speed.note((10 << 10) - 1, 220.0)


def test_a_silent_body_is_given_up_after_half_a_minute() -> None:
    speed = Speed(0.0)
    speed.note(1 << 30, 5.0)
    speed.note(0, 34.0)
    with pytest.raises(Unavailable, match="no byte came for 30 s"):
        speed.note(0, 35.0)


# The final name


def test_a_file_of_the_user_is_never_overwritten(bench: Bench, site: Site) -> None:
    bench.target.write_bytes(b"mine")
    site.give(file())
    other = f"clip~{SHA[:8]}.mp4"
    assert bench.fetch() == saved(name=other, validator='"v1"')
    assert bench.target.read_bytes() == b"mine"
    assert (bench.folder / other).read_bytes() == CLIP
    assert bench.fetch() == saved(name=other, validator='"v1"')
    assert bench.names == {"clip.mp4", other}

    (bench.folder / other).write_bytes(b"mine too")
    assert "another file has this name" in bench.fail(StoreError)
    assert (bench.folder / other).read_bytes() == b"mine too"


@pytest.mark.parametrize("links", [True, False])
def test_an_equal_file_is_adopted(bench: Bench, site: Site, *, links: bool) -> None:
    bench.disk = Mortal(1 << 30, links=links)
    bench.target.write_bytes(CLIP)
    os.utime(bench.target, (1, 1))
    site.give(file())
    assert bench.fetch() == saved(validator='"v1"')
    assert bench.target.stat().st_mtime == 1
    assert bench.names == {"clip.mp4"}


def test_a_link_in_place_of_the_final_file_is_not_followed(
    bench: Bench, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "same.mp4"
    outside.write_bytes(CLIP)
    bench.target.symlink_to(outside)
    site.give(file())
    assert bench.fetch().name == f"clip~{SHA[:8]}.mp4"
    assert bench.target.is_symlink()


def test_a_link_in_place_of_the_part_is_refused(
    bench: Bench, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_bytes(b"precious")
    bench.part.symlink_to(outside)
    site.give(file())
    bench.fail(StoreError)
    assert outside.read_bytes() == b"precious"


def test_a_part_that_is_already_a_final_file_is_not_written_to(
    bench: Bench, site: Site
) -> None:
    bench.target.write_bytes(OTHER)
    os.link(bench.target, bench.part)
    site.give(file())
    assert bench.fetch().name == f"clip~{SHA[:8]}.mp4"
    assert bench.target.read_bytes() == OTHER


# Death and a full disk


class Death(BaseException):
    """The process is gone."""


class Mortal(Disk):
    """Lives for so many calls; then nothing reaches the disk."""

    def __init__(self, calls: int, *, links: bool) -> None:
        self.calls = calls
        self._links = links

    def _live(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Death

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        self._live()
        return super().open(path, flags, mode)

    def write(self, handle: int, data: bytes | memoryview) -> int:
        self._live()
        return super().write(handle, data[: max(1, len(data) // 2)])

    def truncate(self, handle: int, length: int) -> None:
        self._live()
        super().truncate(handle, length)

    def sync(self, handle: int) -> None:
        self._live()
        super().sync(handle)

    def sync_folder(self, folder: Path) -> None:
        self._live()
        super().sync_folder(folder)

    def link(self, source: Path, target: Path) -> None:
        self._live()
        if not self._links:
            raise OSError(errno.EPERM, "no links here")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._live()
        super().unlink(path)

    def rename(self, source: Path, target: Path) -> None:
        self._live()
        super().rename(source, target)


@pytest.fixture(params=[False, True], ids=["at-once", "in-pieces"])
def in_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a clip is more than one block; then a note is kept beside its part."""
    if request.param:
        monkeypatch.setattr(downloads, "BLOCK", 100)
    return bool(request.param)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("path", ["/a.mp4", "/a.mp4?id=1"])
def test_whenever_the_process_dies_the_next_one_ends_with_one_whole_clip(
    bench: Bench, site: Site, path: str, *, in_pieces: bool, links: bool
) -> None:
    short = clip(b"short", 120)
    moments = 0
    while True:
        site.give(file(short))
        bench.disk = Mortal(moments, links=links)
        try:
            bench.fetch(path)
        except Death:
            pass
        else:
            break
        if links and bench.target.exists():
            assert bench.target.read_bytes() == short
        bench.disk = Mortal(1 << 30, links=links)
        assert bench.fetch(path) == saved(short, validator='"v1"')
        assert bench.names == {"clip.mp4"}
        assert bench.target.stat().st_nlink == 1
        bench.target.unlink()
        moments += 1
    assert moments > (20 if in_pieces else 12)


def test_a_saved_clip_is_durable_with_its_name(
    bench: Bench, site: Site, *, in_pieces: bool
) -> None:
    short = clip(b"short", 120)
    done: list[str] = []

    class Watched(Disk):
        def write(self, handle: int, data: bytes | memoryview) -> int:
            done.append("write note" if bytes(data).startswith(b"{") else "write clip")
            return super().write(handle, data)

        def sync(self, handle: int) -> None:
            size = self.size(handle)
            done.append("sync clip" if size == len(short) else "sync note")
            super().sync(handle)

        def sync_folder(self, folder: Path) -> None:
            done.append("sync folder")
            super().sync_folder(folder)

        def link(self, source: Path, target: Path) -> None:
            done.append("link")
            super().link(source, target)

        def unlink(self, path: Path) -> None:
            done.append(f"unlink {path.name}")
            super().unlink(path)

    site.give(file(short))
    bench.fetch(disk=Watched())
    before, after = done[: done.index("link")], done[done.index("link") + 1 :]
    note = ["write note"] if in_pieces else []
    writes = ["write clip"] * (1 + in_pieces)
    assert before == [*note, *writes, "sync clip", *note]
    gone = ["unlink clip.mp4.part.json"] if in_pieces else []
    assert after == ["unlink clip.mp4.part", "sync folder", *gone]


@pytest.mark.parametrize("mine", [b"mine", CLIP[:-1] + b"?", CLIP + b"?"])
def test_without_links_a_file_of_the_user_is_kept_too(
    bench: Bench, site: Site, mine: bytes
) -> None:
    bench.target.write_bytes(mine)
    bench.disk = Mortal(1 << 30, links=False)
    site.give(file())
    assert bench.fetch().name == f"clip~{SHA[:8]}.mp4"
    assert bench.target.read_bytes() == mine


def test_without_links_a_disk_that_runs_full_leaves_no_half_clip(
    bench: Bench, site: Site
) -> None:
    class Small(Full):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, f"no link from {source} to {target}")

    site.give(file())
    bench.fail(StoreError, disk=Small(len(CLIP) + 70_000))
    assert bench.names == {"clip.mp4.part", "clip.mp4.part.json"}
    assert bench.fetch().sha256 == SHA


def test_a_part_has_one_writer(bench: Bench, site: Site) -> None:
    """A worker that was believed dead may still be at it."""
    site.give(file())
    part = Part(bench.target, Disk(), bench.boot)
    part.open("")
    assert "is being written" in bench.fail(Unavailable)
    assert site.asked == []
    part.close()
    assert bench.fetch() == saved(validator='"v1"')


def test_a_part_that_was_finished_while_it_was_opened_is_left_alone(
    bench: Bench, site: Site
) -> None:
    class Late(Disk):
        def lock(self, handle: int) -> None:
            self.unlink(bench.part)
            super().lock(handle)

    assert "finished just now" in bench.fail(Unavailable, disk=Late())
    assert site.asked == []


def test_a_verified_file_is_adopted_without_asking_anybody(
    bench: Bench, site: Site, *, in_pieces: bool
) -> None:
    class DiesAfterLink(Disk):
        def unlink(self, path: Path) -> None:
            raise Death(path)

    short = clip(b"short", 120)
    site.give(file(short), answer(404, {}), file(short))
    with pytest.raises(Death):
        bench.fetch(disk=DiesAfterLink())
    if not in_pieces:  # of so little there is no note: it is fetched again
        assert bench.names == {"clip.mp4", "clip.mp4.part"}
        bench.fail(LinkExpired)
    else:
        assert bench.names == {"clip.mp4", "clip.mp4.part", "clip.mp4.part.json"}
    asked = len(site.asked)
    assert bench.fetch() == saved(short, validator='"v1"')
    assert bench.names == {"clip.mp4"}
    assert bench.target.stat().st_nlink == 1
    assert len(site.asked) == asked + (not in_pieces)


class Full(Disk):
    """Takes so many bytes of clips."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, handle: int, data: bytes | memoryview) -> int:
        if len(data) > 10_000:
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = data[: self.room]
            self.room -= len(data)
        return super().write(handle, data)


def test_a_full_disk_says_so_and_keeps_the_part(bench: Bench, site: Site) -> None:
    site.give(file())
    with pytest.raises(StoreError, match="the disk is full") as full:
        bench.fetch(disk=Full(70_000))
    assert full.value.rule == "disk-full"
    assert bench.part.read_bytes() == CLIP[:70_000]
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, "bytes=70000-"]


@pytest.mark.parametrize(("free", "fits"), [(209_999, False), (210_000, True)])
def test_room_for_the_clip_and_a_twentieth_is_asked_for_first(
    bench: Bench, site: Site, free: int, *, fits: bool
) -> None:
    class Small(Disk):
        def free(self, folder: Path) -> int:
            assert folder.is_dir()
            return free

    bench.disk = Small()
    site.give(file())
    if fits:
        bench.fetch()
    else:
        assert "bytes free, too few for clip.mp4" in bench.fail(StoreError)
        assert bench.got == []


def test_bytes_that_could_not_be_synced_are_not_trusted_again(
    bench: Bench, site: Site
) -> None:
    class Broken(Disk):
        def sync(self, handle: int) -> None:
            raise OSError(errno.EIO, f"Input/output error on {handle}")

    site.give(file())
    bench.fail(StoreError, disk=Broken())
    assert not bench.part.exists()
    assert bench.fetch().sha256 == SHA
    assert site.ranges == [None, None]


def test_a_folder_that_is_missing_is_named(bench: Bench, site: Site) -> None:
    bench.target = bench.folder / "nowhere" / "clip.mp4"
    assert "nowhere" in bench.fail(StoreError)
    assert site.asked == []


# Sidecars


def test_a_sidecar_is_readable_by_people_and_by_programs(tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    write_sidecar(path, {"prompt": "Dampf über 茶 \udc80", "bytes": 7})
    assert "über 茶" in path.read_text()
    assert json.loads(path.read_text()) == {
        "prompt": "Dampf über 茶 \udc80",
        "bytes": 7,
    }
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.json"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": []},
        {"a": {}, "b": [{}, [1, 2.5, 1e100, -0.0]]},
        {"ü\n\x7f\u2028": None},
    ],
)
def test_a_sidecar_is_laid_out_as_the_standard_library_does(
    tmp_path: Path, value: dict[str, Any]
) -> None:
    path = tmp_path / "clip.json"
    write_sidecar(path, value)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    assert path.read_text(encoding="utf-8") == f"{text}\n"


def test_a_sidecar_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    write_sidecar(path, {"take": 1})
    for moment in range(20):
        try:
            write_sidecar(path, {"take": 2}, disk=Mortal(moment, links=True))
        except Death:
            assert json.loads(path.read_text())["take"] in {1, 2}
        else:
            break
    assert json.loads(path.read_text()) == {"take": 2}
    with pytest.raises(StoreError, match="nowhere"):
        write_sidecar(tmp_path / "nowhere" / "clip.json", {})


# TLS


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_an_encrypted_body_is_read_from_the_socket_unharmed(
    site: Site, tmp_path: Path
) -> None:
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = "-subj /CN=clips.example -addext subjectAltName=DNS:clips.example"
    files = "-keyout key.pem -out cert.pem"
    subprocess.run(
        ["openssl", *f"{words} {names} {files}".split()],  # noqa: S607
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    site.socket = context.wrap_socket(site.socket, server_side=True)
    long = clip(b"long", 3 * MIB + 77)
    site.give(file(long))
    url = httpx.URL(site.url().replace("http:", "https:"))
    wire = carrier(authorities=tmp_path / "cert.pem")  # `fetch` refuses loopback
    line = wire.ask(Question(url, "clips.example", {"Host": "clips.example"}))
    view = memoryview(bytearray(MIB))
    came = b""
    while count := line.read_into(view):
        came += bytes(view[:count])
    line.close()
    wire.close()
    assert came == long
    assert isinstance(line, Line)
    assert isinstance(line.plug, ssl.SSLSocket)
