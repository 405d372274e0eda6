"""`batchgen report`, the pictures for it, and the sheet in a real spreadsheet."""

import csv
import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batchgen import posters, report
from batchgen.cli import results
from batchgen.cli.status import summary
from batchgen.events import SavedFile
from batchgen.report import Sheet
from conftest import Story

ROWS = """Titel,prompt,duration,Notiz
Größe,A gable in the wind,3,=1+1
日本,A gull over the quay,3,"two
lines"
"""


@pytest.fixture(scope="module")
def run(shared_sandbox: Story) -> Path:
    """A run from a spreadsheet: two clips."""
    story = shared_sandbox
    sheet = story.root / "sheet.csv"
    sheet.write_text(ROWS, encoding="utf-8")
    done = story.command("run", str(sheet), "--json")
    assert done.returncode == 0, done.stderr
    folder = story.folder(sheet)
    assert json.loads(done.stdout)["files"]["report"] == str(folder / "report.html")
    return folder


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_a_run_leaves_a_page_and_a_sheet_with_its_columns(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "A gable in the wind" in page
    assert "videos/" in page
    found = rows((run / "results.csv").read_text(encoding="utf-8"))
    assert found[0][:5] == ["Titel", "prompt", "duration", "Notiz", "bg_slug"]
    assert [row[0] for row in found[1:]] == ["Größe", "日本"]
    assert [row[3] for row in found[1:]] == ["'=1+1", "two\nlines"]
    assert [row[6] for row in found[1:]] == ["done", "done"]
    assert all((run / row[7]).is_file() for row in found[1:])


def test_report_writes_the_same_again_without_the_sheet(
    story: Story, run: Path
) -> None:
    before = (run / "results.csv").read_bytes()
    (run / "report.html").unlink()
    done = story.command("report", "sheet", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "batchgen.report/1"
    assert Path(document["files"]["report"]).is_file()
    assert (run / "results.csv").read_bytes() == before


def test_report_of_no_run_says_which_there_are(story: Story, run: Path) -> None:
    done = story.command("report", "nothing")
    assert done.returncode == 2
    assert run.name in done.stderr


def test_a_look_inside_makes_a_picture_and_is_remembered(run: Path) -> None:
    _, _, tally, _ = summary(run)
    shutil.rmtree(run / "posters", ignore_errors=True)
    counted: list[int] = []
    files = list(results.saved(tally))
    found = posters.look(run, files, counted.append)
    assert counted == list(range(len({file.sha256 for file in files}), 0, -1))
    assert set(found) == {file.sha256 for file in files}
    for media in found.values():
        assert (run / media.poster).read_bytes().startswith(b"\xff\xd8\xff")
        assert media.seconds == pytest.approx(3, abs=0.2)
    again: list[int] = []
    assert posters.look(run, files, again.append) == found
    assert again == []


def test_a_broken_clip_and_a_broken_cache_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"no film at all")
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "index.json").write_text('{"x": [1]', encoding="utf-8")
    files = [
        SavedFile(name="a.mp4", bytes=14, sha256="a" * 64),
        SavedFile(name="gone.mp4", bytes=14, sha256="b" * 64),
    ]
    assert posters.look(tmp_path, files, lambda _: None) == {}


def test_pictures_come_from_the_middle_where_a_film_begins_in_the_dark(
    tmp_path: Path,
) -> None:
    import av  # noqa: PLC0415 - of the extra
    import PIL.Image  # noqa: PLC0415 - the same

    frame_of: Any = av.VideoFrame.from_image
    (tmp_path / "videos").mkdir()
    with av.open(str(tmp_path / "videos" / "fade.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(30):
            picture = PIL.Image.new("RGB", (160, 120), "black")
            if number > 4:
                picture.paste("white", (0, 0, 80, 120))
            film.mux(stream.encode(frame_of(picture)))
        film.mux(stream.encode(None))
    file = SavedFile(name="fade.mp4", bytes=1, sha256="c" * 64)
    media = posters.look(tmp_path, [file], lambda _: None)["c" * 64]
    with PIL.Image.open(tmp_path / media.poster) as poster:
        grey = poster.convert("L")
        light, dark = grey.crop((10, 10, 60, 110)), grey.crop((100, 10, 150, 110))
    assert min(light.tobytes()) > 200
    assert max(dark.tobytes()) < 50


def test_a_machine_without_the_extra_has_a_page_without_pictures(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert not posters.available()
    shutil.rmtree(run / "posters", ignore_errors=True)
    whole = summary(run)
    results.publish_page(
        run / "report.html",
        [results.book(run, *whole)],
        datetime(2026, 11, 22, tzinfo=UTC),
    )
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "posters/" not in page
    assert "videos/" in page


@pytest.mark.slow
def test_a_real_spreadsheet_opens_the_sheet_as_it_was_meant(
    run: Path, tmp_path: Path
) -> None:
    program = shutil.which("soffice") or shutil.which("libreoffice")
    if program is None:
        pytest.skip("no spreadsheet here: apt-get install libreoffice-calc-nogui")
    _, tasks, tally, _ = summary(run)
    texts = ["Größe 日本", "=1+1", "@SUM(A1)", "-5+5", "12.50"]
    sheet = Sheet(("a", "b", "c", "d", "e"), {one.id: texts for one in tasks})
    source = tmp_path / "results.csv"
    source.write_text(report.results_csv(tasks, tally, sheet), encoding="utf-8")
    for kind in ("xlsx", "csv:Text - txt - csv (StarCalc):59,34,76"):
        # 59 semicolon, 34 quote, 76 UTF-8: what it understood, written another way
        subprocess.run(
            [
                *(program, "--headless", f"-env:UserInstallation=file://{tmp_path}/lo"),
                # Without a window it guesses no encoding; its dialog and Excel do.
                "--infilter=CSV:44,34,76,1",
                *("--convert-to", kind, "--outdir", str(tmp_path / "out"), str(source)),
            ],
            check=True,
            capture_output=True,
            timeout=110,
        )
    text = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8-sig")
    head, first, second = csv.reader(io.StringIO(text), delimiter=";")
    assert head[5] == "bg_slug"
    assert first[:5] == second[:5]
    assert first[0] == "Größe 日本"
    assert [cell.removeprefix("'") for cell in first[1:4]] == texts[1:4]
    assert float(first[4].replace(",", ".")) == 12.5
    assert float(first[9].replace(",", ".")) == float(
        rows(source.read_text("utf-8"))[1][9]
    )
