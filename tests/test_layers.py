"""Who may import whom: this list is the architecture, and it cannot go stale."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import batchgen

ROOT = Path(batchgen.__file__).parent

# From top to bottom; a module imports only what stands on a lower line. Packages
# stand here by their name.
LAYERS = """
__main__
cli
notify progress posters
report
quote
watch
runner
buyer billing statement
courier
audit settle feed perform agenda
fetcher
moves repairs space trouble engines backlog
recorder slots witness
stores
objects
reconcile tally starts journal client downloads
logbook
transport uploads
servicetime listings connections
parts
bodies
plan selector forecast
tasks
clashes rendering elements
variants
inclusion
axes rows
forms
drafts
manifest schema pictures
tables wording matching inspection references shapes known shards
keys templates task rescue
scalars
given
readers answers history
refreshed
outside polls
models profile addresses
replay
records
ledger lives
variables state statefile
findings words events names pace world ballast places flow
sockets
channels
http1
deadline errors images spelling terminal mp4 frames disk money trust diff redaction
locations patterns clock ways
"""

_PURE = """
errors events state ledger findings manifest templates tasks plan profile records
lives replay
answers tally money keys names spelling variables variants rendering matching
inspection wording terminal selector report clashes inclusion axes rows drafts schema
diff tables task forecast deadline scalars starts outside redaction pictures
references shapes elements listings polls flow forms given locations patterns
quote words
"""
PURE = _PURE.split()

WORLDLY = {"anyio", "httpx", "os", "time", "random", "tqdm", "socket", "subprocess"}

# errors.ManifestError carries findings, and findings know the errors' house.
ALLOWED_UPWARDS = {("errors", "findings")}

SANDBOX_MAY = {"models", "errors", "money"}


class Import(NamedTuple):
    """One name that a file imports, and where."""

    file: Path
    line: int
    name: str

    @property
    def here(self) -> str:
        """The module or package the file belongs to."""
        return unit_of(self.file)

    @property
    def there(self) -> str:
        """The module or package of ours that is imported; empty for foreign ones."""
        first, _, rest = self.name.partition(".")
        return rest.split(".")[0] if first == "batchgen" else ""

    def __str__(self) -> str:
        place = self.file.relative_to(ROOT.parent)
        return f"{place}:{self.line} imports {self.name}"


def unit_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@cache
def nodes(file: Path) -> list[ast.AST]:
    """Everything that stands in a file; read once, for a hundred tests ask."""
    return list(ast.walk(ast.parse(file.read_bytes(), file)))


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file, also inside functions and under TYPE_CHECKING."""
    for node in nodes(file):
        match node:
            case ast.Import(names=names):
                yield from (Import(file, node.lineno, one.name) for one in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert not level, f"{file}:{node.lineno}: a relative import"
                for one in names:
                    yield Import(file, node.lineno, whole(module or "", one.name))
            case _:
                pass


def whole(module: str, name: str) -> str:
    """`from batchgen import x` names a module unless x is a value of the package."""
    path = ROOT.parent.joinpath(*module.split("."), name)
    is_module = path.is_dir() or path.with_suffix(".py").is_file()
    return f"{module}.{name}" if is_module or module != "batchgen" else module


@cache
def everything() -> list[Import]:
    return [one for file in sources() for one in imports(file)]


def height() -> dict[str, int]:
    rows = reversed(LAYERS.strip().splitlines())
    return {name: level for level, row in enumerate(rows) for name in row.split()}


def test_every_module_has_its_place_and_only_one() -> None:
    there = {unit_of(file) for file in sources()} - {"__init__", "sandbox"}
    listed = LAYERS.split()
    assert len(listed) == len(set(listed))
    assert there - set(listed) == set()
    assert set(listed) - there == set()
    assert set(PURE) - set(listed) == set()


def test_imports_point_down() -> None:
    level = height()
    wrong = [
        str(one)
        for one in everything()
        if one.here not in ("sandbox", one.there)
        and one.there not in ("", "sandbox")
        and (one.here, one.there) not in ALLOWED_UPWARDS
        and level.get(one.there, 99) >= level.get(one.here, -1)
    ]
    assert wrong == []


def test_the_one_import_upwards_is_for_the_type_checker_alone() -> None:
    for here, there in ALLOWED_UPWARDS:
        tree = ast.parse((ROOT / f"{here}.py").read_bytes())
        at_run_time = [
            one
            for one in ast.walk(tree)
            if isinstance(one, ast.ImportFrom) and one.module == f"batchgen.{there}"
        ]
        guarded = [
            one
            for block in tree.body
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for one in block.body
        ]
        assert at_run_time
        assert all(one in guarded for one in at_run_time)


def test_the_sandbox_stands_beside_and_knows_only_models_errors_and_money() -> None:
    wrong = [
        str(one)
        for one in everything()
        if one.here == "sandbox" and one.there not in {"", "sandbox", *SANDBOX_MAY}
    ]
    assert wrong == []


def test_only_the_command_line_knows_the_sandbox() -> None:
    wrong = [
        str(one)
        for one in everything()
        if one.there == "sandbox" and one.here not in ("sandbox", "cli")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_does_not_know_the_world(name: str) -> None:
    wrong = [
        str(one)
        for one in everything()
        if one.here == name and one.name.split(".")[0] in WORLDLY
    ]
    assert wrong == []


@pytest.mark.parametrize("name", [*PURE, "reconcile"])
def test_a_pure_module_never_asks_the_clock(name: str) -> None:
    asked = [
        f"{file.name}:{node.lineno}"
        for file in sources()
        if unit_of(file) == name
        for node in nodes(file)
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and ast.unparse(node.value).split(".")[-1] in ("datetime", "date")
    ]
    assert asked == []


def test_time_comes_from_the_event_loop_or_through_the_door() -> None:
    """`world` is the door; downloads work in threads, which have no loop."""
    may = {
        "world",
        "downloads",
        "objects",
        "bodies",
        "sockets",
        "sandbox",
        "progress",
        "cli",
    }
    wrong = [
        str(one)
        for one in everything()
        if one.name.split(".")[0] in ("time", "random") and one.here not in may
    ]
    assert wrong == []


def test_only_the_recorder_and_the_opening_of_a_journal_append() -> None:
    callers = [
        f"{unit_of(file)}:{node.lineno}"
        for file in sources()
        if unit_of(file) not in ("sandbox", "journal", "recorder")
        for node in nodes(file)
        if isinstance(node, ast.Attribute)
        and node.attr in ("append", "put")
        and "journal" in ast.unparse(node.value).lower()
    ]
    assert callers == []
