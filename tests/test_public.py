"""The public names, and only they."""

import re
import subprocess
import sys
from types import ModuleType

import batchgen


def test_the_list_of_names_is_the_namespace() -> None:
    script = "import batchgen; print(*sorted(vars(batchgen)))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    dunders = {"__version__"}
    found = {
        name
        for name in done.stdout.split()
        if name in dunders or not re.fullmatch(r"__\w+__", name)
    }
    assert found == set(batchgen.__all__)


def test_the_list_of_names_is_sorted_and_every_name_is_there() -> None:
    names = batchgen.__all__
    assert names == sorted(set(names))
    values = [getattr(batchgen, name) for name in names]
    assert not any(isinstance(value, ModuleType) for value in values)


def test_the_version_is_that_of_a_release() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", batchgen.__version__)
