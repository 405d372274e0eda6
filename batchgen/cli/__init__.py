"""The command line: one short function a command, errors turned into exit codes.

Everything heavy is imported inside the command that needs it, so that `--help` and
`plan` start at once.
"""

import atexit
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from batchgen import __version__
from batchgen.money import Micros, usd

_INTERRUPTED = (129, 130, 143)
_LOOKS = frozenset({"status", "plan", "validate", "models", "schema"})  # and prints


class Usd(click.ParamType[Micros]):
    """An amount of US dollars, kept as integer micro-dollars."""

    name = "usd"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Micros:
        """Read `60` or `52.08`."""
        try:
            amount = usd(str(value))
        except ValueError:
            amount = 0
        if amount <= 0:
            self.fail(f"{value} is not an amount of US dollars, like 60", param, ctx)
        return amount


class PerTime(click.ParamType[Any]):
    """So many in so much time: `60/min`."""

    name = "n/time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read `5/s`, `60/min` or `600/h`."""
        from batchgen.given import rate  # noqa: PLC0415 - heavy

        try:
            return rate(value)
        except ValueError:
            self.fail(f"{value} is not a rate: write 5/s, 60/min or 600/h", param, ctx)


class ShardOf(click.ParamType[Any]):
    """One part of a run, like `3/8`."""

    name = "shard"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read `3/8`: the third of eight."""
        from batchgen.shards import Shard  # noqa: PLC0415 - heavy

        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*wrappers: Wrapper) -> Wrapper:
    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        for wrapper in reversed(wrappers):
            command = wrapper(command)
        return command

    return wrap


def _runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of all runs, for the shell's completion."""
    del ctx, param
    from batchgen.cli.status import known_runs  # noqa: PLC0415 - heavy

    return [name for name in known_runs() if name.startswith(incomplete)]


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The aliases of all models, for the shell's completion."""
    del ctx, param
    from batchgen.models import catalog  # noqa: PLC0415 - heavy

    return [one.alias for one in catalog() if one.alias.startswith(incomplete)]


def _colour(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from batchgen.cli.colour import wish  # noqa: PLC0415 - only when asked for

    return wish(ctx, param, value)


_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Start, problems and end.")
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Say more.")
_COLOR = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    callback=_colour,
    expose_value=False,
    help="Colour; NO_COLOR is obeyed, too.",
)
_COMMON = _options(_JSON, _QUIET, _VERBOSE, _COLOR)
_MANIFEST = click.argument("manifest", type=click.Path(path_type=Path, allow_dash=True))
_SELECT = click.option(
    "-s",
    "--select",
    multiple=True,
    metavar="WHAT",
    help="A subset: 'MUG-*', locale=de-DE,hook=steam, status=failed, @picks.csv.",
)
_MODEL = click.option(
    "--model",
    metavar="ID",
    shell_complete=_models,
    help="Every clip on another model, in a run of its own.",
)
_CHOICE = _options(
    _SELECT,
    click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="The first N of the selection, bought already or not.",
    ),
    click.option("--run", "run_name", metavar="NAME", help="Another output folder."),
    _MODEL,
    click.option(
        "--shard",
        type=ShardOf(),
        metavar="I/N",
        help="Part I of N, counted from 1, of a run on N machines.",
    ),
    click.option(
        "--max-tasks",
        type=click.IntRange(min=1),
        default=10_000,
        metavar="N",
        help="Raise the size guard (10,000).",
    ),
    click.option("--encoding", metavar="E", help="Of sheets that are not UTF-8."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="batchgen %(version)s")
def batchgen() -> None:
    """Many paid video clips, overnight, without fear.

    plan, then run, then status: the same `run` carries on after a crash and
    buys nothing twice.
    """


@batchgen.command()
@_MANIFEST
@_CHOICE
@click.option("--tasks", "as_tasks", is_flag=True, help="The expansion as JSONL.")
@click.option("--sandbox", is_flag=True, help="As `run --sandbox` would do it.")
@_COMMON
def plan(**flags: Any) -> int:
    """Check a manifest, expand it, compare with the run, price it. Spends nothing."""
    from batchgen.cli.plan import plan as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@_MANIFEST
@_CHOICE
@click.option("-y", "--yes", is_flag=True, help="No question; still needs a cap.")
@click.option("--budget", type=Usd(), metavar="USD", help="Cap for the whole run.")
@click.option("--plan", "plan_id", metavar="ID", help="Only if this is still the plan.")
@click.option(
    "-c", "--concurrency", type=click.IntRange(1, 5000), metavar="N", help="At once."
)
@click.option("--rate", type=PerTime(), metavar="N/T", help="Starts, like 60/min.")
@click.option("--reads", type=PerTime(), metavar="N/T", help="Looks, like 5/s.")
@click.option(
    "--retry",
    multiple=True,
    type=click.Choice(["rejected", "absent", "uncertain"]),
    help="Also buy these again; uncertain accepts paying twice.",
)
@click.option("--again", is_flag=True, help="Buy done and lost clips once more.")
@click.option("--sandbox", is_flag=True, help="A make-believe API; costs nothing.")
@click.option(
    "--faults",
    default="calm",
    metavar="calm|flaky|down|FILE",
    help="How the sandbox behaves.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    help="Who fetches clips: this process, or a cluster's.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster that is there.")
@click.option("--open", "open_page", is_flag=True, help="Open the report at the end.")
@_COMMON
def run(**flags: Any) -> int:
    """Buy, watch and fetch whatever of the plan is not done."""
    from batchgen.cli.run import run as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument("names", nargs=-1, metavar="[RUN]...", shell_complete=_runs)
@_SELECT
@click.option("-w", "--watch", is_flag=True, help="Look again until it ends.")
@click.option("--statement", is_flag=True, help="Beside the service's billing.")
@_COMMON
def status(**flags: Any) -> int:
    """Show where a run stands, or several; all of them without a name."""
    from batchgen.cli.status import status as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument("run_name", metavar="RUN", shell_complete=_runs)
@click.argument("task", metavar="TASK")
@click.option("--prediction", metavar="ID", help="It arrived, and this came of it.")
@click.option("--absent", is_flag=True, help="It never arrived: it may be bought anew.")
@click.option("--reason", default="", metavar="TEXT", help="For whoever asks later.")
@_COMMON
def resolve(**flags: Any) -> int:
    """Settle one submission of unknown fate by hand."""
    from batchgen.cli.resolve import resolve as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument("names", nargs=-1, metavar="[RUN]...", shell_complete=_runs)
@click.option("--open", "open_page", is_flag=True, help="Open the page.")
@_COMMON
def report(**flags: Any) -> int:
    """Write report.html and results.csv again, of one run or more."""
    from batchgen.cli.report import report as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument(
    "manifests",
    nargs=-1,
    required=True,
    metavar="MANIFEST...",
    type=click.Path(path_type=Path, allow_dash=True),
)
@click.option("--encoding", metavar="E", help="Of sheets that are not UTF-8.")
@_MODEL
@click.option("--sandbox", is_flag=True, help="As `run --sandbox` would take it.")
@click.option("--max-tasks", type=click.IntRange(min=1), default=10_000, metavar="N")
@_COMMON
def validate(**flags: Any) -> int:
    """Show everything that is wrong with manifests."""
    from batchgen.cli.validate import validate as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument(
    "folder",
    default=".",
    metavar="[DIR]",
    type=click.Path(path_type=Path),
)
@_COMMON
def init(**flags: Any) -> int:
    """Write a manifest to start from, a sheet, and the schema."""
    from batchgen.cli.init import init as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument(
    "manifest",
    required=False,
    metavar="[MANIFEST]",
    type=click.Path(path_type=Path),
)
@_COMMON
def doctor(**flags: Any) -> int:
    """Check key, balance, clock, disk, bucket and extras before a night."""
    from batchgen.cli.doctor import doctor as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.argument("name", required=False, metavar="[MODEL]", shell_complete=_models)
@click.option("--refresh", is_flag=True, help="Take the account's own list.")
@click.option("-y", "--yes", is_flag=True, help="No question.")
@_COMMON
def models(**flags: Any) -> int:
    """Show what may be bought: models, fields, prices."""
    from batchgen.cli.models import models as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
def schema() -> int:
    """Print the manifest language as a JSON Schema."""
    from batchgen.cli.schema import schema as command  # noqa: PLC0415 - heavy

    return command()


@batchgen.command()
@click.argument("run_name", metavar="RUN", shell_complete=_runs)
@click.argument(
    "action",
    type=click.Choice(["reseal", "accept-rollback", "accept-endpoint", "import"]),
)
@click.argument("source", required=False, metavar="[FILE]")
@click.option("-y", "--yes", is_flag=True, help="No question.")
@click.option(
    "--offline",
    is_flag=True,
    help="accept-rollback: without a look at the account's history.",
)
@_JSON
def state(**flags: Any) -> int:
    """Repair a run's state file; shown and asked first."""
    from batchgen.cli.state import state as command  # noqa: PLC0415 - heavy

    return command(**flags)


@batchgen.command()
@click.option("--port", type=int, default=8900, show_default=True, metavar="N")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where it remembers what it sold.",
)
@click.option("--speed", type=float, default=180.0, show_default=True, metavar="S")
@click.option("--balance", type=Usd(), default="1000", metavar="USD")
@click.option(
    "--tier",
    type=click.Choice(["calm", "bronze", "silver", "gold", "ultra"]),
    default="calm",
    show_default=True,
)
@click.option(
    "--excess",
    type=click.Choice(["reject", "queue"]),
    default="reject",
    show_default=True,
    help="What it does beyond a tier's tasks at once: 429, or let them wait.",
)
@click.option(
    "--faults",
    default="calm",
    metavar="calm|flaky|down|FILE",
    help="How it misbehaves; --list-faults says what there is.",
)
@click.option("--offset", type=float, default=0.0, metavar="SECONDS")
@click.option("--list-faults", is_flag=True, help="Print every fault, and end.")
def sandbox(**flags: Any) -> int:
    """Serve a make-believe API on this machine."""
    from batchgen.cli.sandbox import sandbox as command  # noqa: PLC0415 - heavy

    return command(**flags)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    code = call(words)
    if code in _INTERRUPTED:
        # Two signals in a row can leave a thread that waits for a loop that is gone,
        # and Python would wait for the thread. All is written by now.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    # To look through all that was loaded for circles, before the process ends anyway,
    # took a sixth of a small plan. What must be closed is closed by now.
    gc.freeze()
    if words and words[0] in _LOOKS and threading.active_count() == 1:
        # Nor is everything given back piece by piece: a tenth of a look at a big run.
        atexit._run_exitfuncs()  # noqa: SLF001 - as Python does first of all
        if _flushed():
            os._exit(code)
    sys.exit(code)


def _flushed() -> bool:
    """Whether all that was said is out; if not, Python tries again, and complains."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return False
    return True


def call(arguments: Sequence[str]) -> int:
    """Run a command; its exit code."""
    try:
        code = batchgen.main(list(arguments), "batchgen", standalone_mode=False)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BrokenPipeError:
        # Nobody reads us any more: the display ends, not the program's sense.
        sys.stdout = sys.stderr = None
        return 141
    except BaseException as error:  # noqa: BLE001 - every end has a code
        from batchgen.cli.exits import fail  # noqa: PLC0415 - heavy

        words = [word for word in arguments if not word.startswith("-")]
        command = words[0] if words else "batchgen"
        return fail(error, command=command, as_json="--json" in arguments)
    return code if isinstance(code, int) else 0
