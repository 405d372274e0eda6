"""Keeps a secret out of whatever comes back from outside. Pure.

A service, a proxy or an error page may repeat the key that it was sent. Nothing that
was answered is kept, shown or told before it went through here.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

_SHORTEST = 16  # what is shorter is no real key, and could be any word
_MARK = b"[key]"

SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_TOKEN",
)
"""Variables of buckets, whose values are shown to nobody."""


class Redaction:
    """Replaces a secret in each form in which it may be repeated.

    The forms: as it is, percent-encoded, and inside of base64, where it may begin at
    any of three places; both alphabets.
    """

    def __init__(self, *secrets: str) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        parts = b"|".join(re.escape(form) for form in longest_first)
        self._pattern = re.compile(parts) if parts else None

    def __call__(self, data: bytes) -> bytes:
        """The same without the secrets."""
        return data if self._pattern is None else self._pattern.sub(_MARK, data)

    def text(self, text: str) -> str:
        """The same for text."""
        return self(text.encode("utf-8", "surrogateescape")).decode(
            "utf-8", "surrogateescape"
        )


def _forms(secret: str) -> Iterator[bytes]:
    if len(secret) < _SHORTEST:
        return
    from base64 import b64encode  # noqa: PLC0415 - only where there is a secret

    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield quote(secret, safe="").lower().encode()
    for shift in range(3):
        # Only the characters that no neighbour has a part in.
        text = b64encode(b"\0" * shift + raw)
        core = text[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))
