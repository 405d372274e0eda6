"""Every benchmark, or those that are named, one after the other, and one table.

    python -m benchmarks [NAME ...] [--quick] [--json]

Each runs in a process of its own, so that none lends another its memory, its core or
its crash. Ends with 1 if one is past its bound, and with 2 for a name that is none.
"""

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Outcome, document, flags, machine, passed, table

HERE = Path(__file__).parent


def names() -> list[str]:
    """Every benchmark there is: the modules with a function `measure`."""
    return sorted(file.stem for file in HERE.glob("[a-z]*.py") if _measures(file))


def _measures(file: Path) -> bool:
    body = ast.parse(file.read_bytes()).body
    return any(
        isinstance(one, ast.FunctionDef) and one.name == "measure" for one in body
    )


def run(name: str, *, quick: bool) -> Outcome:
    """One benchmark in its own process, which may talk on stderr."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    done = subprocess.run(
        [*command, "--quick"] if quick else command,
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        return Outcome.parse(done.stdout.splitlines()[-1])
    except (ValueError, IndexError, TypeError):
        return Outcome(
            name, crashed=f"it ended with {done.returncode}, without figures"
        )


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = names()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    flags(parser)
    asked = parser.parse_args()
    if strangers := set(asked.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(strangers))}; {', '.join(known)}")
    chosen = [name for name in known if not asked.names or name in asked.names]
    outcomes = [run(name, quick=asked.quick) for name in chosen]
    if asked.json:
        print(json.dumps(document(outcomes, quick=asked.quick), indent=2))
    else:
        print(machine(), table(outcomes, quick=asked.quick), sep="\n\n")
    return 0 if passed(outcomes, quick=asked.quick) else 1


if __name__ == "__main__":
    sys.exit(main())
