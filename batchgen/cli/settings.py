"""What the environment says; the only reader of `os.environ`."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import click
from msgspec import Struct, field

from batchgen.errors import UsageError
from batchgen.money import Micros, usd
from batchgen.profile import LIVE_BASE_URL, is_loopback
from batchgen.redaction import SECRETS, Redaction


class Settings(Struct, frozen=True):
    """The environment, read once.

    Attributes:
        key: of the API; empty if there is none.
        base_url: of the API.
        outputs: where runs leave their folders.
        ceiling: of every budget, set by whoever owns the machine.
        proxy: for all requests.
        cache: the user's own folder for what may be lost.
        config: the user's own folder for batchgen.
        environ: everything, for `${NAME}` in a manifest.
    """

    key: str
    base_url: str
    outputs: Path
    ceiling: Micros | None
    proxy: str | None
    cache: Path
    environ: Mapping[str, str]
    config: Path = field(default_factory=lambda: Path(click.get_app_dir("batchgen")))

    def __repr__(self) -> str:
        """Without what is secret: the key, a password of the proxy, other variables."""
        return f"Settings({self.base_url!r}, {str(self.outputs)!r})"

    @property
    def lists(self) -> Path:
        """Where `models --refresh` keeps what each address of the API lists."""
        return self.config / "models"

    @property
    def loopback(self) -> bool:
        """Whether the API is a sandbox on this machine."""
        return is_loopback(self.base_url)


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment.

    Raises:
        UsageError: a variable has no usable value.
    """
    env = os.environ if environ is None else environ
    return Settings(
        key=_key(env),
        base_url=_base_url(env.get("WAVESPEED_BASE_URL", "").strip() or LIVE_BASE_URL),
        outputs=Path(env.get("BATCHGEN_OUTPUTS", "").strip() or "outputs"),
        ceiling=_ceiling(env.get("BATCHGEN_MAX_BUDGET", "").strip()),
        proxy=env.get("BATCHGEN_PROXY", "").strip() or None,
        cache=_cache(env),
        environ=env,
    )


def fingerprint(key: str) -> str:
    """Tells keys apart without telling the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _cache(env: Mapping[str, str]) -> Path:
    given = Path(env.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path(env.get("HOME", "/")) / ".cache"


def _key(env: Mapping[str, str]) -> str:
    key = env.get("WAVESPEED_API_KEY", "").strip()
    file = env.get("WAVESPEED_API_KEY_FILE", "").strip()
    if key or not file:
        return key
    try:
        return _guarded(Path(file)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the key file {file}: {error}", rule="key-file"
        ) from error


def _guarded(path: Path) -> Path:
    """A file that others may write could be anybody's key."""
    if path.stat().st_mode & 0o022:
        raise UsageError(
            f"others may write the key file {path}",
            rule="key-file",
            advice=f"chmod 600 {path}",
        )
    return path


def key_note(env: Settings) -> str:
    """What is odd about the key file, or nothing; in /run only its owner can look."""
    file = env.environ.get("WAVESPEED_API_KEY_FILE", "").strip()
    if not file or env.environ.get("WAVESPEED_API_KEY", "").strip():
        return ""
    path = Path(file)
    if path.is_relative_to("/run") or not path.stat().st_mode & 0o044:
        return ""
    return f"others may read the key file {path}: chmod 600 {path}"


def redaction() -> Redaction:
    """Takes our secrets out of a text that nobody wrote for people, like a crash."""
    secrets = [os.environ.get(name, "") for name in ("BATCHGEN_PROXY", *SECRETS)]
    with suppress(UsageError):
        secrets.append(_key(os.environ))
    return Redaction(*secrets)


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    fine = parts.hostname and not (parts.username or parts.query or parts.fragment)
    if parts.scheme == "https" and fine:
        return text.rstrip("/")
    if parts.scheme == "http" and fine and is_loopback(text):
        return text.rstrip("/")
    raise UsageError(
        f"WAVESPEED_BASE_URL is {text!r}; it must be https, or http on this machine",
        rule="bad-base-url",
    )


def _ceiling(text: str) -> Micros | None:
    if not text:
        return None
    try:
        amount = usd(text)
    except ValueError:
        amount = 0
    if amount <= 0:
        raise UsageError(
            f"BATCHGEN_MAX_BUDGET is {text!r}; it must be US dollars, like 500",
            rule="bad-money",
        )
    return amount
