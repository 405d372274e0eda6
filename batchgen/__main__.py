"""`batchgen` and `python -m batchgen`: the door, which opens at once.

Asking how a program is used, or how old it is, should take no longer than Python does.
Those answers are written down, and a test holds them against the real ones; everything
else is for the command line behind.
"""

import gc
import os
import sys

from batchgen import __version__

_HELP = (["--help"], ["-h"])
_COLUMNS = 80  # of the help as it is written down


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    # Much is kept and nothing goes in circles: to look for that costs a fifth of a run.
    gc.set_threshold(50_000, 50, 1_000)
    if not _answered(sys.argv[1:]):
        from batchgen import cli  # noqa: PLC0415 - heavy

        cli.main()


def _answered(words: list[str]) -> bool:
    """Whether the answer was written down, and somebody took it."""
    if words == ["--version"]:
        text = f"batchgen {__version__}\n"
    elif words in _HELP and _roomy():
        path = os.path.join(os.path.dirname(__file__), "help.txt")  # noqa: PTH118, PTH120 - pathlib is heavy
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the same
            text = file.read()
    else:
        return False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (AttributeError, OSError):  # no standard output: what then is said elsewhere
        return False
    return True


def _roomy() -> bool:
    """Whether the help need not be wrapped anew."""
    if "COLUMNS" in os.environ:
        return False
    try:
        return os.get_terminal_size(1).columns >= _COLUMNS
    except OSError:
        return True  # no terminal: a pipe or a file


if __name__ == "__main__":
    main()
