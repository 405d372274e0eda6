"""Readings share a connection, one after the other, as long as both sides would."""

import socket
import struct
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import anyio
import httpcore
import pytest
from test_client import Script, Server, client, reply, sends, whole_request

from batchgen import channels
from batchgen.connections import ERRORS, Line
from batchgen.errors import Unavailable
from batchgen.http1 import Raw

pytestmark = pytest.mark.anyio

MOST = 1000
STAYS = {"Connection": "keep-alive"}
LIMITS = {"connect": 5.0, "write": 5.0, "read": 5.0}


@asynccontextmanager
async def line(url: str, *, read: float = 5.0) -> AsyncIterator[Line]:
    limits = {**LIMITS, "read": read}
    found = Line(url, headers={"User-Agent": "test"}, limits=limits, keep=True)
    yield found
    await found.aclose()


def stays(*answers: bytes) -> Script:
    """Answer each request in turn with these, on one connection; then hang up."""

    def script(peer: socket.socket, request: bytes) -> None:
        del request
        for number, answer in enumerate(answers):
            if number and not whole_request(peer):
                return
            peer.sendall(answer)

    return script


async def test_readings_share_a_connection() -> None:
    answers = [reply(200, b"%d" % number, STAYS) for number in range(5)]
    with Server(stays(*answers)) as server:
        async with line(server.url) as api:
            found = [await api.ask("GET", "a", most=MOST) for _ in range(5)]
    assert [one.body for one in found] == [b"0", b"1", b"2", b"3", b"4"]
    assert server.connections == 1


async def test_a_question_with_a_body_is_sent_whole() -> None:
    asked: list[bytes] = []

    def script(peer: socket.socket, request: bytes) -> None:
        asked.append(request)
        peer.sendall(reply(200, b"{}"))

    with Server(script) as server:
        async with line(f"{server.url}/api/v3") as api:
            await api.ask("POST", "predictions", b'{"page":1}', most=MOST)
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v3/predictions HTTP/1.1\r\n")
    lines = head.lower().split(b"\r\n")
    assert {b"content-length: 10", b"content-type: application/json"} <= set(lines)
    assert body == b'{"page":1}'


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"x", {"Connection": "close"}),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n\r\nx",  # it ends where the connection does
    ],
)
async def test_who_says_good_bye_is_not_asked_again(answer: bytes) -> None:
    with Server(sends(answer)) as server:
        async with line(server.url) as api:
            for _ in range(2):
                assert (await api.ask("GET", "a", most=MOST)).body == b"x"
    assert server.connections == 2


async def test_a_server_that_hung_up_meanwhile_is_called_anew() -> None:
    with Server(stays(reply(200, b"x", STAYS))) as server:
        async with line(server.url) as api:
            await api.ask("GET", "a", most=MOST)
            (kept,) = api._idle  # noqa: SLF001 - nobody else knows when its end came
            with anyio.fail_after(10):
                while kept.is_good:  # noqa: ASYNC110 - it comes from another thread
                    await anyio.sleep(0.001)
            await api.ask("GET", "a", most=MOST)
    assert server.connections == 2


async def test_a_connection_that_was_idle_for_long_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "KEPT", -1.0)
    with Server(stays(*[reply(200, b"x", STAYS)] * 2)) as server:
        async with line(server.url) as api:
            for _ in range(2):
                await api.ask("GET", "a", most=MOST)
    assert server.connections == 2


async def test_interim_answers_are_passed_over_and_chunks_joined() -> None:
    data = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Two: a\r\nx-two: b\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    with Server(sends(data)) as server:
        async with line(server.url) as api:
            found = await api.ask("GET", "a", most=MOST)
    assert found == Raw(
        200, {"transfer-encoding": "chunked", "x-two": "a, b"}, b"abcde"
    )


async def test_what_comes_beyond_an_answer_answers_nothing_else() -> None:
    both = reply(200, b"a", STAYS) + reply(200, b"forged", STAYS)
    with Server(sends(both)) as server:
        async with line(server.url) as api:
            await api.ask("GET", "a", most=MOST)
            assert api._idle == []  # noqa: SLF001 - so the next one begins anew
    assert server.connections == 1


async def test_a_server_that_hangs_up_is_named_so() -> None:
    with Server(sends(b"")) as server:
        async with line(server.url) as api:
            with pytest.raises(ERRORS, match="hung up without an answer"):
                await api.ask("GET", "a", most=MOST)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_what_is_no_whole_answer_is_none(data: bytes) -> None:
    with Server(sends(data)) as server:
        async with line(server.url) as api:
            with pytest.raises(ERRORS):
                await api.ask("GET", "a", most=MOST)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    def silent(peer: socket.socket, request: bytes) -> None:
        del request
        peer.recv(1)  # until the other side gives up

    with Server(silent) as server:
        async with client(server.url) as whole:
            with pytest.raises(Unavailable, match="no whole answer came in time"):
                await whole.wire.ask("GET", "a", deadline=0.1)
        async with line(server.url, read=0.1) as api:
            with pytest.raises(httpcore.ReadTimeout):
                await api.ask("GET", "a", most=MOST, within=60)


async def test_an_answer_that_drips_is_waited_for_but_not_for_ever() -> None:
    def drips(peer: socket.socket, request: bytes) -> None:
        del request
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        with suppress(OSError):
            for _ in range(8):
                time.sleep(0.1)
                peer.sendall(b"x")

    with Server(drips) as server:
        async with line(server.url, read=0.4) as api:
            found = await api.ask("GET", "a", most=MOST, within=60)
            assert found.body == b"xxxxxxxx"
            with pytest.raises(httpcore.ReadTimeout):
                await api.ask("GET", "a", most=MOST, within=0.5)


async def test_a_body_may_take_longer_to_send_than_silence_lasts() -> None:
    """A picture of some megabytes, on a line of one megabit."""
    body = b"x" * (32 << 20)

    def reads_late() -> None:
        peer, _ = ear.accept()
        with peer:
            time.sleep(0.6)
            found = 0
            while found < len(body) and (some := peer.recv(1 << 20)):
                found += len(some)
            peer.sendall(reply(200, b"{}"))

    with socket.create_server(("127.0.0.1", 0)) as ear, ThreadPoolExecutor(1) as pool:
        pool.submit(reads_late)
        url = f"http://127.0.0.1:{ear.getsockname()[1]}"
        async with line(url, read=0.4) as api:
            found = await api.ask("POST", "a", body, most=MOST, within=60)
    assert found.body == b"{}"


async def test_a_connection_that_breaks_says_how() -> None:
    def breaks(peer: socket.socket, request: bytes) -> None:
        del request
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Server(breaks) as server:
        async with line(server.url) as api:
            with pytest.raises(httpcore.ReadError, match="reset"):
                await api.ask("GET", "a", most=MOST)


async def test_nobody_there_is_named_so() -> None:
    async with line("http://127.0.0.1:9") as api:
        with pytest.raises(httpcore.ConnectError, match=r"refused|connect"):
            await api.ask("GET", "a", most=MOST)


async def test_an_answer_of_too_many_bytes_is_left_unread() -> None:
    with Server(sends(reply(200, b"x" * (MOST + 1)))) as server:
        async with line(server.url) as api:
            with pytest.raises(Unavailable, match="over 1000 bytes"):
                await api.ask("GET", "a", most=MOST)
