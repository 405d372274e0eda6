import socket

import pytest

from batchgen import addresses
from batchgen.addresses import AddressRefused, routes
from batchgen.errors import Unavailable

PUBLIC = "93.184.216.34"
BOOK = {
    "cdn.example.com": [PUBLIC, "2606:2800:220:1::1"],
    "xn--mnchen-3ya.example": [PUBLIC],
    "mixed.example": ["10.0.0.7", PUBLIC],
    "inside.example": ["10.0.0.7", "fd00::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "my_bucket.example": [PUBLIC],
}


def book(host: str, port: int) -> list[str]:
    """Names from the book; numbers as the system reads them, without a network."""
    assert 0 < port < 65536
    if host in BOOK:
        return BOOK[host]
    found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def dialled(url: str, *, loopback: bool = False) -> list[str]:
    ways = routes(addresses.parse(url), loopback=loopback, lookup=book)
    return [way.url.host for way in ways]


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("https://cdn.example.com/a.mp4", BOOK["cdn.example.com"]),
        ("HTTPS://CDN.Example.COM/a.mp4", BOOK["cdn.example.com"]),
        ("https://cdn.example.com./a.mp4", BOOK["cdn.example.com"]),
        ("https://cdn.example.com:8443/a.mp4", BOOK["cdn.example.com"]),
        ("https://münchen.example/a.mp4", [PUBLIC]),
        ("https://my_bucket.example/a.mp4", [PUBLIC]),
        ("https://mixed.example/a.mp4", [PUBLIC]),
        (f"https://{PUBLIC}/a.mp4", [PUBLIC]),
        ("https://[2606:2800:220:1::1]/a.mp4", ["2606:2800:220:1::1"]),
    ],
)
def test_public_https_is_fetched_from_its_checked_addresses(
    url: str, places: list[str]
) -> None:
    assert dialled(url) == places


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.255.255.254/",
        "https://0/",
        "https://0.0.0.0/",
        "https://0.1.2.3/",
        "https://10.0.0.1/",
        "https://10.1/",
        "https://100.64.0.1/",
        "https://100.127.255.255/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0xa9fea9fe/",
        "https://172.16.0.1/",
        "https://172.31.255.255/",
        "https://192.0.0.8/",
        "https://192.0.2.1/",
        "https://192.88.99.1/",
        "https://192.168.1.1/",
        "https://198.18.0.1/",
        "https://198.51.100.1/",
        "https://203.0.113.9/",
        "https://224.0.0.1/",
        "https://239.255.255.250/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:93.184.216.34]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001::1]/",
        "https://[2001:db8::1]/",
        "https://[100::1]/",
        "https://[fc00::1]/",
        "https://[fd12:3456::1]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25lo]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://inside.example/",
        "https://mapped.example/",
        "https://user@cdn.example.com/",
        "https://user:word@cdn.example.com/",
        "https://cdn.example.com@127.0.0.1/",
        "https://cdn.example.com%40127.0.0.1/",
        "https://cdn..example.com/",
        "https://.example.com/",
        f"https://{'a' * 64}.example/",
        "https:///a.mp4",
        "https:a.mp4",
        "http://cdn.example.com/a.mp4",
        "http://127.0.0.1:8000/a.mp4",
        "http://localhost/",
        "ftp://cdn.example.com/a.mp4",
        "file:///etc/passwd",
        "data:video/mp4;base64,AAAA",
        "//cdn.example.com/a.mp4",
        "/a.mp4",
        "",
        "https://cdn.example.com:99999/",
        "https://cdn.example.com:0/",
        "https://cdn.example.com:port/",
        "https://cdn.example.com/\nHost: evil",
        "https://[::1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        dialled(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/a.mp4", "http://127.0.0.1/a.mp4"]
)
def test_the_sandbox_is_reached_over_plain_http_on_one_address(url: str) -> None:
    assert dialled(url, loopback=True) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/",
        "http://127.0.0.2:8000/",
        "http://127.1:8000/",
        "http://2130706433:8000/",
        "http://127.0.0.1.:8000/",
        "http://[::1]:8000/",
        "http://key@127.0.0.1:8000/",
        "https://127.0.0.1:8000/",
        "http://cdn.example.com/",
        "http://10.0.0.1/",
    ],
)
def test_the_sandbox_opens_no_other_door(url: str) -> None:
    with pytest.raises(AddressRefused):
        dialled(url, loopback=True)


def test_the_name_stays_in_the_certificate_and_the_host_header() -> None:
    url = addresses.parse("https://cdn.example.com.:8443/a%2Fb/c.mp4?Sig=a%2Bb+c~%3D")
    first, second = routes(url, loopback=False, lookup=book)
    assert (first.name, first.host) == ("cdn.example.com", "cdn.example.com:8443")
    assert first.url.netloc == b"93.184.216.34:8443"
    assert second.url.netloc == b"[2606:2800:220:1::1]:8443"
    assert first.url.raw_path == b"/a%2Fb/c.mp4?Sig=a%2Bb+c~%3D"


def test_a_name_is_looked_up_once() -> None:
    asked = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    url = addresses.parse("https://cdn.example.com/a.mp4")
    (way,) = routes(url, loopback=False, lookup=rebinding)
    assert (asked, way.url.host) == (["cdn.example.com"], PUBLIC)


def test_a_name_that_is_not_found_may_be_found_later() -> None:
    def nowhere(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    url = addresses.parse("https://cdn.example.com/a.mp4?Signature=secret")
    with pytest.raises(Unavailable, match=r"^cdn\.example\.com cannot be found") as no:
        routes(url, loopback=False, lookup=nowhere)
    assert not isinstance(no.value, AddressRefused)


def test_no_complaint_repeats_a_signed_link() -> None:
    for url in (
        "https://10.0.0.1/a.mp4?sig=canary",
        "https://u:canary@cdn.example.com/a.mp4?sig=canary",
        "https://cdn.example.com:canary/a.mp4?sig=canary",
        "http://cdn.example.com/canary?sig=canary",
    ):
        with pytest.raises(AddressRefused) as refusal:
            dialled(url)
        assert "canary" not in str(refusal.value)
        assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2a00:1450::1"]
)
def test_ordinary_addresses_are_public(text: str) -> None:
    assert addresses.is_public(text)


@pytest.mark.parametrize("text", ["", "name", "1.2.3", "fe80::1%lo"])
def test_what_is_no_public_address_is_not(text: str) -> None:
    assert not addresses.is_public(text)
