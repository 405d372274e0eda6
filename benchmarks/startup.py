# ruff: noqa: INP001 - benchmarks is a folder of scripts, not a package
"""What a command costs before it does anything: CPU against `python -c pass`.

    python benchmarks/startup.py [--rounds 7]

Commands take turns, so that a busy machine is unfair to all alike; the best of all
rounds counts, user and system time together. Ends with 1 past a bound.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

BATCHGEN = (sys.executable, "-m", "batchgen")
SHEET = "id,prompt,duration\n" + "".join(f"c{n},A boat {n},5\n" for n in range(10))
LIST = "prompts:\n" + "".join(f"  - A boat {n}\n" for n in range(10))


def cpu(command: tuple[str, ...], environ: dict[str, str]) -> float:
    """CPU seconds of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603 - commands of this file
        command, check=True, capture_output=True, env=environ
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure all commands; 1 if one is past its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ten.csv").write_text(SHEET, encoding="utf-8")
        (folder / "ten.yaml").write_text(LIST, encoding="utf-8")
        environ = {**os.environ, "BATCHGEN_OUTPUTS": str(folder / "outputs")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as installed
        commands = {
            "python -c pass": ((sys.executable, "-c", "pass"), None),
            "import pydantic": ((sys.executable, "-c", "import pydantic.main"), None),
            "--help": ((*BATCHGEN, "--help"), 5.0),
            "plan ten.csv": ((*BATCHGEN, "plan", str(folder / "ten.csv")), 15.0),
            "plan ten.yaml": ((*BATCHGEN, "plan", str(folder / "ten.yaml")), 15.0),
        }
        best = dict.fromkeys(commands, float("inf"))
        for _ in range(rounds):
            for title, (command, _bound) in commands.items():
                best[title] = min(best[title], cpu(command, environ))
    worst = 0
    for title, (_, bound) in commands.items():
        ratio = best[title] / best["python -c pass"]
        past = bound is not None and ratio > bound
        worst = max(worst, int(past))
        limit = f"bound {bound:4.0f} x" if bound else "for comparison"
        print(  # noqa: T201 - what a benchmark is for
            f"{title:<16} {best[title] * 1000:6.1f} ms  {ratio:5.1f} x  {limit}"
            f"{'  PAST ITS BOUND' * past}"
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
