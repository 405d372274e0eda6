"""The answers at the door are those of the command line behind it."""

import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

import batchgen.__main__ as door
from batchgen.cli import batchgen

HELP = Path(door.__file__).with_name("help.txt").read_text(encoding="utf-8")
LOADED = """
import sys
from batchgen.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def asked(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The door in a process of its own, which tells what it loaded."""
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        env=env | environ,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("word", ["--help", "-h", "--version"])
def test_what_is_written_down_needs_no_command_line(word: str) -> None:
    done = asked(word)
    behind = CliRunner().invoke(
        batchgen, [word], prog_name="batchgen", terminal_width=80
    )
    assert done.stdout == behind.output
    assert not {"click", "batchgen.cli", "pathlib"} & set(done.stderr.split())


def test_a_narrow_screen_gets_the_help_wrapped_anew() -> None:
    done = asked("--help", COLUMNS="60")
    assert done.stdout != HELP
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert "click" in done.stderr.split()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_so_does_a_narrow_terminal(columns: int) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    with os.fdopen(ours, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "batchgen", "--help"]
        subprocess.run(command, stdout=theirs, env=env, check=True)
        shown = screen.read(1 << 16).decode().replace("\r\n", "\n")
        os.close(theirs)
    assert (shown == HELP) is (columns >= 80)
    assert max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize("words", [("--help",), ("plan", "--help")])
def test_a_reader_who_left_gets_the_same_end(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "batchgen", *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


LEAVES = """
import atexit
from batchgen import cli
atexit.register(print, "last")
print("first")
cli.main(["status"])
"""


def test_a_look_ends_at_once_with_all_said_and_done(tmp_path: Path) -> None:
    env = os.environ | {"BATCHGEN_OUTPUTS": str(tmp_path), "PYTHONUNBUFFERED": ""}
    words = [sys.executable, "-c", LEAVES]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "first\nlast\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is full")
def test_what_cannot_be_said_at_the_end_is_no_success(tmp_path: Path) -> None:
    env = os.environ | {"BATCHGEN_OUTPUTS": str(tmp_path), "PYTHONUNBUFFERED": ""}
    words = [sys.executable, "-c", LEAVES]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, env=env, stdout=full, check=False)
    assert done.returncode == 120  # as Python has it
