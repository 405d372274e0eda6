"""Where clips may go besides the run's own folder: the address of a bucket. Pure."""

import re
from typing import NoReturn
from urllib.parse import quote, urlsplit

SCHEMES = ("s3", "gs", "az")
LINK_LIFE = 7 * 86400
"""Seconds that a signed link lives unless the manifest says less; services allow no
more."""

BUCKET = r"(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9._=+~@-]+)*/?"
LINKS = r"([1-9][0-9]{0,4}(m|h|d)|https://[^\s?#@]+)"
_UNITS = {"m": 60, "h": 3600, "d": 86400}
_LONGEST = 400  # a key has 1,024 bytes, and the names of the clips want some


class BadLocation(ValueError):
    """Not what a manifest may say; `label` is what to write."""

    def __init__(self, message: str, label: str) -> None:
        super().__init__(message)
        self.label = label


def bucket(text: object) -> str:
    """The address of a bucket, without a slash at its end.

    Raises:
        BadLocation: it is none, or says more than where the bucket is.
    """
    value = text if isinstance(text, str) else ""
    scheme, _, rest = value.partition("://")
    if scheme not in SCHEMES or not rest:
        _bad(
            "a store is the address of a bucket",
            "write s3://bucket/prefix, gs://… or az://…; for another folder set "
            "BATCHGEN_OUTPUTS",
        )
    if "@" in rest.partition("/")[0]:
        _bad(
            "a store's address holds no credentials",
            "leave them in the environment, such as AWS_ACCESS_KEY_ID",
        )
    if "?" in rest or "#" in rest:
        _bad("a store's address has no query", "write bucket and prefix alone")
    dots = {".", ".."} & set(rest.split("/"))
    if dots or len(value) > _LONGEST or not re.fullmatch(BUCKET, value):
        _bad(
            f"this is no name of a bucket with a prefix: {value}",
            "letters, digits and . _ - = + ~ @ in the prefix; lower case in the bucket",
        )
    return value.rstrip("/")


def links(text: object) -> str:
    """How a report links to objects: for how long, or below which public address.

    Raises:
        BadLocation: it is neither.
    """
    value = text if isinstance(text, str) else ""
    if not re.fullmatch(LINKS, value):
        _bad("links are signed for a time, or public", "write 7d, or https://…")
    if not value.startswith("https://") and _seconds(value) > LINK_LIFE:
        _bad("no service signs links for more than 7 days", "write 7d")
    if value.startswith("https://") and not urlsplit(value).hostname:
        _bad("this address has no host", "write https://…")
    return value.rstrip("/")


def life(links: str) -> int:
    """Seconds that signed links live; 0 where links are public."""
    if links.startswith("https://"):
        return 0
    return _seconds(links) if links else LINK_LIFE


def address(store: str, name: str, links: str = "") -> str:
    """Where an object is: its public address, if there is one, or the bucket's.

    Args:
        store: of the run: address of the bucket, prefix, and the run's name.
        name: of the object below that.
        links: as in the manifest.
    """
    if not links.startswith("https://"):
        return f"{store}/{name}"
    # The public address stands for what the manifest calls the store.
    run = store.rpartition("/")[2]
    return f"{links}/{quote(f'{run}/{name}')}"


def _seconds(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


def _bad(message: str, label: str) -> NoReturn:
    raise BadLocation(message, label)
