"""Downloads share connections, as long as both sides would, and never their bodies."""

import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest
from test_client import whole_request

from batchgen import sockets
from batchgen.downloads import carrier
from batchgen.http1 import KEPT
from batchgen.sockets import Line, Question, Served, Wire

Talk = Callable[[socket.socket], object]


class Host(socketserver.ThreadingTCPServer):
    """Gives each connection to a script of its own; counts them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.talk: Talk = lambda _: None
        self.connections = 0
        self.asked = 0

    def finish_request(self, request: object, client_address: object) -> None:
        del client_address
        assert isinstance(request, socket.socket)
        self.connections += 1
        request.settimeout(10)
        with suppress(OSError):
            self.talk(request)

    def question(self, name: str = "clips.example", path: str = "/a.mp4") -> Question:
        url = httpx.URL(f"http://127.0.0.1:{self.server_address[1]}{path}")
        return Question(url, name, {"Host": name})

    def gives(self, *answers: bytes) -> None:
        """Each connection: these answers, each to a request; then it hangs up."""

        def talk(peer: socket.socket) -> None:
            for answer in answers:
                if not whole_request(peer):
                    return
                self.asked += 1
                peer.sendall(answer)

        self.talk = talk


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = carrier()
    assert isinstance(made, Wire)
    yield made
    made.close()


def file(data: bytes, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n{more}\r\n".encode() + data
    )


def body(answer: Served) -> bytes:
    """All of it; then it is closed."""
    found, view = b"", memoryview(bytearray(1000))
    while (count := answer.read_into(view)) != 0:
        found += bytes(view[: count or 0])
    answer.close()
    return found


def kept(wire: Wire) -> list[Line]:
    return wire._shelf._lines  # noqa: SLF001 - nobody else knows which are kept


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def test_files_of_one_host_share_a_connection(host: Host, wire: Wire) -> None:
    answers = [file(b"one"), file(b"x" * 200_000), CHUNKED, file(b""), file(b"five")]
    host.gives(*answers)
    found = [body(wire.ask(host.question())) for _ in answers]
    assert found == [b"one", b"x" * 200_000, b"abc", b"", b"five"]
    assert host.connections == 1


def test_two_at_once_have_one_each(host: Host, wire: Wire) -> None:
    host.gives(*[file(b"abc")] * 2)
    first, second = (wire.ask(host.question()) for _ in range(2))
    assert body(first) == body(second) == b"abc"
    assert host.connections == 2
    assert len(kept(wire)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        file(b"abc", "Connection: close\r\n"),
        file(b"abc").replace(b"1.1", b"1.0"),
        file(b"abc") + b"HTTP/1.1 200 OK\r\n",  # the next answer, before any question
    ],
)
def test_who_would_not_go_on_is_not_asked_again(
    host: Host, wire: Wire, answer: bytes
) -> None:
    host.gives(answer, answer)
    assert [body(wire.ask(host.question())) for _ in range(2)] == [b"abc"] * 2
    assert host.connections == 2


def test_a_body_that_was_not_read_to_its_end_answers_nothing_else(
    host: Host, wire: Wire
) -> None:
    for long in (file(b"x" * 10_000), file(b"x" * 1_000_000), CHUNKED):
        host.gives(long, file(b"abc"))
        answer = wire.ask(host.question())
        answer.read_into(memoryview(bytearray(1)))
        answer.close()
        assert kept(wire) == []


def test_a_connection_answers_for_the_name_it_was_checked_for(
    host: Host, wire: Wire
) -> None:
    host.gives(*[file(b"abc")] * 2)
    for name in ("clips.example", "other.example"):
        body(wire.ask(host.question(name)))
    assert host.connections == 2


def test_what_was_said_unasked_answers_nothing(host: Host, wire: Wire) -> None:
    forged = threading.Event()

    def talk(peer: socket.socket) -> None:
        whole_request(peer)
        peer.sendall(file(b"abc"))
        forged.wait(10)
        peer.sendall(file(b"forged"))

    host.talk = talk
    body(wire.ask(host.question()))
    (line,) = kept(wire)
    forged.set()
    select.select([line.plug], [], [], 10)
    host.gives(file(b"true"))
    assert body(wire.ask(host.question())) == b"true"


def test_who_hung_up_meanwhile_is_called_anew(host: Host, wire: Wire) -> None:
    host.gives(file(b"abc"))
    body(wire.ask(host.question()))
    (line,) = kept(wire)
    select.select([line.plug], [], [], 10)
    assert body(wire.ask(host.question())) == b"abc"
    assert host.connections == 2
    assert line.plug.fileno() == -1


def test_who_hangs_up_on_a_question_is_asked_it_again_elsewhere(
    host: Host, wire: Wire
) -> None:
    def talk(peer: socket.socket) -> None:
        whole_request(peer)
        if host.connections < 3:
            peer.sendall(file(b"abc"))
            whole_request(peer)  # a restart of the server
        else:
            peer.sendall(file(b"true"))

    host.talk = talk
    for answer in [wire.ask(host.question()) for _ in range(2)]:
        body(answer)
    assert body(wire.ask(host.question())) == b"true"
    assert host.connections == 3


def test_who_hangs_up_on_a_first_question_is_not_asked_again(
    host: Host, wire: Wire
) -> None:
    host.talk = whole_request
    with pytest.raises(httpx.RemoteProtocolError, match="hung up without an answer"):
        wire.ask(host.question())
    assert host.connections == 1


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    host: Host, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "KEPT", -1.0)
    host.gives(*[file(b"abc")] * 2)
    for _ in range(2):
        body(wire.ask(host.question()))
    assert host.connections == 2


def test_whoever_asks_hangs_up_on_those_who_were_idle_for_long(
    host: Host, wire: Wire
) -> None:
    host.gives(*[file(b"abc")] * 2)
    body(wire.ask(host.question("one.example")))
    (line,) = kept(wire)
    line.since -= KEPT
    body(wire.ask(host.question("other.example")))
    assert line.plug.fileno() == -1
    assert kept(wire) != [line]


def test_only_so_many_are_kept(host: Host, wire: Wire) -> None:
    host.gives(file(b"abc"))
    for number in range(sockets._MOST_KEPT + 5):  # noqa: SLF001 - the limit itself
        body(wire.ask(host.question(f"{number}.example")))
    assert len(kept(wire)) == sockets._MOST_KEPT  # noqa: SLF001 - the same
    assert kept(wire)[0].way.name == "5.example"


def test_nothing_is_kept_beyond_the_end(host: Host, wire: Wire) -> None:
    host.gives(*[file(b"abc")] * 2)
    late = wire.ask(host.question())
    body(wire.ask(host.question()))
    (line,) = kept(wire)
    wire.close()
    body(late)
    assert line.plug.fileno() == -1
    assert kept(wire) == []


def test_what_is_closed_twice_is_kept_once(host: Host, wire: Wire) -> None:
    host.gives(file(b"abc"))
    answer = wire.ask(host.question())
    body(answer)
    answer.close()
    assert len(kept(wire)) == 1


@pytest.mark.parametrize("kind", [file(b"x" * 200_000), CHUNKED])
def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(
    host: Host, wire: Wire, kind: bytes
) -> None:
    host.gives(kind[:-6])
    answer = wire.ask(host.question())
    with pytest.raises(httpx.RemoteProtocolError, match="within its answer"):
        body(answer)
    answer.close()
    assert kept(wire) == []


def test_threads_never_share_a_connection_at_once(host: Host, wire: Wire) -> None:
    def talk(peer: socket.socket) -> None:
        while request := whole_request(peer):
            path = request.split()[1]
            for at in range(0, 3000, 7):
                peer.sendall((file(path * 100))[at : at + 7])

    host.talk = talk
    wrong: list[bytes] = []

    def ask(lane: int) -> None:
        for number in range(8):
            path = f"/{lane:03}{number:03}"
            if body(wire.ask(host.question(path=path))) != path.encode() * 100:
                wrong.append(path.encode())

    lanes = [threading.Thread(target=ask, args=(lane,)) for lane in range(6)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert wrong == []
    assert host.connections <= 6
