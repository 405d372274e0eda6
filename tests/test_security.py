"""Each threat has a control, and each control a test that fails without it."""

import ast
import base64
import json
import logging
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_client import Server, client, reply, sends
from test_report_page import book, task, written
from test_report_page import story as story_of

import batchgen.client
from batchgen.answers import Answer, accepted, read
from batchgen.cli.exits import fail
from batchgen.cli.settings import key_note
from batchgen.cli.settings import read as read_settings
from batchgen.client import Client
from batchgen.downloads import carrier
from batchgen.errors import StoreError, Unavailable, Uncertain, UsageError
from batchgen.events import SessionClosed
from batchgen.journal import Journal
from batchgen.names import segment
from batchgen.pace import Pace
from batchgen.readers.environment import expand
from batchgen.records import Record, encode
from batchgen.redaction import Redaction
from batchgen.trust import trust
from batchgen.world import World
from conftest import Story, sandboxed

HERE = Path(__file__).parent
SOURCES = sorted(Path(batchgen.__file__).parent.rglob("*.py"))
CANARY = "wsk_9f3Zq7Lr2Xv8Tn4+Kb/6Jd1Hc5Mw0Ya"
"""A key that is found wherever it goes; its signs look different when encoded."""

CELLS = "test_every_quick_cell_comes_to_what_the_protocol_says_and_is_sent_once"

SWAPPED = "writes_nothing_through_a_link_that_took_a_folders_place"

CONTROLS: dict[str, list[str]] = {
    "D1 key by redirect": [
        "test_client::test_a_redirect_is_a_doubt_and_the_key_stays_at_home",
        "test_security::test_no_name_of_a_model_takes_the_key_to_another_origin",
    ],
    "D2 key in logs and files": [
        "test_security::test_the_key_is_in_nothing_that_a_run_leaves_or_says",
        "test_security::test_a_service_that_repeats_the_key_does_not_get_it_kept",
        "test_security::test_a_key_file_that_others_write_is_refused",
        "test_security::test_a_key_file_that_others_read_is_told",
        "test_security::test_a_crash_does_not_tell_the_key",
        "test_security::test_the_libraries_do_not_log_what_they_send",
        "test_security::test_a_manifest_cannot_ask_for_the_key",
        "test_client::test_no_error_tells_the_key",
    ],
    "D3 SSRF": [
        "test_addresses::test_anything_else_is_refused",
        "test_addresses::test_a_name_is_looked_up_once",
        "test_downloads::test_a_redirect_is_held_to_the_same_rules",
        "test_downloads::test_five_redirects_are_followed_and_no_more",
    ],
    "D4 ids in paths": ["test_security::test_no_id_leaves_its_place_in_the_path"],
    "D5 path traversal": [
        "test_security::test_a_name_stays_in_its_folder",
        "test_journal::test_a_state_file_that_is_a_link_is_not_followed",
        "test_downloads::test_a_link_in_place_of_the_final_file_is_not_followed",
        "test_downloads::test_a_link_in_place_of_the_part_is_refused",
        f"test_swaps::test_a_download_{SWAPPED}",
        f"test_swaps::test_a_move_{SWAPPED}",
        "test_swaps::test_a_run_holds_its_folder",
        "test_security::test_clips_are_not_bought_for_a_folder_that_is_a_link",
    ],
    "D6 extensions": [
        "test_downloads::test_what_is_no_clip_leaves_nothing",
        "test_security::test_no_file_of_a_run_can_be_executed",
    ],
    "D7 overwriting": ["test_downloads::test_a_file_of_the_user_is_never_overwritten"],
    "D8 YAML bombs": [
        "test_language_fuzz::test_what_is_built_to_explode_does_not",
        "test_readers::test_an_alias_bomb_is_refused",
        "test_readers::test_yaml_mistakes_have_our_words",
    ],
    "D9 JSON abuse": [
        "test_security::test_an_answer_that_can_be_read_in_two_ways_is_a_doubt",
        "test_security::test_no_json_is_slow_or_breaks",
        "test_client::test_what_comes_back_decides_and_nothing_is_sent_twice",
    ],
    "D10 endless answers": [
        "test_downloads::test_a_slow_body_is_given_up_after_a_minute",
        "test_downloads::test_a_silent_body_is_given_up_after_half_a_minute",
        "test_downloads::test_more_than_two_gibibytes_are_no_clip",
        "test_security::test_a_flood_of_interim_answers_is_a_doubt",
        f"test_http_matrix::{CELLS}",
    ],
    "D11 decompression": ["test_downloads::test_what_is_no_clip_leaves_nothing"],
    "D12 CSV formulas": [
        "test_report::test_a_cell_that_could_be_a_formula_is_text",
        "test_report::test_every_physical_line_of_a_cell_is_text",
        "test_report::test_no_cell_of_the_sheet_can_be_a_formula",
    ],
    "D13 HTML injection": [
        "test_security::test_no_payload_is_markup_in_the_report",
        "test_report_page::test_texts_from_outside_are_text",
        "test_report_page::test_only_the_one_script_may_run_and_nothing_may_load",
        "test_browser::test_every_clip_is_shown_once",
    ],
    "D14 terminal escapes": [
        "test_report::test_nothing_in_a_safe_text_is_obeyed",
        "test_report::test_a_text_cannot_command_the_terminal",
        "test_progress::test_a_notice_above_the_bars_commands_nothing",
    ],
    "D15 log injection": [
        "test_progress::test_a_message_stays_on_its_line_and_commands_nothing",
        "test_security::test_no_text_makes_two_records_of_one",
    ],
    "D16 state tampering": [
        "test_security::test_a_folder_that_anybody_may_write_in_is_refused",
        "test_security::test_the_folder_of_another_user_is_refused",
        "test_security::test_a_run_folder_that_is_a_link_is_refused",
        "test_cli::test_an_edited_state_file_stops_spending",
    ],
    "D17 signed links": [
        "test_answers::test_a_signature_is_never_kept",
        "test_addresses::test_no_complaint_repeats_a_signed_link",
    ],
    "D18 private prompts": [
        "test_journal::test_files_of_a_run_are_its_owners_alone",
        "test_security::test_a_new_run_is_its_owners_alone",
        "test_security::test_no_other_user_reads_a_prompt_whatever_the_umask",
        "test_repairs::test_a_rescue_file_can_be_imported",
    ],
    "D19 TLS": [
        "test_security::test_certificates_are_always_checked",
        "test_security::test_a_plain_base_address_is_refused",
    ],
    "D20 environment": [
        "test_client::test_the_proxies_of_the_environment_are_not_used",
        "test_security::test_a_proxy_does_not_tell_its_password",
    ],
    "D21 code execution": ["test_security::test_no_module_runs_what_it_reads"],
    "D22 endpoint": ["test_cli::test_a_run_of_another_endpoint_is_refused"],
    "D23 supply chain": [
        "test_security::test_each_dependency_has_a_bound_and_a_reason"
    ],
    "D24 locks": [
        "test_journal::test_a_second_opener_is_told_who_holds_the_run",
        "test_story::test_a_second_runner_is_told_who_holds_the_run",
    ],
    "D25 exhaustion": [
        "test_language_fuzz::test_what_is_built_to_explode_does_not",
        "test_records::test_a_line_of_64_kib_fits_and_one_byte_more_does_not",
    ],
}
"""Threat by threat, as in the design."""


def functions(module: str) -> set[str]:
    tree = ast.parse((HERE / f"{module}.py").read_bytes())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_each_threat_points_to_tests_that_are_there() -> None:
    named = [one.split("::") for rows in CONTROLS.values() for one in rows]
    missing = [f"{file}::{name}" for file, name in named if name not in functions(file)]
    assert missing == []
    numbers = {int(re.findall(r"D(\d+)", row)[0]) for row in CONTROLS}
    assert numbers == set(range(1, 26))


# D1, D4


@pytest.mark.anyio
@pytest.mark.parametrize(
    "model",
    ["{there}/x", "//{host}/x", "/{host}/x", "../../x", "x?a=b", "x#y", "@{host}"],
)
async def test_no_name_of_a_model_takes_the_key_to_another_origin(model: str) -> None:
    answer = reply(404, {"code": 404, "message": "no"})
    with Server(sends(answer)) as there, Server(sends(answer)) as home:
        host = there.url.removeprefix("http://")
        async with client(home.url, CANARY) as api:
            with pytest.raises((Uncertain, Exception)):
                await api.submit(model.format(there=there.url, host=host), {})
    assert there.connections == 0
    assert home.connections == 1


@pytest.mark.anyio
async def test_no_id_leaves_its_place_in_the_path() -> None:
    ids = [
        "../../balance",
        "a/b",
        "a?b",
        "a#b",
        "%2e%2e",
        "a b",
        "http://x/",
        "é",
        "\0",
    ]
    with Server(sends(reply(404, b"", {"Connection": "close"}))) as server:
        async with client(server.url) as api:
            for name in ids:
                with pytest.raises(Unavailable):
                    await api.result(name)
    paths = [request.split(b" ")[1].decode() for request in server.requests]
    shape = re.compile(r"/api/v3/predictions/[A-Za-z0-9_.~%-]+/result")
    assert [path for path in paths if not shape.fullmatch(path)] == []
    assert len(paths) == len(ids)


# D2: the canary


def forms(secret: str) -> list[bytes]:
    raw = secret.encode()
    shifted = [base64.b64encode(b"\0" * n + raw)[4:-4] for n in range(3)]
    safe = [text.translate(bytes.maketrans(b"+/", b"-_")) for text in shifted]
    return [raw, quote(secret, safe="").encode(), *shifted, *safe]


def echoes(secret: str) -> list[str]:
    """How a page may repeat it."""
    raw = secret.encode()
    coded = [base64.b64encode(b"Bearer "[n:] + raw + b":x").decode() for n in range(3)]
    safe = [text.replace("+", "-").replace("/", "_") for text in coded]
    return [secret, quote(secret, safe=""), *coded, *safe]


def told(text: bytes) -> list[bytes]:
    return [form for form in forms(CANARY) if form in text]


@pytest.fixture(scope="module")
def bad_night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root = tmp_path_factory.mktemp("canary")
    with sandboxed(root, "--faults", "flaky") as found:
        yield Story(root, found.api, root / "sandbox")


@pytest.mark.slow
def test_the_key_is_in_nothing_that_a_run_leaves_or_says(bad_night: Story) -> None:
    bad_night.environ["WAVESPEED_API_KEY"] = CANARY
    manifest = bad_night.manifest([f"canary boat {n}" for n in range(8)])
    said = b""
    for flags in (["--verbose"], ["--json"], ["--retry", "absent", "--quiet"]):
        found = bad_night.command("run", str(manifest), *flags)
        said += (found.stdout + found.stderr).encode()
    for command in (["status", manifest.stem], ["plan", str(manifest)], ["doctor"]):
        found = bad_night.command(*command)
        said += (found.stdout + found.stderr).encode()
    bad_night.environ["WAVESPEED_API_KEY"] = f"wrong{CANARY}"
    again = bad_night.manifest(["wrong key"])
    found = bad_night.command("run", str(again))
    assert found.returncode == 4
    said += (found.stdout + found.stderr).encode()
    assert len(said) > 1000
    assert told(said) == []
    left = [path for path in (bad_night.root / "outputs").rglob("*") if path.is_file()]
    assert {"state.jsonl", "run.log", "summary.json"} <= {path.name for path in left}
    assert [path for path in left if told(path.read_bytes())] == []


@pytest.mark.anyio
@pytest.mark.parametrize("form", range(8))
@pytest.mark.parametrize("status", [200, 400, 401, 502])
async def test_a_service_that_repeats_the_key_does_not_get_it_kept(
    form: int, status: int
) -> None:
    secret = echoes(CANARY)[form]
    assert told(secret.encode())
    body = {"code": status, "message": f"bad key {secret}, go away"}
    with Server(sends(reply(status, body))) as server:
        async with client(server.url, CANARY) as api:
            with pytest.raises((Uncertain, Exception)) as caught:
                await api.submit("m", {})
            with pytest.raises(Unavailable) as seen:
                await api.result("p")
    kept = f"{caught.value!r} {getattr(caught.value, 'evidence', '')} {seen.value!r}"
    assert "bad key" in str(caught.value)
    assert told(kept.encode()) == []


@pytest.mark.anyio
async def test_a_status_line_that_is_the_key_is_not_kept_either() -> None:
    with Server(sends(f"HTTP/1.1 {CANARY}\r\n\r\n".encode())) as server:
        async with client(server.url, CANARY) as api:
            with pytest.raises(Uncertain) as caught:
                await api.submit("m", {})
    assert told(str(caught.value).encode()) == []


@given(st.binary(max_size=7), st.binary(max_size=7))
def test_a_secret_is_found_wherever_base64_puts_it(left: bytes, right: bytes) -> None:
    text = base64.b64encode(left + CANARY.encode() + right)
    assert told(text)
    assert told(Redaction(CANARY)(text)) == []


def test_an_ordinary_word_is_no_secret() -> None:
    assert Redaction("sandbox", "")(b"a sandbox") == b"a sandbox"


def test_a_key_file_that_others_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(CANARY)
    file.chmod(0o620)
    with pytest.raises(UsageError, match="others may write the key file"):
        read_settings({"WAVESPEED_API_KEY_FILE": str(file)})


def test_a_key_file_that_others_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{CANARY}\n")
    for mode, note in ((0o644, "others may read"), (0o600, "")):
        file.chmod(mode)
        found = read_settings({"WAVESPEED_API_KEY_FILE": str(file)})
        assert found.key == CANARY
        assert key_note(found).startswith(note)
        assert bool(key_note(found)) == bool(note)
        assert CANARY not in repr(found)


def test_a_crash_does_not_tell_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAVESPEED_API_KEY", CANARY)
    code = fail(ValueError(f"Bearer {CANARY}"), command="run", as_json=True)
    said = capsys.readouterr()
    assert (code, "ValueError" in said.err) == (70, True)
    assert told(f"{said.out}{said.err}".encode()) == []


def test_the_libraries_do_not_log_what_they_send() -> None:
    carrier()
    for name in ("httpx", "httpcore"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING


def test_a_manifest_cannot_ask_for_the_key() -> None:
    for name in ("WAVESPEED_API_KEY", "BATCHGEN_PROXY"):
        text, mistakes = expand(f"a ${{{name}:-b}}", {name: CANARY})
        assert CANARY not in text
        assert [mistake.rule for _, mistake in mistakes] == ["secret-variable"]


# D5, D6


@given(st.text(max_size=200))
def test_a_name_stays_in_its_folder(text: str) -> None:
    name = segment(text)
    assert not set(name) & set('/\\\0:*?"<>|')
    assert not name.startswith((".", "-"))
    assert len(name.encode()) <= 120


def test_no_file_of_a_run_can_be_executed(bad_night: Story) -> None:
    bad_night.environ["WAVESPEED_API_KEY"] = CANARY
    manifest = bad_night.manifest(["mode boat"])
    bad_night.command("run", str(manifest), "--retry", "absent")
    files = [path for path in bad_night.folder(manifest).rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if path.stat().st_mode & 0o111] == []


# D9


TAKEN = b'{"id": "p1", "model": "m", "status": "created"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": 200, "data": %s, "data": {"id": "p2"}}' % TAKEN,
        b'{"code": 200, "code": 400, "data": %s}' % TAKEN,
        b'{"code": 200, "data": {"id": "p1", "id": "p2"}}',
        b'{"code": 200, "data": {"id": "p1", "x": NaN}}',
        b'{"code": 200, "data": {"id": "p1", "x": Infinity}}',
        b'{"code": 200, "data": {"id": "p1", "x": %s}}' % (b"[" * 64 + b"]" * 64),
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_is_a_doubt(body: bytes) -> None:
    with pytest.raises(Uncertain):
        accepted(Answer(200, {}, body))
    with pytest.raises(Unavailable):
        read(Answer(200, {}, body))


def test_what_is_harmless_is_still_read() -> None:
    odd = b'{"code": 200, "data": {"id": "p1", "x": 1, "x": 2, "y": "[[[{"}}'
    assert accepted(Answer(200, {}, odd)).id == "p1"
    deep = b'{"code": 200, "data": {"id": "p1", "x": %s}}' % (b"[" * 62 + b"]" * 62)
    assert accepted(Answer(200, {}, deep)).id == "p1"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2**21,
        b'{"a":' * 2**18,
        b'"\\"' * 2**19,
        b'"' * (2**21 - 1),
        b"\\" * 2**21,
    ],
)
def test_no_json_is_slow_or_breaks(body: bytes) -> None:
    with pytest.raises(Uncertain):
        accepted(Answer(200, {}, body))


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([200, 201, 204, 409, 500, 302]))
def test_no_answer_is_anything_but_a_doubt_unless_it_has_an_id(
    body: bytes, http: int
) -> None:
    with pytest.raises(Uncertain):
        accepted(Answer(http, {}, body))


# D10


@pytest.mark.anyio
async def test_a_flood_of_interim_answers_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flood(peer: socket.socket, request: bytes) -> None:
        del request
        while True:  # until the other side hangs up
            peer.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    monkeypatch.setattr(batchgen.client, "_SUBMIT_DEADLINE", 0.5)
    with Server(flood) as server:
        async with client(server.url) as api:
            with pytest.raises(Uncertain) as caught:
                await api.submit("m", {})
    assert caught.value.phase in ("no answer", "body incomplete")
    assert server.posts == 1


# D13

PAYLOADS = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><svg/onload=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<style>@import '//evil.test'</style>",
    "<base href=//evil.test/>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "{{ 7 * 7 }}{% for x in y %}",
    "javascript:alert(1)",
    "</title></noscript><b>bold",
    "\u2028\u2029<x>",
    "\0<x>",
)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_is_markup_in_the_report(payload: str) -> None:
    def skeleton(text: str) -> list[str]:
        found = Skeleton()
        found.feed(page_of(text))
        return found.tags

    def page_of(text: str) -> str:
        one = replace(task(1, "x", text, note=text), slug=text)
        return written(book([one], story_of(one, "moderation"), run=text))

    assert skeleton(payload) == skeleton("harmless")


class Skeleton(HTMLParser):
    """Tags and names of attributes of a page, as a reader sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {sorted(name for name, _ in attrs)}")
        links = [value or "" for name, value in attrs if name in ("href", "src")]
        assert not any(link.startswith(("javascript:", "//")) for link in links)


# D15, D16


@given(st.text(max_size=80))
def test_no_text_makes_two_records_of_one(text: str) -> None:
    closed = SessionClosed(exit=0, reason=text, spent=0, committed=0)
    line = encode(Record(1, "2026-10-01T12:00:00.000Z", closed))
    assert line.isascii()
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert json.loads(line)["reason"] == text


def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "run"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("which", [".", ".."])
def test_a_folder_that_anybody_may_write_in_is_refused(
    tmp_path: Path, which: str
) -> None:
    folder = run_folder(tmp_path)
    (folder / which).chmod(0o777)
    with pytest.raises(StoreError, match="everybody may write") as caught:
        Journal.open(folder, World())
    assert "Nothing was submitted" in caught.value.advice
    (folder / which).chmod(0o777 | stat.S_ISVTX)
    Journal.open(folder, World()).close()


def test_the_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4242)
    with pytest.raises(StoreError, match="another user"):
        Journal.open(folder, World())


def test_a_run_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(StoreError, match="link"):
        Journal.open(link, World())


def test_clips_are_not_bought_for_a_folder_that_is_a_link(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder / "videos").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="videos is not a folder but") as caught:
        Journal.open(folder, World())
    assert "Nothing was submitted" in caught.value.advice


def test_a_new_run_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "run"
    Journal.open(folder, World()).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["state.jsonl"] == modes[".lock"] == 0o600


def readable(top: Path) -> Iterator[Path]:
    """Files that another user of the machine can get at."""
    for path in top.iterdir():
        mode = path.stat().st_mode
        if path.is_dir() and mode & 0o011:
            yield from readable(path)
        elif path.is_file() and mode & 0o044:
            yield path


PRIVATE = {"state.jsonl", ".lock"}
"""By themselves; the rest of a run is covered by its folder."""


@pytest.mark.parametrize("umask", ["000", "022"])
def test_no_other_user_reads_a_prompt_whatever_the_umask(
    story: Story, umask: str
) -> None:
    secret = f"veiled{umask}"
    manifest = story.manifest([f"{secret} boat", f"{secret} ship"])
    outputs = story.root / f"veiled-{umask}" / "outputs"
    runtime = story.root / f"veiled-{umask}" / "runtime"
    story.environ["BATCHGEN_OUTPUTS"] = str(outputs)
    story.environ["XDG_RUNTIME_DIR"] = str(runtime)
    story.environ["XDG_CONFIG_HOME"] = str(runtime / "config")
    story.environ["XDG_STATE_HOME"] = str(runtime / "state")
    for command in (["run", str(manifest)], ["report", manifest.stem]):
        found = subprocess.run(
            [sys.executable, "-m", "batchgen", *command],
            capture_output=True,
            text=True,
            env=story.env(),
            umask=int(umask, 8),
            timeout=100,
            check=False,
        )
        assert found.returncode == 0, found.stderr
    folder = outputs / story.folder(manifest).name
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert {*PRIVATE, "summary.json", "run.log", "videos"} <= modes.keys()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [name for name in PRIVATE if modes[name] != 0o600] == []
    telling = [
        path
        for path in outputs.parent.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert folder / "state.jsonl" in telling
    found_out = {path.name for path in telling}
    assert {"report.html", "results.csv", "tasks.jsonl", "statement.csv"} <= found_out
    assert set(readable(outputs.parent)).isdisjoint(telling)


# D19 to D23


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call):
                yield path.name, node


def test_certificates_are_always_checked() -> None:
    context = trust()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    switched = [
        f"{file}:{call.lineno}"
        for file, call in calls()
        for word in call.keywords
        if word.arg == "verify" and isinstance(word.value, ast.Constant)
    ]
    assert switched == []


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "ftp://x", "https://u:p@x", "http://127.0.0.1.x"]
)
def test_a_plain_base_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        read_settings({"WAVESPEED_BASE_URL": url})


@pytest.mark.anyio
async def test_a_proxy_does_not_tell_its_password() -> None:
    password = CANARY.replace("+", "p").replace("/", "s")
    proxy = f"http://user:{password}@127.0.0.1:9"
    found = read_settings({"BATCHGEN_PROXY": proxy})
    assert password not in repr(found)
    async with Client.connect(
        "https://api.example.com",
        CANARY,
        pace=Pace(None, 1),
        now=lambda: datetime(2026, 10, 1, tzinfo=UTC),
        proxy=proxy,
    ) as api:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any error must keep it
            await api.submit("m", {})
    assert password not in f"{caught.value!r}{caught.value.__cause__!r}"


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "imp", "dill", "requests"}


def test_no_module_runs_what_it_reads() -> None:
    found = [
        f"{file}:{call.lineno} {ast.unparse(call.func)}"
        for file, call in calls()
        if ast.unparse(call.func) in FORBIDDEN_CALLS
        or any(
            word.arg == "shell" and ast.unparse(word.value) != "False"
            for word in call.keywords
        )
        or (ast.unparse(call.func) == "yaml.load")
    ]
    assert found == []
    imported = {
        name.split(".")[0]
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [one.name for one in node.names]
        )
    }
    assert imported & FORBIDDEN_MODULES == set()


def test_each_dependency_has_a_bound_and_a_reason() -> None:
    text = (HERE.parent / "pyproject.toml").read_text(encoding="utf-8")
    wanted = tomllib.loads(text)["project"]["dependencies"]
    assert [one for one in wanted if ">=" not in one] == []
    lines = text.partition("dependencies = [")[2].partition("]")[0].strip().split("\n")
    assert [line for line in lines if "#" not in line] == []
    assert not any("wavespeed" in one for one in wanted)


# The order of system calls, as the kernel saw it.


def system_calls(story: Story, manifest: Path, trace: Path) -> list[str]:
    command = ["strace", "-f", "-y", "-s", "100000", "-o", str(trace), "-e"]
    command += ["trace=write,sendto,fdatasync,connect,pwrite64"]
    command += [sys.executable, "-m", "batchgen", "run", str(manifest)]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=story.env(),
        check=False,
        timeout=100,
    )
    if "ptrace" in found.stderr and found.returncode:
        pytest.skip("this machine does not let processes be traced")
    assert found.returncode == 0, found.stderr
    return trace.read_text(errors="replace").splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_every_request_leaves_after_its_intent_was_synced(
    story: Story, tmp_path: Path
) -> None:
    manifest = story.manifest([f"trace boat {n}" for n in range(12)])
    written = synced = sent = 0
    hosts = set()
    for line in system_calls(story, manifest, tmp_path / "trace"):
        if "resumed>" in line and "fdatasync" in line and line.endswith("= 0"):
            synced = written
        if "write(" in line and "state.jsonl" in line:
            written += line.count("AttemptStarted")
        elif "fdatasync(" in line and "state.jsonl" in line and line.endswith("= 0"):
            synced = written
        elif "connect(" in line and "sin_port" in line:
            hosts |= set(re.findall(r'inet_addr\("([^"]+)"\)', line))
        elif (
            "sendto(" in line
            and '"POST /api/v3/' in line
            and not re.search(
                r"/api/v3/(predictions|model/price|model/pricing|billings/\S+) ", line
            )
        ):
            sent += 1
            assert sent <= synced, f"request {sent} left before its intent was synced"
    assert sent == 12
    assert hosts == {"127.0.0.1"}
