"""What a person sees, on a real terminal of 80 columns driven by keys."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal, needs_tmux, terminal

from batchgen import terminal as columns
from conftest import Story, sandboxed

pytestmark = [pytest.mark.slow, needs_tmux]

CAMPAIGN = """\
name: kettle
budget: 20
settings: { duration: 5 }
prompt: "A kettle in {{ colour }}, {{ locale.line }}"
matrix:
  locale:
    - { id: de-DE, line: der Dampf steigt }
    - { id: ja-JP, line: 湯気が立つ }
  colour: [red, blue]
"""

PLAN = """\
kettle.sandbox   Kling V3.0 4K   4 clips   no run yet

  locale         clips   seconds       cost
  de-DE              2        10      $4.20
  ja-JP              2        10      $4.20
  -----------------------------------------
  to buy             4        20      $8.40     cap $20.00, leaves $11.60

  rehearse $1.68 (--model kling-std), final $8.40
  locale 2 x colour 2 = 4
  first prompt (de-DE_red, HASH):
    A kettle in red, der Dampf steigt

  pace 64 at a time   under 1m (guess: no timings yet)
  plan ID   start with: batchgen run kettle.yaml
$
"""

END = """\
kettle.sandbox: 4 of 4 clips done in TIME
  spent      $8.40 of $20.00
  files      outputs/kettle.sandbox/videos (4 files, SIZE)
  report     outputs/kettle.sandbox/report.html
$
"""

STOPPED = """\
  Stopping. 4 clips are paid for and not yet on disk; waiting for them.
  Ctrl-C again to leave now: the next run collects them at no extra cost.
"""

QUESTION = """\
spring: buy 25 clips for $52.08   (cap $60.00, account balance $184.20)
Type 52.08 to start, Enter to cancel: 52.08
bought
$
"""


@pytest.fixture
def slow_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Clips take a few seconds here, so that there is something to watch.

    Each test has an account of its own: what another one bought a moment ago would be
    told as predictions that this run does not know.
    """
    root = tmp_path_factory.mktemp("terminal")
    with sandboxed(root, speed=60) as addresses:
        yield Story(root, addresses.api, root / "sandbox")


@pytest.fixture
def screen(
    slow_sandbox: Story, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Terminal]:
    """A terminal in a folder with the campaign, `batchgen` on its path."""
    (tmp_path / "kettle.yaml").write_text(CAMPAIGN, encoding="utf-8")
    program = tmp_path / "bin" / "batchgen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m batchgen "$@"\n')
    program.chmod(0o755)
    language = getattr(request, "param", "C.UTF-8")
    environ = {
        **slow_sandbox.env(),
        "BATCHGEN_OUTPUTS": "outputs",
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "LC_ALL": language,
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PYTHONUTF8": "0" if language == "C" else "1",
        "PYTHONCOERCECLOCALE": "0",
    }
    with terminal(tmp_path, environ) as opened:
        opened.until(lambda text: "$" in text)
        yield opened


def same(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{8}\)", "HASH)", text)
    text = re.sub(r"plan [0-9a-f]{6} ", "plan ID ", text)
    text = re.sub(r"done in \d+s", "done in TIME", text)
    return re.sub(r"\d+(\.\d+)? [kM]?B\b", "SIZE", text)


def test_a_plan_fits_the_terminal(screen: Terminal) -> None:
    screen.keys("clear; batchgen plan kettle.yaml", "Enter")
    seen = screen.until(lambda text: "start with" in text and text.endswith("$\n"))
    assert same(seen) == PLAN
    assert all(columns.width(line) <= 80 for line in seen.splitlines())


def test_three_bars_and_a_farewell(screen: Terminal) -> None:
    screen.keys("clear; batchgen run kettle.yaml", "Enter")
    # The rows are drawn one after the other, and a screen may be caught between them.
    shown = ("4 rendering", "$8.40 of $20.00   $8.40 in flight", "files")
    seen = screen.until(lambda text: all(part in text for part in shown))
    rows = [line.split()[0] for line in seen.splitlines()]
    assert rows == ["clips", "spend", "files"]
    assert all(columns.width(line) <= 80 for line in seen.splitlines())
    screen.keys("C-c")
    assert STOPPED in screen.until(lambda text: "Ctrl-C again" in text)
    ended = screen.until(lambda text: text.endswith("$\n"))
    assert same(ended) == STOPPED + END  # the bars are gone, nothing of them is left


@pytest.mark.parametrize("screen", ["C"], indirect=True)
def test_a_terminal_that_knows_ascii_only(screen: Terminal) -> None:
    screen.keys("clear; batchgen run kettle.yaml", "Enter")
    seen = screen.until(lambda text: "1/4" in text or "rendering" in text)
    ended = screen.until(lambda text: text.endswith("$\n"))
    assert (seen + ended).isascii()
    assert same(ended) == END


def test_the_amount_is_typed(screen: Terminal) -> None:
    ask = (
        "from batchgen.cli.question import ask; from batchgen.plan import Plan; "
        "ask('spring', Plan(to_buy=25, cost=52_080_000), 60_000_000, 184_200_000, "
        "tty=True); print('bought')"
    )
    screen.keys(f'clear; {sys.executable} -c "{ask}"', "Enter")
    screen.until(lambda text: "to cancel" in text)
    screen.keys("52.08", "Enter")
    seen = screen.until(lambda text: text.endswith("$\n"))
    assert seen == QUESTION
