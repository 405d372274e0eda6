"""Breaks money code on purpose, one line at a time, and asks whether a test notices."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from .mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
_COPIED = ("batchgen", "tests", "manifests", "pyproject.toml", "README.md")


def places(mutation: Mutation, root: Path = ROOT) -> int:
    """How often the text to be broken stands in its file; once is right."""
    text = (root / "batchgen" / mutation.file).read_text(encoding="utf-8")
    return text.count(mutation.old)


def copy(root: Path) -> Path:
    """A tree to break."""
    root.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        elif source.exists():
            shutil.copy(source, root / name)
    return root


def tested(root: Path, tests: str) -> tuple[int, str]:
    """Exit code of the tests in a tree, and what they said last."""
    found = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--no-header"),
            *("-p", "no:cacheprovider", "--timeout", "60", *tests.split()),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    words = found.stdout.strip().splitlines() or found.stderr.strip().splitlines()
    failed = [line for line in words if line.startswith(("FAILED", "ERROR"))]
    return found.returncode, (failed or words or ["nothing was said"])[-1]


def killed(mutation: Mutation, root: Path) -> tuple[bool, str]:
    """Whether its tests notice it in this tree, which is whole again afterwards."""
    file = root / "batchgen" / mutation.file
    whole = file.read_text(encoding="utf-8")
    try:
        file.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
        code, word = tested(root, mutation.tests)
    except subprocess.TimeoutExpired:
        return True, "it hangs"
    finally:
        file.write_text(whole, encoding="utf-8")
    return code == 1, word


def main(argv: Sequence[str]) -> int:
    """Try every mutation; 1 if one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign mutants")
    parser.add_argument("--only", default="", help="parts of names or files, by commas")
    parser.add_argument("--jobs", type=int, default=2)
    flags = parser.parse_args(argv)
    words = flags.only.split(",")
    chosen = [
        one
        for one in MUTATIONS
        if any(word in f"{one.name} {one.file}" for word in words)
    ]
    began, survivors = time.monotonic(), 0
    trees: SimpleQueue[Path] = SimpleQueue()

    def attempt(mutation: Mutation) -> tuple[bool, str]:
        if places(mutation) != 1:
            return False, f"its text stands {places(mutation)} times in {mutation.file}"
        tree = trees.get()
        try:
            return killed(mutation, tree)
        finally:
            trees.put(tree)

    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(flags.jobs) as pool,
    ):
        for number in range(flags.jobs):
            trees.put(copy(Path(folder) / str(number)))
        # Only tests that pass on the whole code can say anything about broken code.
        files = " ".join(sorted({test for one in chosen for test in one.tests.split()}))
        code, word = tested(copy(Path(folder) / "whole"), files)
        if code:
            print(f"the tests fail before anything is broken: {word}")
            return 2
        for one, (dead, word) in zip(chosen, pool.map(attempt, chosen), strict=True):
            survivors += not dead
            verdict = "killed" if dead else "SURVIVED"
            print(f"{verdict:9}{one.name:42}{word[:110]}", flush=True)
    seconds = time.monotonic() - began
    print(f"{len(chosen)} mutants, {survivors} survivors, {seconds:.0f} s")
    return 1 if survivors else 0
