"""The report page in a real Chromium, from a folder, without a network."""

from pathlib import Path
from typing import Any

import pytest
from browser import tab

pytestmark = pytest.mark.slow


def test_a_page_opens_from_a_folder(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<title>a</title><p>b</p>", encoding="utf-8")
    with tab(chromium) as found:
        found.page.goto(path.as_uri())
        assert found.page.title() == "a"
    assert found.complaints == []
    assert found.requests == [path.as_uri()]
