"""The client against real sockets: each way a submission can end, told apart."""

import gzip
import json
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self

import anyio
import httpcore
import pytest
from msgspec.structs import replace

from batchgen.client import Client
from batchgen.downloads import carrier
from batchgen.errors import ApiError, NotSent, Refused, Unavailable, Uncertain
from batchgen.fetcher import Fetcher
from batchgen.pace import Pace
from batchgen.plan import Download
from batchgen.profile import SANDBOX
from batchgen.tasks import Task
from batchgen.transport import Phase
from batchgen.trouble import Trouble
from batchgen.world import World

pytestmark = pytest.mark.anyio

KEY = "secret-key"
MODEL = "acme/video"
BODY = {"prompt": "a cat", "duration": 5}
TAKEN = {
    "code": 200,
    "message": "success",
    "data": {"id": "p1", "model": MODEL, "status": "created"},
}
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


Script = Callable[[socket.socket, bytes], None]
"""What the server does with a connection whose request it has read."""


class Server:
    """A socket that counts its visitors and does as the script says."""

    def __init__(self, script: Script, *, read: bool = True) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script
        self._read = read
        self._listener = socket.create_server(("127.0.0.1", 0))
        port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with peer, suppress(OSError):
                peer.settimeout(10)
                request = whole_request(peer) if self._read else b""
                self.requests.append(request)
                self._script(peer, request)

    @property
    def posts(self) -> int:
        return sum(request.startswith(b"POST ") for request in self.requests)


def whole_request(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    lengths = [int(v.split(b":")[1]) for v in lines if v.startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(
    status: int | str,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(raw) if length is None else length
    # The server hangs up after each answer. A client that is not told may send its
    # next request into the closing connection, now and then.
    told = {"Connection": "close", **(headers or {})}
    extra = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n{extra}\r\n"
    return head.encode() + raw


def sends(data: bytes) -> Script:
    def script(peer: socket.socket, request: bytes) -> None:
        del request
        peer.sendall(data)

    return script


def says(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}


@asynccontextmanager
async def client(url: str, key: str = KEY) -> AsyncIterator[Client]:
    async with Client.connect(
        url, key, pace=Pace(None, 1), now=lambda: NOW
    ) as connected:
        yield connected


async def outcome(url: str) -> tuple[str, ...]:
    """Class, kind and phase of what came of one submission."""
    async with client(url) as api:
        try:
            with anyio.fail_after(10):
                found = await api.submit(MODEL, BODY)
        except Refused as no:
            return "Refused", no.kind, str(no.http)
        except NotSent as error:
            return "NotSent", error.phase
        except Uncertain as error:
            return "Uncertain", error.phase, str(error.http)
        return "accepted", found.id


def reset(peer: socket.socket) -> None:
    """Closes with a reset: nothing polite is sent."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@contextmanager
def refused_port() -> Iterator[str]:
    """A port that is ours and where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


async def test_a_refused_port_proves_that_nothing_was_sent() -> None:
    with refused_port() as url:
        assert await outcome(url) == ("NotSent", "connect_tcp")


async def test_an_unknown_name_proves_that_nothing_was_sent() -> None:
    assert await outcome("http://nobody.invalid") == ("NotSent", "connect_tcp")


async def test_a_failed_handshake_proves_that_nothing_was_sent() -> None:
    with Server(sends(b"not a handshake\r\n\r\n"), read=False) as server:
        url = server.url.replace("http://", "https://")
        assert await outcome(url) == ("NotSent", "start_tls")
    assert server.connections == 1


def closes(peer: socket.socket, request: bytes) -> None:
    del peer, request


def resets(peer: socket.socket, request: bytes) -> None:
    del request
    reset(peer)


HALF = json.dumps(TAKEN).encode()[:40]
BIG = b" " * (2 * 1024 * 1024 + 1)
BOMB = gzip.compress(b" " * (64 * 1024 * 1024))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (reply(200, TAKEN), ("accepted", "p1")),
        (reply(202, TAKEN), ("accepted", "p1")),
        (
            reply(200, gzip.compress(json.dumps(TAKEN).encode())).replace(
                b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1
            ),
            ("accepted", "p1"),
        ),
        (
            reply(200, zlib.compress(json.dumps(TAKEN).encode())).replace(
                b"\r\n\r\n", b"\r\nContent-Encoding: deflate\r\n\r\n", 1
            ),
            ("accepted", "p1"),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, TAKEN), ("accepted", "p1")),
        (b"", ("Uncertain", "no answer", "None")),
        (b"HTTP/1.1 ", ("Uncertain", "no answer", "None")),
        (b"GARBAGE\r\n\r\n", ("Uncertain", "no answer", "None")),
        (b"220 smtp.example ESMTP\r\n", ("Uncertain", "no answer", "None")),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000,
            ("Uncertain", "no answer", "None"),
        ),
        (reply(200, length=50), ("Uncertain", "answer incomplete", "None")),
        (
            reply(200, HALF, length=len(HALF) + 9),
            ("Uncertain", "answer incomplete", "None"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ("Uncertain", "answer incomplete", "None"),
        ),
        (reply(200, BIG), ("Uncertain", "answer incomplete", "None")),
        (
            reply(200, BOMB, {"Content-Encoding": "gzip"}),
            ("Uncertain", "answer incomplete", "None"),
        ),
        (
            reply(200, b"no gzip", {"Content-Encoding": "gzip"}),
            ("Uncertain", "answer incomplete", "None"),
        ),
        (
            reply(200, TAKEN, {"Content-Encoding": "br"}),
            ("Uncertain", "answer incomplete", "None"),
        ),
        (reply(200, HALF), ("Uncertain", "answered", "200")),
        (reply(200, {"data": {"status": "created"}}), ("Uncertain", "answered", "200")),
        (reply(200, b"<html>"), ("Uncertain", "answered", "200")),
        (reply(204), ("Uncertain", "answered", "204")),
        (
            reply(200, says(400, "Insufficient credits")),
            ("Refused", "credit", "200"),
        ),
        (reply(200, says(400, "odd")), ("Uncertain", "answered", "200")),
        (reply(400, says(400, "bad")), ("Refused", "invalid", "400")),
        (reply(401, says(401, "key")), ("Refused", "key", "401")),
        (reply(402, says(402, "pay")), ("Refused", "credit", "402")),
        (reply(403, b"<html>"), ("Refused", "key", "403")),
        (reply(404, says(404, "what")), ("Refused", "model", "404")),
        (reply(408), ("Uncertain", "answered", "408")),
        (reply(409, says(409, "again")), ("Uncertain", "answered", "409")),
        (reply(429), ("Refused", "rate", "429")),
        (reply(500, says(500, "oops")), ("Uncertain", "answered", "500")),
        (reply(502, b"<html>Bad gateway"), ("Uncertain", "answered", "502")),
        (reply(503, says(503, "busy")), ("Uncertain", "answered", "503")),
    ],
)
async def test_what_comes_back_decides_and_nothing_is_sent_twice(
    data: bytes, expected: tuple[str, ...]
) -> None:
    with Server(sends(data)) as server:
        assert await outcome(server.url) == expected
    assert server.connections == 1
    assert server.posts == 1


@pytest.mark.parametrize("script", [closes, resets])
async def test_a_connection_closed_before_the_answer_is_a_doubt(
    script: Script,
) -> None:
    with Server(script) as server:
        assert await outcome(server.url) == ("Uncertain", "no answer", "None")
    assert (server.connections, server.posts) == (1, 1)


async def test_a_connection_closed_at_once_is_a_doubt_whatever_was_sent() -> None:
    """Nothing proves that no byte was read."""
    with Server(closes, read=False) as server:
        assert (await outcome(server.url))[0] == "Uncertain"
    assert server.connections == 1


async def test_a_body_that_could_not_be_sent_whole_is_a_doubt() -> None:
    def after_headers(peer: socket.socket, request: bytes) -> None:
        del request
        peer.recv(200)
        reset(peer)

    body = {"prompt": "x" * 50_000_000}
    with Server(after_headers, read=False) as server:
        async with client(server.url) as api:
            with pytest.raises(Uncertain) as caught:
                await api.submit(MODEL, body)
    assert caught.value.phase in ("body incomplete", "no answer")
    assert server.connections == 1


REFUSED = "connection.connect_tcp.failed"
SHAKEN = "connection.start_tls.failed"
BEGUN = "http11.send_request_headers.started"
SENT = "http11.send_request_body.complete"
ANSWERED = "http11.receive_response_headers.complete"


@pytest.mark.parametrize(
    ("seen", "verdict", "phase"),
    [
        ((REFUSED,), NotSent, "connect_tcp"),
        ((SHAKEN,), NotSent, "start_tls"),
        ((), Uncertain, "connecting"),
        (("connection.connect_tcp.started",), Uncertain, "connecting"),
        (("connection.connect_tcp.complete",), Uncertain, "connecting"),
        ((BEGUN,), Uncertain, "body incomplete"),
        ((REFUSED, BEGUN), Uncertain, "body incomplete"),
        ((BEGUN, REFUSED), Uncertain, "body incomplete"),
        ((BEGUN, SENT), Uncertain, "no answer"),
        ((BEGUN, SENT, ANSWERED), Uncertain, "answer incomplete"),
    ],
)
async def test_only_a_failed_connection_and_no_first_byte_prove_that_nothing_left(
    seen: tuple[str, ...], verdict: type[ApiError], phase: str
) -> None:
    """The names are those of the transport's trace events."""
    far = Phase()
    for name in seen:
        await far(name, {})
    found = far.verdict(OSError("cut"))
    assert type(found) is verdict
    assert found.phase == phase


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_doubt_and_the_key_stays_at_home(status: int) -> None:
    with Server(sends(reply(200, TAKEN))) as other:
        moved = reply(status, b"", {"Location": f"{other.url}/api/v3/{MODEL}"})
        with Server(sends(moved)) as server:
            found = await outcome(server.url)
            assert found == ("Uncertain", "answered", str(status))
            async with client(server.url) as api:
                with pytest.raises(Unavailable):
                    await api.result("p1")
    assert other.connections == 0
    assert (server.connections, server.posts) == (2, 1)


async def test_a_submission_is_one_plain_post_with_the_key() -> None:
    with Server(sends(reply(200, TAKEN))) as server:
        await outcome(server.url)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST /api/v3/{MODEL} HTTP/1.1"
    assert f"Authorization: Bearer {KEY}" in lines
    assert "Accept-Encoding: identity" in lines
    assert json.loads(body) == BODY


async def test_every_submission_has_a_connection_of_its_own() -> None:
    def stays(peer: socket.socket, request: bytes) -> None:
        while request:
            peer.sendall(reply(200, TAKEN))
            request = whole_request(peer)

    with Server(stays) as server:
        async with client(server.url) as api:
            for _ in range(3):
                await api.submit(MODEL, BODY)
    assert (server.connections, server.posts) == (3, 3)


async def test_the_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Server(sends(reply(200, TAKEN))) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with Server(sends(reply(200, TAKEN))) as server:
            assert await outcome(server.url) == ("accepted", "p1")
    assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Thu, 01 Oct 2026 12:00:30 GMT", 30.0), ("NaN", None), ("-3", None)],
)
async def test_too_fast_says_how_long_to_wait(
    value: str, seconds: float | None
) -> None:
    headers = {"Retry-After": value, "Date": "Thu, 01 Oct 2026 12:00:00 GMT"}
    with Server(sends(reply(429, says(429, "slow"), headers))) as server:
        async with client(server.url) as api:
            with pytest.raises(Refused) as caught:
                await api.submit(MODEL, BODY)
    assert (caught.value.retry_after, caught.value.retryable) == (seconds, True)


async def test_a_429_halves_the_rate_of_readings() -> None:
    pace = Pace(60, 60)
    with Server(sends(reply(429, says(429, "slow")))) as server:
        connecting = Client.connect(server.url, KEY, pace=pace, now=lambda: NOW)
        async with connecting as api:
            with pytest.raises(Unavailable):
                await api.balance()
    assert pace.a_minute == 30


@pytest.mark.parametrize("key", ["secret-key\n", "secret\r\nkey", "secret-kéy"])
async def test_no_error_tells_the_key(key: str) -> None:
    with (
        Server(sends(reply(200, TAKEN))) as server,
        pytest.raises((ApiError, ValueError)) as caught,
    ):
        async with client(server.url, key) as api:
            await api.submit(MODEL, BODY)
    told = f"{caught.value} {caught.value!r}"
    assert "secret" not in told


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": "Thu, 01 Oct 99999999999999999999 12:00:00 GMT"},
        {"Date": "yesterday"},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": ""},
    ],
)
async def test_an_accepted_id_survives_odd_headers(
    headers: Mapping[str, str],
) -> None:
    with Server(sends(reply(200, TAKEN, headers))) as server:
        assert await outcome(server.url) == ("accepted", "p1")


async def test_the_clock_of_the_service_is_learned_from_its_answers() -> None:
    ahead = format_datetime(NOW + timedelta(hours=2), usegmt=True)
    with Server(sends(reply(200, TAKEN, {"Date": ahead}))) as server:
        async with client(server.url) as api:
            assert (api.wire.answered, api.wire.silent_since) == (False, None)
            await api.submit(MODEL, BODY)
            assert api.clock.offset == 7200
            assert (api.wire.answered, api.wire.silent_since) == (True, None)


async def test_silence_is_counted_from_its_first_request() -> None:
    with refused_port() as url:
        async with client(url) as api:
            began = anyio.current_time()
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await api.result("p1")
            assert not api.wire.answered
            assert api.wire.silent_since is not None
            assert began <= api.wire.silent_since <= anyio.current_time()


# Readings.


async def test_a_result_is_that_of_the_prediction_asked_for() -> None:
    with Server(sends(reply(200, TAKEN))) as server:
        async with client(server.url) as api:
            assert (await api.result("p1")).id == "p1"
            with pytest.raises(Unavailable, match="about p1"):
                await api.result("p2")
    assert server.requests[0].startswith(b"GET /api/v3/predictions/p1/result HTTP/1.1")


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
async def test_a_reading_that_fails_tells_its_status(status: int) -> None:
    with Server(sends(reply(status, says(status, "no")))) as server:
        async with client(server.url) as api:
            with pytest.raises(Unavailable) as caught:
                await api.result("p1")
    assert caught.value.http == status


@pytest.mark.parametrize("data", [b"", b"GARBAGE\r\n\r\n", reply(200, HALF, length=99)])
async def test_a_reading_that_breaks_may_be_repeated(data: bytes) -> None:
    with Server(sends(data)) as server:
        async with client(server.url) as api:
            with pytest.raises(Unavailable):
                await api.result("p1")


def listing(pages: list[list[object]]) -> Script:
    """A history, page after page; beyond the last one, empty pages."""

    def script(peer: socket.socket, request: bytes) -> None:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        number = asked["page"] - 1
        items = pages[number] if number < len(pages) else []
        peer.sendall(
            reply(200, {"code": 200, "data": {"items": items}}, {"Connection": "close"})
        )

    return script


def row(number: int) -> dict[str, object]:
    return {"id": f"p{number}", "model": MODEL, "inputs": {"prompt": "a"}}


async def history(pages: list[list[object]]) -> set[str]:
    with Server(listing(pages)) as server:
        async with client(server.url) as api:
            found = await api.history(MODEL, NOW, NOW + timedelta(hours=1))
    asked = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert (asked["model"], asked["include_inputs"]) == (MODEL, True)
    assert asked["created_after"] == "2026-10-01T12:00:00.000000Z"
    assert asked["created_before"] == "2026-10-01T13:00:00.000000Z"
    return {one.id for one in found}


async def test_a_history_is_read_to_its_end_and_without_doubles() -> None:
    first: list[object] = [row(number) for number in range(100)]
    second: list[object] = [row(number) for number in range(99, 130)]
    assert await history([first, second]) == {f"p{number}" for number in range(130)}
    assert await history([]) == set()


async def test_a_service_with_shorter_pages_is_read_to_its_end() -> None:
    """A page of fewer than we asked for does not prove that it is the last."""
    first: list[object] = [row(number) for number in range(50)]
    second: list[object] = [row(number) for number in range(50, 60)]
    assert await history([first, second]) == {f"p{number}" for number in range(60)}


@pytest.mark.parametrize(
    "odd", [None, "p7", {"id": None}, {"id": "../p7"}, {"model": MODEL}, []]
)
async def test_a_row_that_cannot_be_read_makes_a_history_inconclusive(
    odd: object,
) -> None:
    with pytest.raises(Unavailable):
        await history([[row(1), odd]])


@pytest.mark.parametrize("data", [{}, {"items": None}, {"items": {}}])
async def test_a_history_without_a_list_is_inconclusive(data: object) -> None:
    with Server(sends(reply(200, {"code": 200, "data": data}))) as server:
        async with client(server.url) as api:
            with pytest.raises(Unavailable):
                await api.history(MODEL, NOW, NOW)


async def test_a_history_without_end_is_inconclusive() -> None:
    page: list[object] = [row(number) for number in range(100)]
    with pytest.raises(Unavailable, match="pages"):
        await history([page] * 60)


@pytest.mark.parametrize(
    ("data", "micros"),
    [({"balance": 12.5}, 12_500_000), ({"balance": 0}, 0), ({"balance": 0.1}, 100_000)],
)
async def test_a_balance_is_whole_micro_dollars(data: object, micros: int) -> None:
    with Server(sends(reply(200, {"code": 200, "data": data}))) as server:
        async with client(server.url) as api:
            assert await api.balance() == micros


@pytest.mark.parametrize("data", [{}, {"balance": "12"}, {"balance": None}])
async def test_a_balance_that_is_no_number_is_not_told(data: object) -> None:
    with Server(sends(reply(200, {"code": 200, "data": data}))) as server:
        async with client(server.url) as api:
            with pytest.raises(Unavailable):
                await api.balance()


@pytest.mark.parametrize(
    "body",
    [
        {"image": f"sha256:{64 * 'a'}"},
        {"images": ["https://a.example/b.jpg", f"sha256:{64 * 'a'}"]},
        {"element_list": [{"element_id": f"sha256:{64 * 'a'}"}]},
    ],
)
async def test_a_reference_never_leaves_this_machine(body: dict[str, Any]) -> None:
    """The service would drop what it cannot read, and charge."""
    with Server(sends(reply(200, says(200, "ok")))) as server:
        async with client(server.url) as api:
            with pytest.raises(Refused):
                await api.submit(MODEL, {"prompt": "A fox", **body})
    assert server.requests == []


# Fetching what is paid.


@pytest.mark.parametrize(
    "blip",
    [
        reply(404, says(404, "not yet")),
        reply(200, {"code": 200, "data": {"id": "p1", "status": "processing"}}),
        reply(200, {"code": 200, "data": {"id": "p1", "status": "completed"}}),
    ],
    ids=["unknown", "processing", "empty"],
)
async def test_one_odd_reading_does_not_give_up_a_paid_clip(
    blip: bytes, tmp_path: Path
) -> None:
    """A copy of the service that lags behind says so for seconds."""
    one = Task("0" * 32, "cat", MODEL, BODY, 1, 1, 5, {}, "cat.mp4")
    quick = replace(SANDBOX, backoff_first=0.001, backoff_longest=0.01, drop_grace=9)
    with Server(sends(blip)) as server:
        async with client(server.url) as api:
            fetcher = Fetcher(api, carrier(), quick, tmp_path, World())
            with anyio.move_on_after(0.5):
                await fetcher.download(Download(one, 1, "p1"))
    assert len(server.requests) > 1


def test_a_pause_between_readings_stays_finite() -> None:
    trouble = Trouble(SANDBOX, World())
    pauses = [trouble.pause(Unavailable("503", http=503)) for _ in range(1100)]
    assert max(pauses) <= SANDBOX.backoff_longest


class _Odd(httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """A network that breaks in a way that no library knows."""

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        del buffer, timeout
        raise RuntimeError("nobody foresaw this")

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        del info


async def test_what_nobody_foresaw_is_a_doubt_like_any_other() -> None:
    """Else it would be no doubt to the breaker, and go on and on."""
    async with Client.connect(
        "http://127.0.0.1:9", KEY, pace=Pace(None, 1), now=lambda: NOW, network=_Odd()
    ) as api:
        with pytest.raises(Uncertain, match="nobody foresaw"):
            await api.submit(MODEL, BODY)


async def test_a_models_name_is_no_address() -> None:
    with Server(sends(reply(400, says(400, "no such model")))) as server:
        async with client(server.url) as api:
            with pytest.raises(Refused):
                await api.submit("acme/x?price=0#a b\r\nHost: y", BODY)
    line = server.requests[0].partition(b"\r\n")[0]
    asked = b"acme/x%3Fprice%3D0%23a%20b%0D%0AHost%3A%20y"
    assert line == b"POST /api/v3/" + asked + b" HTTP/1.1"
