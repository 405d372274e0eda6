"""The run's log, on a disk that may be full."""

import os
from pathlib import Path


class Log:
    """A file that lines are appended to; what the disk does not take is left out.

    It is tried again with each line, and told how many are missing.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o666)
        self._missing = 0
        self._torn = False

    def write(self, line: str) -> int:
        """Append one line, or count it; its length."""
        if not self._missing or self._put(self._apology()):
            self._missing = 0 if self._put(line) else self._missing + 1
        else:
            self._missing += 1
        return len(line)

    def _apology(self) -> str:
        count = "1 line is" if self._missing == 1 else f"{self._missing} lines are"
        return f"[{count} missing here: the disk did not take them]\n"

    def _put(self, line: str) -> bool:
        data = ("\n" if self._torn else "").encode() + line.encode()
        try:
            done = os.write(self._handle, data)
        except OSError:
            return False
        if done:
            self._torn = done < len(data)
        return done == len(data)

    def flush(self) -> None:
        """Every line is written at once."""

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)
