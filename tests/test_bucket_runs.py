"""Whole runs whose clips go to a bucket: a real S3 server beside the sandbox."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import SECRET, Bucket, puts, serving
from test_security import forms
from test_story import Died, MortalDisk

from batchgen.disk import Disk
from batchgen.events import SavedFile
from batchgen.objects import ObjectStore
from batchgen.state import word
from conftest import Story


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bucket")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Bucket]:
    with serving(place) as found:
        yield found


@pytest.fixture
def bucket(server: Bucket, story: Story) -> Bucket:
    story.environ.update({name: "" for name in os.environ if name.startswith("AWS_")})
    story.environ.update(server.environ)
    return server


KEPT = "output: {store: s3://clips/night}"


def local(story: Story, manifest: Path) -> list[str]:
    videos = story.folder(manifest) / "videos"
    return sorted(path.name for path in videos.rglob("*") if path.is_file())


def mine(bucket: Bucket, manifest: Path) -> list[str]:
    start = f"night/{manifest.stem}.sandbox/"
    return [name.removeprefix(start) for name in bucket.names() if start in name]


def whole(story: Story, bucket: Bucket, manifest: Path) -> list[SavedFile]:
    """Every clip is an object with the bytes that its record tells."""
    _, tally = story.replay(manifest)
    files = [file for state in tally.states.values() for file in state.files]
    assert [word(state) for state in tally.states.values()] == ["done"] * len(files)
    for file in files:
        assert file.store == f"s3://clips/night/{manifest.stem}.sandbox"
        body = bucket.get(f"{file.store.removeprefix('s3://clips/')}/{file.name}")
        assert hashlib.sha256(body.content).hexdigest() == file.sha256
        assert len(body.content) == file.bytes
    return files


def test_every_clip_goes_to_the_bucket_and_none_twice(
    story: Story, bucket: Bucket, place: Path
) -> None:
    manifest = story.manifest([f"whole boat {n}" for n in range(4)], KEPT)
    found = story.command("run", str(manifest), "--json")
    assert found.returncode == 0, found.stderr
    files = whole(story, bucket, manifest)
    assert len(files) == 4
    names = mine(bucket, manifest)
    assert len(names) == 8  # four clips, four sidecars
    assert local(story, manifest) == []
    sidecar = bucket.get(f"night/{manifest.stem}.sandbox/{names[0]}").json()
    assert sidecar["schema"] == "batchgen.clip/1"
    before = len(puts(place))
    again = story.command("run", str(manifest), "--json")
    assert json.loads(again.stdout)["reason"] == "nothing_to_do"
    assert len(puts(place)) == before == 4
    assert len(story.till("whole ")) == 4


@pytest.mark.slow
def test_what_is_gone_from_the_bucket_is_fetched_again_for_nothing(
    story: Story, bucket: Bucket
) -> None:
    manifest = story.manifest([f"gone boat {n}" for n in range(2)], KEPT)
    assert story.command("run", str(manifest)).returncode == 0
    lost, kept = (file.name for file in whole(story, bucket, manifest))
    bucket.delete(f"night/{manifest.stem}.sandbox/{lost}")
    assert story.command("run", str(manifest)).returncode == 0
    assert {lost, kept} <= set(mine(bucket, manifest))
    assert len(whole(story, bucket, manifest)) == 2
    assert len(story.till("gone ")) == 2


@pytest.mark.slow
def test_an_edit_moves_objects_and_buys_only_what_changed(
    story: Story, bucket: Bucket
) -> None:
    rows = ["{id: one, prompt: edited boat 1}", "{id: two, prompt: edited boat 2}"]
    manifest = story.root / "run-edited.yaml"

    def write(*rows: str) -> None:
        lines = [KEPT, "settings: {duration: 3}", "prompts:"]
        text = "\n".join([*lines, *(f"  - {row}" for row in rows)])
        manifest.write_text(f"{text}\n", encoding="utf-8")

    write(*rows)
    assert story.command("run", str(manifest)).returncode == 0
    clips = [name for name in mine(bucket, manifest) if name.endswith(".mp4")]
    assert clips == ["one.mp4", "two.mp4"]
    write("{id: first, prompt: edited boat 1}", "{id: two, prompt: edited boat 3}")
    assert story.command("run", str(manifest)).returncode == 0
    clips = [name for name in mine(bucket, manifest) if name.endswith(".mp4")]
    previous = [name for name in clips if name.startswith("_previous/two~")]
    assert len(previous) == 1
    assert sorted(set(clips) - {*previous}) == ["first.mp4", "two.mp4"]
    assert len(story.till("edited ")) == 3
    assert len(whole(story, bucket, manifest)) == 3


@pytest.mark.slow
def test_the_report_links_to_objects_and_has_its_pictures_beside_it(
    story: Story, bucket: Bucket
) -> None:
    manifest = story.manifest(["linked boat"], KEPT)
    assert story.command("run", str(manifest)).returncode == 0
    folder = story.folder(manifest)
    page = (folder / "report.html").read_text()
    assert f"{bucket.url}/clips/night/{folder.name}/linked-boat" in page
    assert "X-Amz-Expires=604800" in page
    assert "links open until" in page
    assert [path.suffix for path in (folder / "posters").glob("*.jpg")] == [".jpg"]
    sheet = (folder / "results.csv").read_text()
    assert f"s3://clips/night/{folder.name}/linked-boat" in sheet
    assert "X-Amz" not in sheet
    public = KEPT.replace("}", ", links: https://clips.example.com/all}")
    manifest = story.manifest(["linked boat"], public)
    assert story.command("run", str(manifest)).returncode == 0
    manifest = story.manifest(["linked boat", "linked ship"], public)
    assert story.command("run", str(manifest)).returncode == 0
    page, sheet = (
        (folder / name).read_text() for name in ("report.html", "results.csv")
    )
    for text in (page, sheet):
        assert f"https://clips.example.com/all/{folder.name}/linked-boat" in text
        assert "X-Amz" not in text
    assert len(story.till("linked ")) == 2


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_cannot_be_used_stops_the_run_before_money(
    story: Story,
) -> None:
    manifest = story.manifest(["stopped boat"], "output: {store: s3://not-there/x}")
    found = story.command("run", str(manifest))
    assert found.returncode == 8
    assert "no such bucket" in found.stderr
    assert "Nothing was submitted" in found.stderr
    story.environ["AWS_ENDPOINT_URL"] = "http://minio.example.com"
    found = story.command("run", str(manifest))
    assert found.returncode == 2
    assert "must be https" in found.stderr
    assert story.till("stopped ") == []


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
def test_the_secret_of_the_bucket_is_in_nothing_that_a_run_leaves_or_says(
    story: Story,
) -> None:
    manifest = story.manifest(["secret boat"], KEPT)
    said = ""
    for command in (["run", str(manifest), "-v"], ["report", manifest.stem]):
        found = story.command(*command)
        said += found.stdout + found.stderr
    elsewhere = story.manifest(["secret ship"], "output: {store: s3://not-there/x}")
    found = story.command("run", str(elsewhere), "--json")
    said += found.stdout + found.stderr
    left = [path for path in (story.root / "outputs").rglob("*") if path.is_file()]
    texts = [said.encode(), *(path.read_bytes() for path in left)]
    assert len(left) > 4
    assert [form for form in forms(SECRET) for text in texts if form in text] == []


@pytest.mark.slow
def test_workers_of_a_cluster_put_clips_into_the_bucket(
    story: Story, bucket: Bucket, place: Path
) -> None:
    pytest.importorskip("distributed")
    manifest = story.manifest([f"many boat {n}" for n in range(4)], KEPT)
    found = story.command("run", str(manifest), "--engine", "dask")
    assert found.returncode == 0, found.stderr
    assert len(whole(story, bucket, manifest)) == 4
    assert local(story, manifest) == []
    assert sum("many-boat" in path for path in puts(place)) == 4
    pictures = story.folder(manifest) / "posters"
    assert len(list(pictures.glob("*.jpg"))) == 1  # the clips are all alike


@pytest.mark.slow
def test_a_doctor_looks_at_the_bucket_of_a_manifest(
    story: Story, bucket: Bucket
) -> None:
    manifest = story.manifest(["healthy boat"], KEPT)
    found = story.command("doctor", str(manifest))
    assert found.returncode == 0, found.stdout
    assert "ok    store" in found.stdout
    assert "overwrites none, and has 0" in found.stdout
    assert mine(bucket, manifest) == []
    absent = story.manifest(["healthy boat"], "output: {store: s3://not-there/x}")
    found = story.command("doctor", str(absent), "--json")
    assert found.returncode == 8
    bad = [one for one in json.loads(found.stdout)["checks"] if one["level"] == "fail"]
    assert [one["name"] for one in bad] == ["store"]
    assert "no such bucket" in bad[0]["text"]


def test_without_the_extra_nothing_is_bought(story: Story, tmp_path: Path) -> None:
    (tmp_path / "obstore.py").write_text("raise ImportError", encoding="utf-8")
    story.environ["PYTHONPATH"] = str(tmp_path)
    manifest = story.manifest(["extra boat"], KEPT)
    found = story.command("run", str(manifest))
    assert found.returncode == 2
    assert "pip install 'batchgen[s3]'" in found.stderr
    assert "Nothing was submitted" in found.stderr
    assert story.till("extra ") == []


# Death between any two steps


class Undying(Disk):
    """Dies where a clip that is in the bucket would be removed from here."""

    def unlink(self, path: Path) -> None:
        if path.suffix == ".mp4":
            raise Died
        super().unlink(path)


def dying(call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """A call that its process does not survive."""

    def dies(*what: Any) -> None:
        if after:
            call(*what)
        raise Died

    return dies


SLOW = pytest.mark.slow
CUTS = [
    pytest.param("keep", False, id="downloaded, and not put"),
    pytest.param("", False, id="put, and here as well", marks=SLOW),
    pytest.param("keep", True, id="put, and not written down", marks=SLOW),
    pytest.param("explain", True, id="explained, and not written down", marks=SLOW),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "after"), CUTS)
async def test_who_dies_on_the_way_to_the_bucket_puts_nothing_twice(
    story: Story,
    bucket: Bucket,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    *,
    after: bool,
) -> None:
    salt = f"cut{call}{after:d}"
    manifest = story.manifest([f"{salt} boat {n}" for n in range(3)], KEPT)
    for name, value in bucket.environ.items():
        monkeypatch.setenv(name, value)
    url = address_of(story, manifest)
    with pytest.MonkeyPatch.context() as patch:
        if call:
            cut = dying(getattr(ObjectStore, call), after=after)
            patch.setattr(ObjectStore, call, cut)
        with pytest.raises(BaseExceptionGroup) as caught:
            await story.session(manifest, disk=None if call else Undying(), store=url)
    assert caught.value.subgroup(Died)
    brought_home(story, bucket, place, manifest, salt)


@pytest.mark.slow
@pytest.mark.anyio
async def test_who_dies_while_writing_it_down_puts_nothing_twice(
    story: Story, bucket: Bucket, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = story.manifest([f"torn boat {n}" for n in range(3)], KEPT)
    for name, value in bucket.environ.items():
        monkeypatch.setenv(name, value)
    disk = MortalDisk(word=b'"OutputsSaved"')
    with pytest.raises((BaseExceptionGroup, Died)):
        await story.session(manifest, disk=disk, store=address_of(story, manifest))
    brought_home(story, bucket, place, manifest, "torn")


def address_of(story: Story, manifest: Path) -> str:
    return f"s3://clips/night/{story.folder(manifest).name}"


def brought_home(
    story: Story, bucket: Bucket, place: Path, manifest: Path, salt: str
) -> None:
    """The next run ends well: every clip was bought once and put once."""
    found = story.command("run", str(manifest))
    assert found.returncode == 0, found.stderr
    assert local(story, manifest) == []
    assert len(whole(story, bucket, manifest)) == 3
    paths = [path for path in puts(place) if f"{salt}-boat" in path]
    assert len(paths) == len(set(paths)) == 3
    # What is there is known before it is downloaded and offered again.
    assert [path for path in puts(place, 412) if f"{salt}-boat" in path] == []
    assert len(story.till(f"{salt} ")) == 3
    assert bucket.uploads() == 0
