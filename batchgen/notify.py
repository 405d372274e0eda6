"""Tells somebody how a run ended: a webhook, or a command on this machine.

A notice that fails changes nothing about the run; it is told in a sentence. The
address of a webhook is a secret, so no sentence repeats more than its host.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from batchgen import report
from batchgen.keys import Happening, NoticeKeys

_SLACK = "hooks.slack.com"
_PATIENCE = 10.0  # seconds for an answer of a webhook
_PATIENCE_WITH_COMMANDS = 30.0
_SECRETS = ("WAVESPEED_API_KEY", "WAVESPEED_API_KEY_FILE")
_QUIET = ("done", "nothing_to_do", "some_failed", "uncertain")


def happened(document: Mapping[str, Any]) -> frozenset[Happening]:
    """What an ending was: all of it, and nothing where there was nothing to do."""
    reason, counts = document["reason"], document.get("counts", {})
    found: set[Happening] = set()
    if reason == "done":
        found.add("done")
    if reason not in _QUIET:
        found.add("stopped")
    if reason != "nothing_to_do":
        if any(counts.get(word) for word in ("failed", "rejected", "lost")):
            found.add("failed")
        if counts.get("uncertain"):
            found.add("uncertain")
    return frozenset(found)


def send(
    notices: Iterable[NoticeKeys],
    document: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    proxy: str | None = None,
) -> Iterator[str]:
    """Give the notices that are due; why some did not get through.

    Args:
        notices: of the manifest.
        document: the summary, or what there is of it after an error.
        environ: of the commands; the API's key is kept from them.
        proxy: for webhooks.
    """
    due = happened(document)
    for notice in notices:
        if not due.intersection(notice.on):
            continue
        if notice.webhook is not None:
            trouble = _post(notice.webhook, document, proxy)
        else:
            trouble = _run(notice.command or [], document, environ)
        if trouble:
            yield trouble


def line(document: Mapping[str, Any]) -> str:
    """The summary in one line, for people."""
    counts, error = document.get("counts"), document.get("error")
    if not counts:
        message = f": {error['message']}" if error else ""
        return f"{document['run']} stopped ({document['reason']}){message}"
    words = ("failed", "rejected", "lost", "uncertain")
    odd = "".join(f", {counts[word]} {word}" for word in words if counts[word])
    cap = document.get("budget_usd")
    money = f"${document['spent_usd']}" + (f" of ${cap}" if cap is not None else "")
    how = document["reason"].replace("_", " ")
    clips = f"{counts['done']} of {counts['total']} clips done{odd}"
    return f"{document['run']}: {clips}; {money} spent; {how}"


def _post(url: str, document: Mapping[str, Any], proxy: str | None) -> str:
    host = urlsplit(url).hostname or ""
    body = report.to_json(
        {"text": line(document)} if host == _SLACK else dict(document)
    )
    headers = {"content-type": "application/json"}
    # A webhook on this machine is not reached through a proxy somewhere else.
    via = proxy if url.startswith("https://") else None
    try:
        with httpx.Client(timeout=_PATIENCE, trust_env=False, proxy=via) as http:
            status = http.post(url, content=body, headers=headers).status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        return f"the notice to {host} did not get through: {type(error).__name__}"
    if status < 300:  # noqa: PLR2004 - a redirect is no delivery
        return ""
    return f"the notice to {host} was answered with HTTP {status}"


def _run(
    command: list[str], document: Mapping[str, Any], environ: Mapping[str, str]
) -> str:
    name = command[0]
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own words, without a shell
            command,
            input=report.to_json(dict(document)).encode() + b"\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={k: v for k, v in environ.items() if k not in _SECRETS},
            timeout=_PATIENCE_WITH_COMMANDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the command {name} of a notice took too long and was ended"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return f"the command {name} of a notice did not start: {reason}"
    if ended.returncode == 0:
        return ""
    return f"the command {name} of a notice ended with {ended.returncode}"
