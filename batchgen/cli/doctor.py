"""`batchgen doctor`: whether this machine and this account are ready for a night."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import available_timezones

import anyio

from batchgen import terminal
from batchgen.cli import exits, settings, stores
from batchgen.cli.colour import say
from batchgen.cli.order import Flags, place
from batchgen.cli.session import Account, connected, first_contact
from batchgen.cli.settings import Settings
from batchgen.client import Client
from batchgen.errors import ApiError, BatchgenError, Unavailable
from batchgen.models import DEFAULT_MODEL, catalog, published
from batchgen.models.live import changes
from batchgen.money import Micros, dollars
from batchgen.profile import profile_of
from batchgen.sockets import proxy_of
from batchgen.spelling import brief
from batchgen.task import priced
from batchgen.world import World

Level = Literal["ok", "warn", "fail"]
_ROOM = timedelta(seconds=2)  # a clock that is further off is worth a word
_EXTRAS = {
    "media": (
        ("av", "PIL"),
        "clips are not verified inside, previews are drawn by the page, slowly for 4K",
    ),
    "s3": (("obstore",), "`output.store` cannot be a bucket"),
    "sandbox": (("starlette", "uvicorn"), "`--sandbox` cannot run"),
}
_CODES = {
    "key": (4, "key"),
    "network": (4, "network"),
    "disk": (8, "disk"),
    "store": (8, "disk"),
}


class Check(NamedTuple):
    """One thing looked at; `advice` is what to type or to do."""

    level: Level
    name: str
    text: str
    advice: str = ""


def doctor(*, manifest: Path | None, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Look at everything, tell it, and end with 0 unless something is broken.

    Of a `manifest` that sends its clips to a bucket, the bucket too.
    """
    del verbose  # it says all there is
    env = settings.read()
    bucket = _store(env, manifest) if manifest else ()
    checks = [*_account(env), *_disk(env), *bucket, *_machine(env)]
    failed = [check for check in checks if check.level == "fail"]
    code, reason = _CODES[failed[0].name] if failed else (0, "done")
    if as_json:
        rows = [check._asdict() for check in checks]
        exits.answer("doctor", code, reason, checks=rows)
        return code
    for check in checks:
        if not (quiet and check.level == "ok"):
            say(text_of(check))
    return code


def text_of(check: Check) -> str:
    """A line of the answer, and its advice below it."""
    line = f"{check.level:<5} {check.name:<10} {terminal.safe(check.text)}"
    return f"{line}\n{'':<16} {terminal.safe(check.advice)}" if check.advice else line


def _account(env: Settings) -> Iterator[Check]:
    """Key, balance and clock; without a key nobody is asked."""
    if not env.key:
        yield Check(
            "fail",
            "key",
            "none found",
            "set WAVESPEED_API_KEY or WAVESPEED_API_KEY_FILE; `--sandbox` needs none",
        )
        return
    account = Account(env.base_url, env.key, profile_of(env.base_url), env.proxy)
    where = _source(env)
    try:
        funds, offset, notes, more = anyio.run(_ask, account)
    except ApiError as error:
        name = "key" if error.http in (401, 403) else "network"
        yield Check("fail", name, error.message, error.advice.splitlines()[-1])
        return
    mark = f"fingerprint {account.fingerprint}"
    yield Check("ok", "key", f"found in {where}, {mark}, accepted")
    yield _balance(funds, notes)
    yield _clock(offset)
    yield from more


async def _ask(
    account: Account,
) -> tuple[Micros | None, float, list[str], list[Check]]:
    notes: list[str] = []
    pace = (account.profile.reads, 1.0)
    async with connected(account, pace, World()) as client:
        funds = await first_contact(client, account, notes.append)
        more = [await _models(client), await _price(client)]
        return funds, client.clock.offset, notes, more


async def _models(client: Client) -> Check:
    """Whether the account lists the catalog's models, and as the catalog has them."""
    try:
        listed = await client.models()
    except Unavailable as error:
        return Check("warn", "models", f"the list cannot be read: {error.message}")
    gone = [model.alias for model in catalog() if model.id not in listed]
    changed = [
        model.alias
        for model in catalog()
        if model.id in listed
        and any(changes(published(model.schema), listed[model.id].schema))
    ]
    text = f"{len(listed):,} listed"
    text += f"; not there: {brief(gone)}" if gone else ""
    text += f"; changed: {brief(changed)}" if changed else ""
    advice = "batchgen models --refresh shows what" if gone or changed else ""
    return Check("warn" if advice else "ok", "models", text, advice)


async def _price(client: Client) -> Check:
    """The quote for a clip of the default model beside the catalog's figure."""
    model = catalog()[DEFAULT_MODEL]
    fields = model.request(model.examples[0]["input"])
    ours = model.price.of(priced(model, fields))
    clip = f"{model.alias} of {fields['duration']} s"
    try:
        quote = await client.price(model.id, fields)
    except Unavailable as error:
        text = f"no quote: {error.message}; the catalog says {dollars(ours)} for {clip}"
        return Check("warn", "price", text)
    text = f"{dollars(quote.amount)} for {clip} ({quote.source})"
    if quote.amount == ours:
        return Check("ok", "price", text)
    advice = "set `price` in the manifest, or: batchgen models --refresh"
    return Check("warn", "price", f"{text}, the catalog says {dollars(ours)}", advice)


def _source(env: Settings) -> str:
    name = "WAVESPEED_API_KEY"
    return name if env.environ.get(name, "").strip() else f"{name}_FILE"


def _balance(funds: Micros | None, notes: list[str]) -> Check:
    if funds is None:
        return Check("warn", "balance", notes[0])
    clip = catalog()[DEFAULT_MODEL].price.of({"duration": 5})
    level: Level = "ok" if funds >= clip else "warn"
    text = f"{dollars(funds)} (about {funds // clip:,} clips of 5 s)"
    return Check(level, "balance", text)


def _clock(offset: float) -> Check:
    level: Level = "ok" if abs(offset) <= _ROOM.total_seconds() else "warn"
    # The service tells whole seconds, so a fraction of ours means nothing.
    return Check(level, "clock", f"{abs(offset):.0f} s from the server")


def _disk(env: Settings) -> Iterator[Check]:
    folder = env.outputs
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        advice = "give write access, or set BATCHGEN_OUTPUTS to another folder"
        yield Check("fail", "disk", f"{there} does not take files", advice)
        return
    free = shutil.disk_usage(there).free
    rate = profile_of(env.base_url).bytes_per_second
    guess = f"{rate // 1_000_000} MB a second, a guess"
    text = (
        f"{free / 1e9:,.0f} GB free in {_shown(folder)}; enough for "
        f"{free // rate:,} s of 4K video ({guess})"
    )
    yield Check("ok", "disk", text)


def _shown(folder: Path) -> str:
    return f"{folder}/" if folder.exists() else f"{folder}/ (made by the first run)"


def _store(env: Settings, manifest: Path) -> Iterator[Check]:
    """Whether the bucket of a manifest takes clips, and gives back what it has."""
    address = stores.address_of(place(manifest, env, Flags()))
    if not address:
        yield Check("ok", "store", "the clips stay in the run's folder")
        return
    try:
        there = stores.look(address, World())
    except BatchgenError as error:
        advice = error.advice.removeprefix(stores.NOTHING).strip()
        yield Check("fail", "store", error.message, advice)
        return
    clips = sum(name.endswith(".mp4") for name in there)
    text = f"{address} takes clips, overwrites none, and has {clips:,}"
    yield Check("ok", "store", text)


def _machine(env: Settings) -> Iterator[Check]:
    if available_timezones():
        yield Check("ok", "time zones", "known")
    else:
        advice = "pip install tzdata"
        text = "none on this machine: a deadline can name no zone"
        yield Check("warn", "time zones", text, advice)
    if unused_proxy(env):
        yield Check("warn", "proxy", PROXY_NOTE)
    if direct_downloads(env):
        yield Check("warn", "proxy", DIRECT_NOTE, _DIRECT_ADVICE)
    elif env.proxy:
        yield Check("ok", "proxy", _PROXIED)
    for extra, (modules, without) in _EXTRAS.items():
        if all(find_spec(module) for module in modules):
            yield Check("ok", extra, "extra installed")
        else:
            text = f"extra not installed: {without}"
            yield Check("warn", extra, text, f"pip install 'batchgen[{extra}]'")


PROXY_NOTE = "HTTPS_PROXY is set and not used: batchgen's own is BATCHGEN_PROXY"

_PROXIED = (
    "BATCHGEN_PROXY carries the calls of the API, and the downloads, for which it is "
    "asked to connect to addresses; uploads go direct"
)
# Only an http proxy is asked for an address that was checked here.
DIRECT_NOTE = "BATCHGEN_PROXY carries the calls of the API; downloads go direct"
_DIRECT_ADVICE = "let this machine reach the hosts of the clips over https"


def direct_downloads(env: Settings) -> bool:
    """Whether a proxy is set that downloads cannot be asked of."""
    return bool(env.proxy) and proxy_of(env.proxy) is None


def unused_proxy(env: Settings) -> bool:
    """Whether the environment names a proxy that is meant for others."""
    there = env.environ.get("HTTPS_PROXY") or env.environ.get("https_proxy")
    return bool(there) and not env.proxy and not env.loopback
