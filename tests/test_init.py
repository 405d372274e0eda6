"""A folder to start from: it plans, it validates, and nothing is ever overwritten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from batchgen import cli
from batchgen.readers import yaml

FILES = ("campaign.yaml", "products.csv", "batchgen.schema.json")

Words = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type commands in."""
    monkeypatch.chdir(tmp_path)
    for name in ("WAVESPEED_BASE_URL", "BATCHGEN_OUTPUTS", "BATCHGEN_MAX_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_what_init_writes_plans_without_a_finding(here: Path, capsys: Words) -> None:
    assert cli.call(["init", "spring"]) == 0
    assert capsys.readouterr().out == (
        "Wrote\n"
        "  spring/campaign.yaml\n"
        "  spring/products.csv\n"
        "  spring/batchgen.schema.json\n"
        "Next\n"
        "  batchgen plan spring/campaign.yaml\n"
        "  batchgen run spring/campaign.yaml --sandbox\n"
    )
    assert sorted(path.name for path in (here / "spring").iterdir()) == sorted(FILES)
    assert cli.call(["validate", "spring/campaign.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert cli.call(["plan", "spring/campaign.yaml"]) == 0
    page, said = capsys.readouterr()
    assert said == ""
    assert "spring   Kling V3.0 4K   4 clips   no run yet" in page
    assert "$8.40     cap $10.00, leaves $1.60" in page


@pytest.mark.usefixtures("here")
def test_the_schema_it_writes_is_the_commands_and_fits_the_manifest() -> None:
    assert cli.call(["init"]) == 0
    manifest, _, schema = (Path(name).read_text("utf-8") for name in FILES)
    assert schema == CliRunner().invoke(cli.batchgen, ["schema"]).output
    first = manifest.splitlines()[0]
    assert first == "# yaml-language-server: $schema=./batchgen.schema.json"
    document, findings = yaml.read(manifest, FILES[0], {})
    assert document is not None
    assert findings == []
    errors = Draft202012Validator(json.loads(schema)).iter_errors(document.data)
    assert [error.message for error in errors] == []


def test_what_is_there_is_named_and_kept(here: Path, capsys: Words) -> None:
    (here / "products.csv").write_text("mine", encoding="utf-8")
    assert cli.call(["init", "."]) == 2
    assert capsys.readouterr().err == (
        "error: nothing was written, because this is there already: products.csv "
        "[in-the-way]\n"
        "  Choose another folder: batchgen init DIR\n"
    )
    assert [path.name for path in here.iterdir()] == ["products.csv"]
    assert (here / "products.csv").read_text(encoding="utf-8") == "mine"


def test_a_file_and_a_dangling_link_stand_in_the_way(here: Path) -> None:
    (here / "file").touch()
    (here / "campaign.yaml").symlink_to(here / "nowhere")
    assert cli.call(["init", "file"]) == 2
    assert cli.call(["init"]) == 2
    assert not (here / "nowhere").exists()


def test_a_disk_that_takes_no_folder_is_exit_8(here: Path, capsys: Words) -> None:
    (here / "file").touch()
    assert cli.call(["init", "file/below"]) == 8
    assert capsys.readouterr().err.endswith("[disk]\n")


@pytest.mark.usefixtures("here")
def test_a_program_is_told_the_files(capsys: Words) -> None:
    assert cli.call(["init", "Größe 7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["exit"]) == ("batchgen.init/1", 0)
    assert found["files"] == [f"Größe 7/{name}" for name in FILES]
    assert "name: grosse-7\n" in Path(found["files"][0]).read_text("utf-8")
