"""What can be set about a sandbox, and where it answers."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIERS = ("calm", "bronze", "silver", "gold", "ultra")
EXCESS = ("reject", "queue")
PROFILES = ("full", "preview", "plain")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The two origins of a sandbox, without a slash at the end."""

    api: str
    downloads: str


@dataclass(frozen=True, slots=True)
class Options:
    """How the make-believe service behaves.

    Attributes:
        data: folder of everything that outlives the process.
        port: of the API on 127.0.0.1; 0 takes a free one. Downloads always do.
        speed: what durations are divided by; 1 is the vendor's own pace.
        balance: make-believe dollars at the beginning.
        tier: limits on submissions and on what is in flight at once.
        excess: what is done with more in flight: a 429 (`reject`) or a `queue`.
        faults: a preset or the path of a plan.
        offset: seconds added to the real time.
        profile: `full` clips (4K), `preview` (384 pixels), or `plain` (all alike).
        list_delay: seconds, before `speed`, until the history shows a prediction.
        refund_delay: seconds, before `speed`, until a failure is paid back.
        ends_with_stdin: whether the process ends when its standard input does.
    """

    data: Path
    port: int = 0
    speed: float = 180.0
    balance: str = "1000"
    tier: str = "calm"
    excess: str = "reject"
    faults: str = "calm"
    offset: float = 0.0
    profile: str = "full"
    list_delay: float = 60.0
    refund_delay: float = 1800.0
    ends_with_stdin: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line of `python -m batchgen.sandbox`."""
    parser = argparse.ArgumentParser(prog="python -m batchgen.sandbox")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--speed", type=_pace, default=180.0)
    parser.add_argument("--balance", default="1000")
    parser.add_argument("--tier", choices=TIERS, default="calm")
    parser.add_argument("--excess", choices=EXCESS, default="reject")
    parser.add_argument("--faults", default="calm", help="calm, flaky, down or a file")
    parser.add_argument("--offset", type=float, default=0.0)
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--list-delay", type=float, default=60.0)
    parser.add_argument("--refund-delay", type=float, default=1800.0)
    parser.add_argument("--ends-with-stdin", action="store_true")
    return Options(**vars(parser.parse_args(arguments)))


def _pace(text: str) -> float:
    pace = float(text)
    if not pace > 0:
        raise ValueError(text)
    return pace
