"""Which addresses may be fetched, decided before a connection is opened.

A name is looked up once, its addresses are checked, and only a checked address is
dialled, under the name's certificate. So a name cannot change its mind in between.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx

from batchgen.errors import Unavailable
from batchgen.patterns import pattern

LOOPBACK = "127.0.0.1"

Lookup = Callable[[str, int], Iterable[str]]

_LAST_PORT = 65_535
_NAME = pattern(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

# Special-purpose registry of IANA, and 6to4's relays.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Of IPv6 only this block is the public Internet: mapped, NAT64, unique local,
# link-local and multicast addresses all lie outside.
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class AddressRefused(Unavailable):
    """Nothing is fetched from there, however often it is asked."""

    rule = "address"


@dataclass(frozen=True, slots=True)
class Route:
    """A checked way to a file: dial `url`, whose host is an address, as `name`."""

    url: httpx.URL
    host: str
    name: str


def parse(text: str) -> httpx.URL:
    """A URL that has the form of one; its text is never part of the complaint."""
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise AddressRefused("the link is not a URL") from None


def is_public(address: str) -> bool:
    """Whether an address belongs to the public Internet."""
    try:
        where = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(where, ipaddress.IPv4Address):
        return not any(where in block for block in _CLOSED_V4)
    return where in _OPEN_V6 and not any(where in block for block in _CLOSED_V6)


def system_lookup(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def routes(
    url: httpx.URL, *, loopback: bool, lookup: Lookup = system_lookup
) -> tuple[Route, ...]:
    """Every way to `url` that may be taken; AddressRefused if there is none."""
    if url.userinfo:
        raise AddressRefused("the link carries a user name")
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        raise AddressRefused("the link's port is not a port")
    if loopback and url.scheme == "http" and url.raw_host.decode() == LOOPBACK:
        return (Route(url, url.netloc.decode(), LOOPBACK),)
    name = _name(url)
    if url.scheme != "https":
        raise AddressRefused(f"{name} is not asked over {url.scheme or 'nothing'}")
    addresses = _look_up(lookup, name, url.port or 443)
    checked = [address for address in addresses if is_public(address)]
    if not checked:
        raise AddressRefused(f"{name} is not a public address")
    host = f"[{name}]" if ":" in name else name
    if url.port:
        host = f"{host}:{url.port}"
    return tuple(Route(url.copy_with(host=place), host, name) for place in checked)


def _name(url: httpx.URL) -> str:
    name = url.raw_host.decode("ascii", "replace").removesuffix(".").lower()
    if is_public(name) or _NAME.fullmatch(name):
        return name
    raise AddressRefused("the link's host is not a public name")


def _look_up(lookup: Lookup, name: str, port: int) -> list[str]:
    try:
        return list(lookup(name, port))
    except UnicodeError:
        raise AddressRefused("the link's host is not a name") from None
    except OSError as error:
        raise Unavailable(f"{name} cannot be found: {error.strerror}") from error
