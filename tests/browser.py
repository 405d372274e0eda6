"""A real Chromium for tests: Debian's package, offline, every complaint kept.

`chromium` is a fixture of conftest; `tab(chromium)` opens a page in a world of its
own. Without the browser or its driver the test is skipped, and says what to install.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
)


@dataclass
class Tab:
    """A page, and what it did that a good page does not do.

    Attributes:
        page: Playwright's page.
        complaints: console errors and uncaught exceptions.
        requests: every address it asked for.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def until(self, expression: str, seconds: float = 20.0) -> None:
        """Wait for an expression of the page to be true.

        Playwright's own wait needs `eval`, which a strict page forbids.
        """
        for _ in range(round(seconds / 0.03)):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(30)
        pytest.fail(f"never came true: {expression}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no browser here: apt-get install chromium")
    driver = pytest.importorskip(
        "playwright.sync_api", reason="no driver here: pip install '.[browser]'"
    )
    # A sandbox of its own needs a user who is not root.
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*ARGUMENTS, *root]
        )
        yield browser
        browser.close()


@contextmanager
def tab(browser: Any, **options: Any) -> Iterator[Tab]:
    """A page without a network; `options` are those of a browser context."""
    wanted = {"offline": True, "viewport": {"width": 1440, "height": 900}, **options}
    context = browser.new_context(**wanted)
    found = Tab(context.new_page())
    page = found.page
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))

    def hear(message: Any) -> None:
        if message.type in ("error", "warning"):
            found.complaints.append(message.text)

    page.on("console", hear)
    try:
        yield found
    finally:
        context.close()
