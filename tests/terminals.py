"""A real terminal for tests: tmux, driven by keys and read from its screen."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

_TMUX = shutil.which("tmux") or ""
needs_tmux = pytest.mark.skipif(not _TMUX, reason="tmux is not installed")
_PATIENCE = 60.0  # seconds; a hung program must not hang the tests


class Terminal:
    """One window of 80 columns and 24 rows, with a shell in it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def keys(self, *keys: str) -> None:
        """Type; `Enter` and `C-c` are keys."""
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        """What is to be seen now, and what scrolled by."""
        text = self._tmux("capture-pane", "-p", "-J", "-S", "-200")
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"

    def until(self, wanted: Callable[[str], object]) -> str:
        """The first screen that is wanted."""
        end = time.monotonic() + _PATIENCE
        while not wanted(text := self.screen()):
            assert time.monotonic() < end, f"never seen:\n{text}"
            time.sleep(0.02)
        return text

    def _tmux(self, *words: str) -> str:
        found = subprocess.run(
            [_TMUX, "-S", str(self._socket), *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout


@contextmanager
def terminal(folder: Path, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal whose shell has this environment and a prompt of `$ `."""
    socket = folder / "tmux.sock"
    base = [_TMUX, "-S", str(socket), "-f", "/dev/null"]
    shell = "env PS1='$ ' bash --norc --noprofile"
    subprocess.run(
        [*base, "new-session", "-d", "-x", "80", "-y", "24", "-c", str(folder), shell],
        env={**environ, "TERM": "xterm-256color"},
        check=True,
    )
    try:
        yield Terminal(socket)
    finally:
        subprocess.run([*base, "kill-server"], check=False)
