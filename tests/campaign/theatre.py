"""Where plays are put on: a machine of their own, and dice that fall the same way."""

import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from trio._core import _run as scheduler
from trio.testing import MockClock

from batchgen.journal import NAME

from .disk import Died
from .oracle import Violation
from .replay import Broken
from .scenario import Result
from .stage import Play


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Trio's scheduler with dice of ours."""
    before, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()  # noqa: SLF001
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    scheduler._r.seed(seed)  # noqa: SLF001
    try:
        with warnings.catch_warnings():
            # Whoever dies leaves generators of httpx unfinished.
            warnings.filterwarnings("ignore", "Async generator", ResourceWarning)
            yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]  # noqa: SLF001
        scheduler._r.setstate(state)  # noqa: SLF001


def staged(seed: int, make: Callable[[Path], Play]) -> Result:
    """Run a play on a machine of its own; its result, with what went wrong."""
    with tempfile.TemporaryDirectory(dir=memory(), prefix="batchgen-") as folder:
        kept: list[Play] = []

        root = Path(folder, "machine")
        root.mkdir()

        async def main() -> Result:
            kept.append(make(root))
            return await kept[0].perform()

        with deterministic(seed):
            try:
                return anyio.run(
                    main,
                    backend="trio",
                    backend_options={"clock": MockClock(autojump_threshold=0)},
                )
            except (Exception, Died) as error:  # noqa: BLE001 - it is a finding
                return _broken(kept[0], kept[0].problem or error)


def _broken(found: Play, error: BaseException) -> Result:
    result = found.result
    result.problem = str(error)
    if not isinstance(error, Violation | Broken):
        result.problem = "".join(traceback.format_exception(error))
    path = found.folder / NAME
    result.journal = path.read_bytes() if path.exists() else b""
    result.trace += found.observer.notices
    return result


def memory() -> str | None:
    """A folder that is not on a platter, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
