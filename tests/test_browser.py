"""The report page in a real Chromium, from a folder, without a network."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, tab
from test_report_page import MUG, book, story, task, written

from batchgen import report
from batchgen.cli import results
from batchgen.cli.status import summary
from batchgen.report.media import Media
from batchgen.sandbox.launch import launch

pytestmark = pytest.mark.slow

NASTY = "</script><img src=x onerror=alert(1)>"
MANIFEST = f"""
name: show
concurrency: 1
prompt: A {{{{ product }}}} by the window, {{{{ locale }}}}. {NASTY}
settings: {{ duration: 3 }}
matrix:
  product: [mug, kettle]
  locale: [de-DE, ja-JP]
  aspect_ratio: ["9:16", "16:9"]
"""
FAULTS = "{seed: 1, rules: [{fault: fail_moderation, at: [8]}, {fault: nsfw, at: [4]}]}"
DARK: dict[str, Any] = {"color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight clips: one rejected, one flagged, the rest fine."""
    root = tmp_path_factory.mktemp("Büro #1")
    manifest, faults = root / "show.yaml", root / "faults.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    faults.write_text(FAULTS, encoding="utf-8")
    with launch(
        root / "data", speed=20_000, faults=str(faults), profile="preview"
    ) as found:
        environ = {
            **os.environ,
            "WAVESPEED_API_KEY": "story-key",
            "WAVESPEED_BASE_URL": found.api,
            "BATCHGEN_OUTPUTS": str(root / "outputs"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "batchgen", "run", str(manifest)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    return root / "outputs" / "show.sandbox"


@contextmanager
def opened(browser: Any, folder: Path, wish: str = "", **options: Any) -> Iterator[Tab]:
    """The page; at the end, nothing was complained of and nothing left the folder."""
    page = folder / "report.html"
    with tab(browser, **options) as found:
        found.page.goto(page.as_uri() + wish)
        yield found
    assert found.complaints == []
    inside = (page.parent.as_uri() + "/", "data:", "blob:")
    assert [one for one in found.requests if not one.startswith(inside)] == []


def names(found: Tab) -> list[str]:
    """The clips that are shown, by the names that their buttons have."""
    labels = found.page.locator("#gallery .shot").evaluate_all(
        "all => all.map(one => one.ariaLabel)"
    )
    return [label.removeprefix("Open ").split(",")[0] for label in labels]


def sheet(folder: Path) -> list[dict[str, str]]:
    text = (folder / "results.csv").read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def choose(found: Tab, facet: str, value: str) -> None:
    group = found.page.get_by_role("group", name=facet, exact=True)
    group.get_by_label(value).check()


def violations(found: Tab) -> list[str]:
    """What axe says, in words."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install '.[browser]'"
    )
    answer = axe.Axe().run(found.page).response
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in answer["violations"]
        for node in one["nodes"]
    ]


def test_every_clip_is_shown_once(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder) as found:
        assert names(found) == [row["bg_slug"] for row in sheet(folder)]
        assert found.page.locator("#count").inner_text() == "8 of 8 clips"
        pictures = found.page.locator("#gallery .shot img")
        assert pictures.count() == 7
        wide = pictures.nth(1).evaluate(
            "async one => (await one.decode(), one.naturalWidth)"
        )
        assert wide == 384


def test_facets_and_search_narrow_to_the_right_clips(
    chromium: Any, folder: Path
) -> None:
    rows = sheet(folder)
    with opened(chromium, folder) as found:
        choose(found, "product", "kettle")
        choose(found, "aspect ratio", "9:16")
        expected = [
            row["bg_slug"]
            for row in rows
            if (row["product"], row["aspect_ratio"]) == ("kettle", "9:16")
        ]
        assert names(found) == expected
        assert len(expected) == 2
        found.page.get_by_role("button", name="Clear filters").click()
        found.page.keyboard.press("/")
        found.page.keyboard.type("KETTLE ja-jp")
        found.until("document.querySelectorAll('#grid .card').length == 2")
        assert all("kettle_ja-JP" in name for name in names(found))


def test_hover_plays_in_the_one_player(chromium: Any, folder: Path) -> None:
    moves = "document.querySelector('video').currentTime > 0"
    with opened(chromium, folder) as found:
        shots = found.page.locator("#gallery .shot")
        for number in (0, 1):
            shots.nth(number).hover()
            found.until(
                f"{moves} && document.querySelectorAll('.shot')[{number}]"
                ".querySelector('video')"
            )
            assert found.page.locator("video").count() == 1
        assert found.page.evaluate("document.querySelector('video').muted")
        found.page.mouse.move(2, 2)
        found.until("!document.querySelector('video').src")


def test_calm_people_see_nothing_move_by_itself(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder, reduced_motion="reduce") as found:
        shot = found.page.locator("#gallery .shot").first
        shot.hover()
        found.page.wait_for_timeout(300)
        assert not found.page.evaluate("!!document.querySelector('video').src")
        shot.focus()
        found.page.keyboard.press("Space")
        found.until("document.querySelector('video').currentTime > 0")


def test_all_of_it_is_at_hand_on_the_keyboard(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder) as found:
        page = found.page
        page.locator("#gallery .shot").first.focus()
        page.keyboard.press("ArrowRight")
        second = page.evaluate("document.activeElement.ariaLabel")
        assert names(found)[1] in second
        page.keyboard.press("p")
        assert page.locator("#picked").inner_text() == "1"
        page.keyboard.press("Enter")
        assert page.locator("#d-name").inner_text() == names(found)[1]
        assert page.locator("#d-pick").get_attribute("aria-pressed") == "true"
        page.keyboard.press("Escape")
        found.until("!document.querySelector('dialog').open")
        assert page.evaluate("document.activeElement.ariaLabel") == second


def test_the_dialog_tells_everything_as_text(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder) as found:
        page = found.page
        page.on("dialog", lambda dialog: found.complaints.append(dialog.message))
        page.locator("#gallery .shot").first.click()
        assert NASTY in page.locator("#d-prompt").inner_text()
        found.until("document.querySelector('video').currentTime > 0")
        assert not page.evaluate("document.querySelector('video').muted")
        facts = page.locator("#d-facts").inner_text()
        assert "show.sandbox" not in facts
        for word in ("$1.26", "384", "prediction", "kling-v3.0-4k"):
            assert word in facts
        page.get_by_role("button", name="Next").click()
        assert page.locator("#d-name").inner_text() == names(found)[1]
        assert page.locator("img[src=x]").count() == 0


def test_a_link_brings_the_view_back(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder) as found:
        choose(found, "locale", "ja-JP")
        found.page.locator("#sort").select_option("cost")
        found.page.locator("#gallery .star").first.click()
        wanted = names(found)
        wish = "#" + found.page.evaluate("location.hash").lstrip("#")
    with opened(chromium, folder, wish) as found:
        assert names(found) == wanted
        assert len(wanted) == 4
        assert found.page.locator("#sort").input_value() == "cost"
        assert found.page.locator(".star[aria-pressed=true]").count() == 1


def test_picks_are_kept_and_leave_as_a_sheet(chromium: Any, folder: Path) -> None:
    rows = sheet(folder)
    with opened(chromium, folder, accept_downloads=True) as found:
        page = found.page
        page.locator("#gallery .star").nth(0).click()
        page.locator("#gallery .shot").nth(5).click()
        page.locator("#d-note").fill('=cut to 6", Übergang')
        page.keyboard.press("Escape")
        page.goto(
            (folder / "report.html").as_uri()
        )  # no hash: from the browser's store
        assert page.locator("#picked").inner_text() == "2"
        with page.expect_download() as waited:
            page.get_by_role("button", name="picks.csv").click()
        assert waited.value.suggested_filename == "picks.csv"
        text = Path(waited.value.path()).read_text(encoding="utf-8-sig")
    assert list(csv.reader(io.StringIO(text))) == [
        ["slug", "hash", "note"],
        [rows[0]["bg_slug"], rows[0]["bg_hash"], ""],
        [rows[5]["bg_slug"], rows[5]["bg_hash"], "'=cut to 6\", Übergang"],
    ]


def test_two_axes_compare_and_a_row_plays_together(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder, "#view=compare&columns=locale") as found:
        page = found.page
        heads = page.locator("#pivot thead th").all_inner_texts()
        assert heads == ["de-DE", "ja-JP"]
        rows = page.locator("#pivot tbody tr")
        assert rows.count() == 4
        assert rows.first.locator(".shot").count() == 2
        rows.first.get_by_role("button", name="Play row").click()
        found.until(
            "(all => all.length == 2 && all.every(one => one.currentTime > 0))"
            "([...document.querySelectorAll('#pivot video')])"
        )
        page.get_by_role("button", name="Stop row").click()
        assert page.locator("video").count() == 1
        page.locator("#rows").select_option("product")
        assert rows.count() == 2
        assert rows.first.locator(".shot").count() == 4


def test_problems_name_the_command_and_copy_it(chromium: Any, folder: Path) -> None:
    with opened(
        chromium,
        folder,
        "#view=problems",
        permissions=["clipboard-write", "clipboard-read"],
    ) as found:
        page = found.page
        rejected = page.locator(".trouble.rejected")
        command = rejected.locator("code").first.inner_text()
        assert re.fullmatch(
            r"batchgen run '?\S.*show.yaml'? -s status=rejected --retry rejected",
            command,
        )
        rejected.get_by_role("button", name="Copy").click()
        found.until("document.body.innerText.includes('Copied')")
        assert page.evaluate("navigator.clipboard.readText()") == command
        assert page.locator(".trouble.flagged").count() == 1
        wrong = page.locator(".trouble.wrong").first.inner_text()
        assert "4K was ordered" in wrong


@pytest.mark.parametrize("options", [{}, DARK, PHONE, {**DARK, **PHONE}])
@pytest.mark.parametrize("view", ["gallery", "compare", "problems", "cost", "contact"])
def test_axe_finds_nothing(
    chromium: Any, folder: Path, view: str, options: dict[str, Any]
) -> None:
    with opened(chromium, folder, f"#view={view}", **options) as found:
        assert violations(found) == []


@pytest.mark.parametrize("options", [{}, DARK])
def test_axe_finds_nothing_in_the_dialog(
    chromium: Any, folder: Path, options: dict[str, Any]
) -> None:
    with opened(chromium, folder, **options) as found:
        found.page.locator("#gallery .shot").first.click()
        assert violations(found) == []


@pytest.mark.parametrize("width", [360, 720, 1440])
def test_nothing_is_wider_than_the_window(
    chromium: Any, folder: Path, width: int
) -> None:
    """360 pixels are also a window of 720 at 200 %."""
    with opened(chromium, folder, viewport={"width": width, "height": 700}) as found:
        for view in ("gallery", "compare", "problems", "cost", "contact"):
            found.page.evaluate(f"location.hash = 'view={view}'")
            found.until(f"!document.getElementById('{view}').hidden")
            assert found.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_contact_sheet_prints(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder, "#view=contact") as found:
        found.until(
            "[...document.querySelectorAll('#sheet img')].every(one => one.complete)"
        )
        found.page.emulate_media(media="print")
        assert found.page.locator("#sheet .frame").count() == 7
        assert not found.page.locator("#rail").is_visible()
        pdf = found.page.pdf(print_background=True)
    assert pdf.startswith(b"%PDF")
    # Seven pictures are in it, not seven empty frames.
    assert pdf.count(b"/Subtype /Image") >= 7
    assert len(pdf) > 40_000


def test_without_scripts_there_is_a_table(chromium: Any, folder: Path) -> None:
    with opened(chromium, folder, java_script_enabled=False) as found:
        rows = found.page.locator(".plain tbody tr")
        assert rows.count() == 8
        assert found.page.locator(".plain a").count() == 7
        link = found.page.locator(".plain a").first.get_attribute("href")
        assert (folder / link).is_file()


def test_without_posters_the_page_draws_its_own(chromium: Any, folder: Path) -> None:
    document, tasks, tally, records = summary(folder)
    whole = results.book(folder, document, tasks, tally, records)
    bare = report.Book(whole.summary, tasks, records, tally, whole.models)
    place = folder / "bare.html"
    results.publish_page(place, [bare], datetime.now(UTC))
    with tab(chromium) as found:
        found.page.goto(place.as_uri())
        found.until("document.querySelectorAll('#gallery canvas').length == 7")
        assert found.page.locator("video").count() == 1
        shade = found.page.screenshot(
            clip={"x": 400, "y": 300, "width": 60, "height": 60}
        )
        assert len(shade) > 300
    assert found.complaints == []


def test_what_cannot_be_played_is_said_with_a_link(
    chromium: Any, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mug-de.mp4").write_bytes(b"no film")
    (tmp_path / "report.html").write_text(written(book([MUG], story(MUG))), "utf-8")
    with tab(chromium) as found:
        found.page.goto((tmp_path / "report.html").as_uri())
        card = found.page.locator(".card")
        card.get_by_role("link", name="open file").wait_for()
        assert "cannot be played here" in card.inner_text()
        assert "9:16" in card.inner_text()
        assert "A mug" in card.inner_text()
        card.locator(".shot").click()
        assert "cannot play" in found.page.locator("#stage").inner_text()


def many(count: int, folder: Path) -> None:
    """A page of so many clips that share one picture."""
    tasks = [
        task(
            n,
            f"clip-{n}",
            f"Clip number {n}: a stone mug by a rainy window, filmed slowly. " * 4,
            product=f"p{n % 20}",
            locale=f"l{n % 10}",
            hook=f"h{n % 5}",
        )
        for n in range(1, count + 1)
    ]
    media = {
        one.id * 2: Media(5.0, 2160, 3840, audio=True, poster="posters/one.jpg")
        for one in tasks
    }
    text = written(book(tasks, *map(story, tasks), media=media))
    (folder / "report.html").write_text(text, encoding="utf-8")


def test_five_thousand_clips_are_quick(chromium: Any, tmp_path: Path) -> None:
    import PIL.Image  # noqa: PLC0415 - of the extra

    (tmp_path / "posters").mkdir()
    PIL.Image.new("RGB", (360, 640), "teal").save(tmp_path / "posters" / "one.jpg")
    many(5000, tmp_path)
    with opened(chromium, tmp_path) as found:
        page = found.page
        assert page.locator("#count").inner_text() == "5,000 of 5,000 clips"
        assert page.locator("#gallery .card").count() <= 240
        choose(found, "product", "p3")
        assert page.locator("#count").inner_text() == "250 of 5,000 clips"
        assert page.evaluate("document.querySelectorAll('*').length") < 10_000
        for _ in range(8):
            page.mouse.wheel(0, 20_000)
            page.wait_for_timeout(50)
        found.until("document.querySelectorAll('#gallery .card').length == 250")
        facets = json.loads(
            page.evaluate("document.getElementById('data').textContent")
        )
        assert [name for name, _ in facets["axes"]] == ["product", "locale", "hook"]


def test_several_runs_open_on_one_page(chromium: Any, folder: Path) -> None:
    outputs = folder.parent
    other = outputs / "other"
    if not other.exists():
        other.symlink_to(folder, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-m", "batchgen", "report", "show.sandbox", "other"],
        env={**os.environ, "BATCHGEN_OUTPUTS": str(outputs)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(sheet(outputs)) == 16
    with opened(chromium, outputs) as found:
        assert found.page.locator("#count").inner_text() == "16 of 16 clips"
        choose(found, "run", "other")
        assert len(names(found)) == 8
        picture = found.page.locator("#gallery .shot img").first
        assert picture.evaluate("async one => (await one.decode(), one.naturalWidth)")
