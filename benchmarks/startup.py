"""What a command costs before it does anything: CPU against `python -c pass`.

python -m benchmarks.startup [--quick]

Commands take turns, so that a busy machine is unfair to all alike; the median of all
rounds counts, user and system time together.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, main

BATCHGEN = (sys.executable, "-m", "batchgen")
NOTHING = (sys.executable, "-c", "pass")
SHEET = "id,prompt,duration\n" + "".join(f"c{n},A boat {n},5\n" for n in range(10))
LIST = "prompts:\n" + "".join(f"  - A boat {n}\n" for n in range(10))
ROUNDS = 15


def cpu(command: tuple[str, ...], environ: dict[str, str]) -> float:
    """CPU seconds of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(*, quick: bool) -> Iterator[Figure]:
    """The help, and the plan of ten prompts from a sheet and from a document."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ten.csv").write_text(SHEET, encoding="utf-8")
        (folder / "ten.yaml").write_text(LIST, encoding="utf-8")
        environ = {**os.environ, "BATCHGEN_OUTPUTS": str(folder / "outputs")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as installed
        commands = {
            "": NOTHING,
            "--help": (*BATCHGEN, "--help"),
            "plan of ten prompts, CSV": (*BATCHGEN, "plan", str(folder / "ten.csv")),
            "plan of ten prompts, YAML": (*BATCHGEN, "plan", str(folder / "ten.yaml")),
        }
        spent: dict[str, list[float]] = {title: [] for title in commands}
        for turn in range(3 if quick else ROUNDS + 1):
            for title, command in commands.items():
                seconds = cpu(command, environ)
                if turn:  # the first one compiles
                    spent[title].append(seconds * 1000)
    middle = {title: statistics.median(found) for title, found in spent.items()}
    nothing = middle.pop("")
    for title, milliseconds in middle.items():
        bounds = (5.0, 3.0) if title == "--help" else (15.0, 8.0)
        yield Figure(
            "P7", title, milliseconds, "ms", *bounds, peer="python", theirs=nothing
        )


if __name__ == "__main__":
    main(measure)
