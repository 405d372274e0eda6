"""Downloads through a proxy: it is asked for checked addresses and nothing else."""

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from test_downloads import CLIP, Site, file, saved
from test_downloads import site as site  # noqa: PLC0414 - a fixture

from batchgen.disk import Disk
from batchgen.downloads import LinkExpired, carrier, fetch
from batchgen.errors import Unavailable
from batchgen.sockets import proxy_of

PUBLIC = "9.9.9.9"
WELCOME = b"HTTP/1.1 200 Connection established\r\n\r\n"

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


class Gate:
    """A proxy on loopback, behind which every address is this machine's."""

    def __init__(self, port: int) -> None:
        self.asked: list[bytes] = []
        self.answer = WELCOME
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._take)]
        self._threads[0].start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._door.accept()
                one = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(one)
                one.start()

    def _serve(self, peer: socket.socket) -> None:
        with closing(peer), suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(1)
            self.asked.append(head)
            peer.sendall(self.answer)
            if self.answer != WELCOME:
                return
            with socket.create_connection(("127.0.0.1", self._port)) as there:
                back = threading.Thread(target=_pour, args=(there, peer))
                back.start()
                _pour(peer, there)
                back.join()

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for one in self._threads:
            one.join(10)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(1 << 16):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the public address, and its key."""
    folder = tmp_path_factory.mktemp("papers")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = f"-subj /CN=clips.example -addext subjectAltName=IP:{PUBLIC}"
    files = "-keyout key.pem -out cert.pem"
    subprocess.run(
        ["openssl", *f"{words} {names} {files}".split()],  # noqa: S607
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def gate(site: Site, papers: Path) -> Iterator[Gate]:
    """A proxy before a server of clips that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / "cert.pem", papers / "key.pem")
    site.socket = context.wrap_socket(site.socket, server_side=True)
    site.give(file())
    found = Gate(site.server_port)
    yield found
    found.close()


Bring = Callable[..., object]


@pytest.fixture
def bring(gate: Gate, papers: Path, tmp_path: Path) -> Bring:
    """Fetch a link through the gate."""

    def through(url: str, user: str = "") -> object:
        where = f"http://{user}127.0.0.1:{gate.port}"
        return fetch(
            url,
            tmp_path / "clip.mp4",
            http=carrier(authorities=papers / "cert.pem", proxy=where),
            loopback=True,
            disk=Disk(),
            stop=threading.Event(),
        )

    return through


def test_a_clip_comes_through_the_proxy(
    gate: Gate, site: Site, bring: Bring, tmp_path: Path
) -> None:
    where = f"{PUBLIC}:{site.server_port}"
    found = bring(f"https://{where}/a.mp4?sign=secret", "user:pa%20ss@")
    assert found == saved(validator='"v1"')
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    (asked,) = gate.asked
    first, host, known, *rest = asked.decode().split("\r\n")
    assert first == f"CONNECT {where} HTTP/1.1"
    assert host == f"Host: {where}"
    secret = base64.b64encode(b"user:pa ss").decode()
    assert known == f"Proxy-Authorization: Basic {secret}"
    assert rest == ["", ""]
    assert "Proxy-Authorization" not in site.asked[0].headers


def test_a_certificate_of_another_is_refused_behind_the_proxy_too(
    site: Site, bring: Bring
) -> None:
    with pytest.raises(Unavailable, match="certificate"):
        bring(f"https://9.9.9.10:{site.server_port}/a.mp4")
    assert site.asked == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "[::1]"])
def test_the_proxy_is_not_asked_for_what_is_not_public(
    gate: Gate, bring: Bring, host: str
) -> None:
    with pytest.raises(LinkExpired):
        bring(f"https://{host}/a.mp4")
    assert gate.asked == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answered 403"),
        (b"HTTP/1.1 407 Who are you?\r\nX: y\r\n\r\n", "the proxy answered 407"),
        (b"", "did not answer as one"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not answer as one"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "did not answer as one"),
        (b"x" * 20_000, "did not answer as one"),
    ],
)
def test_a_proxy_that_does_not_connect_is_tried_again_later(
    gate: Gate, site: Site, bring: Bring, answer: bytes, words: str
) -> None:
    gate.answer = answer
    with pytest.raises(Unavailable, match=words) as caught:
        bring(f"https://{PUBLIC}/a.mp4", "user:password@")
    assert "password" not in repr(caught.value)
    assert site.asked == []


def test_what_is_on_this_machine_is_fetched_without_the_proxy(tmp_path: Path) -> None:
    with Site() as site:
        serving = threading.Thread(target=site.serve_forever, args=(0.01,))
        serving.start()
        site.give(file())
        found = fetch(
            site.url(),
            tmp_path / "clip.mp4",
            http=carrier(proxy="http://127.0.0.1:9"),
            loopback=True,
            disk=Disk(),
            stop=threading.Event(),
        )
        site.shutdown()
        serving.join()
    assert found == saved(validator='"v1"')


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "https://proxy",
        "socks5://proxy:1",
        "proxy:3128",
        "http://",
        "http://proxy:port",
    ],
)
def test_other_proxies_are_not_asked_for_connections(text: str | None) -> None:
    assert proxy_of(text) is None


def test_a_proxy_does_not_show_its_secret() -> None:
    found = proxy_of("http://user:password@proxy.example")
    assert found is not None
    assert (found.host, found.port) == ("proxy.example", 80)
    assert found.secret not in repr(found)
