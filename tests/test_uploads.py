"""Where a file is put, and what of ours goes along with it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from msgspec.structs import replace
from test_client import KEY, NOW, Server, reply

from batchgen.client import Client
from batchgen.downloads import carrier
from batchgen.errors import Refused, Unavailable
from batchgen.fetcher import Fetcher
from batchgen.pace import Pace
from batchgen.perform import Local
from batchgen.profile import SANDBOX
from batchgen.trouble import KeyRejected
from batchgen.uploads import Storage, address, ticket
from batchgen.world import World

HERE = "http://127.0.0.1:9/put?sig=secret"
FOUND = "https://cdn.example/a.png"


def given(**more: Any) -> dict[str, Any]:
    upload = {"method": "PUT", "url": HERE, "headers": {"Content-Type": "image/png"}}
    return {"download_url": FOUND, "upload": {**upload, **more}}


def test_a_ticket_says_where_and_with_which_headers() -> None:
    headers = {"If-None-Match": "*", "Host": "evil", "Content-Length": "1"}
    found = ticket(given(headers=headers), loopback=True)
    assert (str(found.url), found.address) == (HERE, FOUND)
    assert found.headers == {"If-None-Match": "*"}
    assert ticket(given(headers=None), loopback=True).headers == {}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"download_url": FOUND},
        given(method="POST"),
        given(headers={"X": 1}),
        given(headers={"X": "a\r\nAuthorization: b"}),
        given(headers=["X"]),
        given(url="http://[::1"),
        {**given(), "download_url": "http://127.0.0.2/a.png"},
    ],
    ids=str,
)
def test_what_is_no_ticket_is_not_used(data: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        ticket(data, loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        5,
        "sha256:" + "a" * 64,
        "http://cdn.example/a.png",
        "https://user@cdn.example/a.png",
        "https:///a.png",
        "file:///etc/passwd",
        "https://cdn.example/" + "a" * 2048,
    ],
    ids=str,
)
def test_an_address_that_a_service_cannot_read_is_never_sent(url: object) -> None:
    with pytest.raises(Unavailable):
        address({"download_url": url}, loopback=True)


def test_only_a_sandbox_keeps_files_on_this_machine() -> None:
    local = {"download_url": "http://127.0.0.1:9/a.png"}
    assert address(local, loopback=True) == local["download_url"]
    with pytest.raises(Unavailable):
        address(local, loopback=False)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        HERE,
        "https://127.0.0.1/put",
        "https://10.0.0.1/put",
        "https://169.254.169.254/latest",
        "https://[::1]/put",
        "ftp://cdn.example/put",
    ],
)
async def test_a_ticket_that_leads_inside_is_not_followed(url: str) -> None:
    class Never(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise AssertionError(request.url)

    found = ticket(given(url=url), loopback=False)
    async with httpx.AsyncClient(transport=Never()) as http:
        with pytest.raises(Unavailable):
            await Storage(http, loopback=False).put(found, b"data")


async def upload(server: Server) -> str:
    async with Client.connect(
        server.url, KEY, pace=Pace(None, 1), now=lambda: NOW, loopback=True
    ) as api:
        with anyio.fail_after(10):
            return await api.upload(b"data", "a.png", "image/png")


def service(*, tickets: int = 200, put: int = 200, form: int = 200) -> Any:
    """Answers to the ticket, to the PUT and to the form."""

    def script(peer: Any, request: bytes) -> None:
        head = request.split(b"\r\n", 1)[0]
        host = request.lower().split(b"host: ", 1)[1].split(b"\r\n", 1)[0].decode()
        status, data = form, {"download_url": FOUND}
        if head.startswith(b"PUT"):
            status = put
        elif b"/media/uploads " in head:
            status, data = tickets, given(url=f"http://{host}/put?sig=secret")
        body = {"code": status, "message": "m", "data": data}
        peer.sendall(reply(status, body, {"Connection": "close"}))

    return script


@pytest.mark.anyio
async def test_the_key_goes_to_the_api_and_never_to_the_storage() -> None:
    with Server(service()) as server:
        assert await upload(server) == FOUND
        asked, put = server.requests
    assert f"Bearer {KEY}".encode() in asked
    assert json.loads(asked.split(b"\r\n\r\n")[1]) == {
        "filename": "a.png",
        "size": 4,
        "content_type": "image/png",
    }
    assert KEY.encode() not in put
    names = {line.split(b":")[0].lower() for line in put.split(b"\r\n")[1:-2]}
    assert names == {b"host", b"content-type", b"content-length"}
    assert put.endswith(b"\r\n\r\ndata")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [404, 405])
async def test_where_tickets_are_not_known_there_is_a_form(status: int) -> None:
    with Server(service(tickets=status)) as server:
        assert await upload(server) == FOUND
        _, form = server.requests
    assert b'name="file"; filename="a.png"' in form


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"tickets": 400}, Refused),
        ({"tickets": 413}, Refused),
        ({"tickets": 401}, Unavailable),
        ({"tickets": 500}, Unavailable),
        ({"tickets": 404, "form": 415}, Refused),
        ({"tickets": 404, "form": 404}, Unavailable),
        ({"put": 413}, Refused),
        ({"put": 400}, Unavailable),
        ({"put": 403}, Unavailable),
        ({"put": 412}, Unavailable),
        ({"put": 301}, Unavailable),
        ({"put": 503}, Unavailable),
    ],
    ids=str,
)
async def test_a_definite_no_is_told_from_trouble(
    answers: dict[str, int], error: type[Exception]
) -> None:
    with Server(service(**answers)) as server:
        with pytest.raises(error) as caught:
            await upload(server)
        assert "secret" not in str(caught.value)
        if "put" in answers and error is Unavailable:
            assert getattr(caught.value, "http", None) is None  # not our key's fault


async def bring(server: Server, folder: Path) -> str:
    """Upload a picture the way a session does, with little endurance."""
    path = folder / "a.png"
    path.write_bytes(b"data")
    hasty = replace(SANDBOX, endurance=0.5, backoff_first=0.01)
    async with Client.connect(
        server.url, KEY, pace=Pace(None, 1), now=lambda: NOW, loopback=True
    ) as api:
        fetcher = Fetcher(api, carrier(), hasty, folder, World())
        local = Local(api, fetcher, hasty, folder, World())
        return await local.upload(f"sha256:{sha256(b'data').hexdigest()}", str(path))


@pytest.mark.anyio
async def test_trouble_is_borne_for_a_while_and_then_told(tmp_path: Path) -> None:
    with Server(service(put=503)) as server:
        with pytest.raises(Unavailable, match=r"^a\.png cannot be uploaded: 127\."):
            await bring(server, tmp_path)
        assert len(server.requests) > 4  # a new ticket each time


@pytest.mark.anyio
async def test_a_key_that_is_refused_for_uploads_is_told_as_such(
    tmp_path: Path,
) -> None:
    with Server(service(tickets=401)) as server:
        with pytest.raises(KeyRejected):
            await bring(server, tmp_path)
        assert len(server.requests) == 3
