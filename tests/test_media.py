"""Pictures and elements in a session: brought, bought once, and never sent wrong."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from test_story import MortalDisk

from batchgen.events import (
    MediaUploaded,
    OutputsSaved,
    PredictionFailed,
    TaskAbandoned,
)
from batchgen.fetcher import made
from batchgen.models import catalog
from batchgen.models.canonical import digest
from batchgen.plan import Download, Policy
from batchgen.state import word
from batchgen.tally import Tally
from batchgen.task import Task
from conftest import Story

pytestmark = pytest.mark.anyio

CLIP = "kwaivgi/kling-v3.0-4k/image-to-video"
O3 = "kwaivgi/kling-video-o3-4k/text-to-video"
ELEMENT = "kwaivgi/kling-elements"
PNG = b"\x89PNG\r\n\x1a\n"


class Stage:
    """Hand-made tasks over pictures of a folder, and what came of them."""

    def __init__(self, story: Story, salt: str) -> None:
        self.story, self.salt = story, salt
        self.manifest = story.manifest([f"{salt} nobody"])
        self.folder = story.root / salt
        self.folder.mkdir()

    def picture(self, name: str) -> tuple[str, str]:
        """Reference and path of a new picture."""
        path = self.folder / f"{name}.png"
        path.write_bytes(PNG + f"{self.salt} {name}".encode())
        return f"sha256:{sha256(path.read_bytes()).hexdigest()}", str(path)

    def spoil(self, picture: tuple[str, str], *, gone: bool = False) -> None:
        """Another content under its name, or none."""
        if gone:
            Path(picture[1]).unlink()
        else:
            Path(picture[1]).write_bytes(PNG + b"another")

    def clip(self, number: int, picture: tuple[str, str], take: int = 1) -> Task:
        ref, path = picture
        fields = {"prompt": f"{self.salt} clip {number}", "image": ref, "duration": 3}
        return self._task(CLIP, fields, f"c{number}", 3, take, {ref: path})

    def element(self, name: str, picture: tuple[str, str]) -> Task:
        ref, path = picture
        fields = {
            "name": name,
            "description": f"{self.salt} thing",
            "image": ref,
            "element_refer_list": [ref],
        }
        return self._task(ELEMENT, fields, f"element_{name}", 0, 1, {ref: path})

    def showing(self, number: int, *elements: Task) -> Task:
        fields = {
            "prompt": f"{self.salt} show {number}",
            "element_list": [{"element_id": one.ref} for one in elements],
            "duration": 3,
        }
        return self._task(O3, fields, f"s{number}", 3, 1, {})

    def _task(
        self,
        model: str,
        fields: dict[str, Any],
        slug: str,
        seconds: int,
        take: int,
        files: dict[str, str],
    ) -> Task:
        entry = catalog().find(model)
        assert entry is not None
        body = entry.request(fields)
        name = digest(model, entry.canonical(body), take)[:32]
        price = entry.price.of({**entry.identity_defaults, **body})
        output = f"{slug}.mp4" if seconds else ""
        return Task(
            name, slug, model, body, take, price, seconds, {}, output, None, files
        )

    async def run(self, tasks: Sequence[Task], **more: Any) -> Tally:
        _, tally = await self.story.session(self.manifest, tasks=tasks, **more)
        return tally

    def charges(self) -> list[dict[str, Any]]:
        """The inputs that were paid for, oldest first."""
        uri = f"file:{self.story.data / 'sandbox.db'}?mode=ro"
        connection = sqlite3.connect(uri, uri=True)
        try:
            rows = connection.execute(
                "SELECT input FROM predictions ORDER BY created"
            ).fetchall()
        finally:
            connection.close()
        bodies = [json.loads(raw) for (raw,) in rows]
        return [body for body in bodies if self.salt in json.dumps(body)]

    def uploads(self) -> list[bytes]:
        """Every file that the service holds of ours."""
        files = (self.story.data / "media").iterdir()
        return [
            data for data in (one.read_bytes() for one in files) if self._ours(data)
        ]

    def _ours(self, data: bytes) -> bool:
        return data.startswith(PNG + f"{self.salt} ".encode())

    def faults(self, names: str) -> None:
        """Let the next request of each kind meet them."""
        url = f"{self.story.api}/__sandbox__/faults"
        assert httpx.post(url, content=names).status_code == 200

    def words(self, tally: Tally, tasks: Sequence[Task]) -> list[str]:
        return [
            word(tally.states[one.id]) if one.id in tally.states else "pending"
            for one in tasks
        ]


@pytest.fixture
def stages(story: Story) -> Any:
    """A stage of its own for each word."""
    return lambda salt: Stage(story, salt)


async def test_a_picture_goes_up_once_and_its_address_is_sent(stages: Any) -> None:
    stage = stages("once")
    cat, dog = stage.picture("cat"), stage.picture("dog")
    tasks = [stage.clip(n, cat) for n in range(4)] + [stage.clip(9, dog)]
    tally = await stage.run(tasks)
    assert tally.counts["done"] == 5
    assert len(stage.uploads()) == 2
    charges = stage.charges()
    assert len(charges) == 5
    assert all(body["image"].startswith("http://127.0.0.1:") for body in charges)
    assert len({body["image"] for body in charges}) == 2
    state_file = stage.story.folder(stage.manifest) / "state.jsonl"
    assert str(stage.folder) not in state_file.read_text(encoding="utf-8")
    for state in tally.states.values():
        assert state.planned
        assert state.planned.input["image"] in (cat[0], dog[0])
    # The next day's tasks use the same upload.
    await stage.run([*tasks, stage.clip(10, cat)])
    assert (len(stage.uploads()), len(stage.charges())) == (2, 6)


@pytest.mark.parametrize(
    "fault", ["upload_500", "upload_drop", "put_412", "put_403", "put_500", "put_drop"]
)
async def test_trouble_with_an_upload_is_borne(stages: Any, fault: str) -> None:
    stage = stages(fault.replace("_", ""))
    stage.faults(fault)
    tally = await stage.run([stage.clip(1, stage.picture("cat"))])
    assert tally.counts["done"] == 1
    assert len(stage.charges()) == 1


async def test_a_picture_that_is_refused_fails_its_tasks_for_nothing(
    stages: Any,
) -> None:
    stage = stages("refused")
    tasks = [stage.clip(n, stage.picture("cat")) for n in range(3)]
    tally = await stage.run(tasks, faults="upload_413")
    assert stage.words(tally, tasks) == ["rejected"] * 3
    assert tally.ledger.committed == 0
    trouble = tally.states[tasks[0].id].trouble
    assert trouble is not None
    assert trouble.message.startswith("cat.png is not taken (HTTP 413)")
    assert stage.charges() == stage.uploads() == []
    again = Policy(retry=frozenset({"rejected"}))
    assert stage.words(await stage.run(tasks, policy=again), tasks) == ["done"] * 3


async def test_a_picture_that_changed_after_planning_is_not_bought(
    stages: Any,
) -> None:
    stage = stages("changed")
    cat = stage.picture("cat")
    tasks = [stage.clip(1, cat), stage.clip(2, stage.picture("dog"))]
    stage.spoil(cat)
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["pending", "done"]
    assert "cat.png has changed since it was planned" in "\n".join(stage.story.notices)
    assert len(stage.charges()) == 1
    stage.spoil(cat, gone=True)
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["pending", "done"]
    assert "cat.png cannot be read" in "\n".join(stage.story.notices)


async def test_what_the_service_could_not_fetch_is_uploaded_anew(stages: Any) -> None:
    stage = stages("unfetched")
    tasks = [stage.clip(1, stage.picture("cat"))]
    stage.faults("fail_media")
    tally = await stage.run(tasks)
    state = tally.states[tasks[0].id]
    assert word(state) == "failed"
    assert state.trouble
    assert state.trouble.kind == "provider"
    assert len(stage.uploads()) == 1
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["done"]
    assert len(stage.uploads()) == 2
    first, second = stage.charges()
    assert first["image"] != second["image"]


async def test_every_address_that_was_charged_stands_in_the_state_file(
    stages: Any,
) -> None:
    stage = stages("durable")
    for lines in range(1, 7):
        tasks = [stage.clip(lines, stage.picture(f"cat{lines}"))]
        with suppress(BaseExceptionGroup):
            await stage.run(tasks, disk=MortalDisk(lines=lines))
        records, _ = stage.story.replay(stage.manifest)
        known = {r.event.url for r in records if isinstance(r.event, MediaUploaded)}
        assert {body["image"] for body in stage.charges()} <= known
    assert known


async def test_a_lost_answer_about_a_picture_is_found_by_its_address(
    stages: Any,
) -> None:
    stage = stages("lostclip")
    cat, dog = stage.picture("cat"), stage.picture("dog")
    tasks = [stage.clip(1, cat), stage.clip(1, dog)]  # equal but for the picture
    with pytest.raises(BaseExceptionGroup):
        await stage.run(tasks, disk=MortalDisk(word=b'"AttemptAccepted"'))
    assert len(stage.charges()) == 1
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["done", "done"]
    bought = stage.charges()
    assert len(bought) == 2
    assert len({body["image"] for body in bought}) == 2


async def test_elements_are_made_first_and_clips_show_them(stages: Any) -> None:
    stage = stages("first")
    mug = stage.element("FirstMug", stage.picture("mug"))
    cat = stage.element("FirstCat", stage.picture("cat"))
    tasks = [mug, cat, stage.showing(1, mug, cat), stage.showing(2, mug)]
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["done"] * 4
    charges = stage.charges()
    assert [("name" in body) for body in charges] == [True, True, False, False]
    ids = [tally.elements[mug.id], tally.elements[cat.id]]
    shown = {body["prompt"]: body["element_list"] for body in charges[2:]}
    assert shown["first show 1"] == [{"element_id": one} for one in ids]
    assert shown["first show 2"] == [{"element_id": ids[0]}]
    assert tally.ledger.committed == 2 * 10_000 + 2 * 1_260_000
    await stage.run(tasks)
    assert len(stage.charges()) == 4


async def test_a_failed_element_costs_its_clips_nothing(stages: Any) -> None:
    stage = stages("failing")
    mug = stage.element("FailingMug", stage.picture("mug"))
    cat = stage.element("FailingCat", stage.picture("cat"))
    tasks = [mug, cat, stage.showing(1, mug), stage.showing(2, cat)]
    stage.faults("fail_provider")
    tally = await stage.run(tasks)
    words = stage.words(tally, tasks)
    assert sorted(words[:2]) == ["done", "failed"]  # whichever was asked for first
    assert words[2:] == words[:2]
    at = words.index("failed")
    name, clip = ("FailingMug", "FailingCat")[at], tally.states[tasks[2 + at].id]
    assert clip.trouble is not None
    assert clip.trouble.kind == "element"
    assert clip.trouble.message.startswith(f"element {name} failed: ")
    assert not clip.attempts
    assert len(stage.charges()) == 3
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["done"] * 4
    assert len(stage.charges()) == 5


async def test_a_rejected_element_is_not_tried_again_unless_told(stages: Any) -> None:
    stage = stages("modest")
    mug = stage.element("ModestMug", stage.picture("mug"))
    tasks = [mug, stage.showing(1, mug)]
    stage.faults("fail_moderation")
    for _ in range(2):
        tally = await stage.run(tasks)
        assert stage.words(tally, tasks) == ["rejected", "failed"]
        assert len(stage.charges()) == 1
    tally = await stage.run(tasks, policy=Policy(retry=frozenset({"rejected"})))
    assert stage.words(tally, tasks) == ["done", "done"]


async def test_clips_wait_for_an_element_in_doubt(stages: Any) -> None:
    stage = stages("doubting")
    mug = stage.element("DoubtMug", stage.picture("mug"))
    tasks = [mug, stage.showing(1, mug)]
    # Session, upload, plan and intent are written; then it dies before the request.
    with pytest.raises(BaseExceptionGroup):
        await stage.run(tasks, disk=MortalDisk(lines=4))
    for _ in range(2):
        tally = await stage.run(tasks)
        assert stage.words(tally, tasks) == ["uncertain", "pending"]
        assert stage.charges() == []
    tally = await stage.run(tasks, policy=Policy(retry=frozenset({"absent"})))
    assert stage.words(tally, tasks) == ["done", "done"]
    assert len(stage.charges()) == 2


async def test_a_lost_answer_about_an_element_is_found(stages: Any) -> None:
    stage = stages("lostmug")
    mug = stage.element("LostMug", stage.picture("mug"))
    tasks = [mug, stage.showing(1, mug)]
    with pytest.raises(BaseExceptionGroup):
        await stage.run(tasks, disk=MortalDisk(word=b'"AttemptAccepted"'))
    assert len(stage.charges()) == 1
    tally = await stage.run(tasks)
    assert stage.words(tally, tasks) == ["done", "done"]
    assert len(stage.charges()) == 2


async def test_clips_wait_for_an_element_that_the_cap_does_not_cover(
    stages: Any,
) -> None:
    stage = stages("poor")
    mug = stage.element("PoorMug", stage.picture("mug"))
    tasks = [mug, stage.showing(1, mug)]
    tally = await stage.run(tasks, cap=9_999)
    assert stage.words(tally, tasks) == ["pending", "pending"]
    tally = await stage.run(tasks, cap=1_269_999)
    assert stage.words(tally, tasks) == ["done", "pending"]
    tally = await stage.run(tasks, cap=1_270_000)
    assert stage.words(tally, tasks) == ["done", "done"]


def test_an_element_without_an_id_is_lost(story: Story) -> None:
    stage = Stage(story, "blank")
    mug = stage.element("BlankMug", stage.picture("mug"))
    step = Download(mug, 1, "p")
    lost = made(step, known=False)
    assert isinstance(lost, TaskAbandoned)
    assert lost.kind == "lost"
    gone = made(replace(step, stray=True), known=False)
    assert isinstance(gone, PredictionFailed)
    assert made(step, known=True) == OutputsSaved(task=mug.id, attempt=1, files=())


@pytest.mark.slow
async def test_death_at_every_line_makes_each_element_once(stages: Any) -> None:
    for lines in range(1, 60):
        stage = stages(f"dead{lines:02d}x")
        mug = stage.element(f"Mug{lines}", stage.picture("mug"))
        cat = stage.element(f"Cat{lines}", stage.picture("cat"))
        clip = stage.clip(1, stage.picture("dog"))
        tasks = [mug, cat, clip, stage.showing(1, mug, cat)]
        died = False
        try:
            await stage.run(tasks, disk=MortalDisk(lines=lines, more=lines % 2 * 9))
        except BaseExceptionGroup:
            died = True
        tally = await stage.run(tasks)
        words = stage.words(tally, tasks)
        charges = [body.get("prompt") or body["name"] for body in stage.charges()]
        assert len(charges) == len(set(charges)), (lines, charges)
        assert "failed" not in words
        tally = await stage.run(tasks, policy=Policy(retry=frozenset({"absent"})))
        assert stage.words(tally, tasks) == ["done"] * 4, lines
        charges = [body.get("prompt") or body["name"] for body in stage.charges()]
        assert len(charges) == len(set(charges)) == 4, (lines, charges)
        if not died:
            break
    assert lines > 12
