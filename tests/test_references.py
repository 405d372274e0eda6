"""Pictures and elements in requests: what is planned, and what is sent."""

import pytest

from batchgen.events import (
    AttemptAccepted,
    AttemptStarted,
    ElementKnown,
    MediaUploaded,
    Output,
    PredictionCompleted,
    PredictionFailed,
    TaskPlanned,
)
from batchgen.references import (
    blurred,
    element_id,
    elements,
    pictures,
    task_of,
    unwire,
    wire,
)
from batchgen.tally import Tally

CAT, DOG, MUG = (f"sha256:{letter * 64}" for letter in "abc")
URL, OTHER = "https://cdn.example/1/cat.jpg", "https://cdn.example/2/dog.jpg"
EARLY, NOON, LATE = (f"2026-10-01T{hour}:00:00.000Z" for hour in ("11", "12", "13"))
TASK = "d" * 32
FIELDS = {
    "prompt": "a cat",
    "image": CAT,
    "images": [CAT, "https://example.com/x.jpg", DOG],
    "element_list": [{"element_id": MUG}, {"element_id": "829301"}],
    "duration": 5,
}


def test_references_are_told_apart_by_where_they_stand() -> None:
    assert pictures(FIELDS) == (CAT, DOG)
    assert elements(FIELDS) == (MUG,)
    assert task_of(MUG) == "c" * 32


def test_a_request_goes_out_without_references_and_compares_as_planned() -> None:
    urls, ids = {CAT: URL, DOG: OTHER}, {task_of(MUG): "307212335131305"}
    sent = wire(FIELDS, urls, ids)
    assert sent == {
        "prompt": "a cat",
        "image": URL,
        "images": [URL, "https://example.com/x.jpg", OTHER],
        "element_list": [
            {"element_id": "307212335131305"},
            {"element_id": "829301"},
        ],
        "duration": 5,
    }
    refs = {URL: CAT, OTHER: DOG}
    makers = {"307212335131305": task_of(MUG)}
    ours = unwire(FIELDS, refs, makers)
    assert unwire(sent, refs, makers) == ours
    echoed = {**sent, "element_list": [{"element_id": 307212335131305}, "829301"]}
    assert unwire(echoed, refs, makers)["element_list"][0] == ours["element_list"][0]
    assert unwire({**sent, "image": OTHER}, refs, makers) != ours


@pytest.mark.parametrize(
    ("urls", "ids"),
    [({CAT: URL}, {task_of(MUG): "3"}), ({CAT: URL, DOG: OTHER}, {})],
)
def test_nothing_is_sent_while_a_reference_has_no_place(
    urls: dict[str, str], ids: dict[str, str]
) -> None:
    with pytest.raises(KeyError):
        wire(FIELDS, urls, ids)


def test_requests_that_differ_in_pictures_alone_look_alike_without_glasses() -> None:
    other = {**FIELDS, "image": URL, "element_list": [{"element_id": 5}, "7"]}
    assert blurred(other)["image"] == blurred(FIELDS)["image"]
    assert blurred({**other, "prompt": "a dog"}) != blurred(other)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"element_id": 307212335131305}, "307212335131305"),
        ({"element_id": "el-1_x"}, "el-1_x"),
        ({"element_id": 3.0}, ""),
        ({"element_id": True}, ""),
        ({"element_id": "../x"}, ""),
        ({"element_id": ""}, ""),
        ({"id": 5}, ""),
        ("307212335131305", ""),
        (None, ""),
    ],
)
def test_an_element_id_is_text_or_none_at_all(value: object, found: str) -> None:
    assert element_id([Output(kind="json", value=value)]) == found
    assert element_id([Output(kind="url", host="h", path="/p")]) == ""


def planned(fields: dict[str, object]) -> TaskPlanned:
    return TaskPlanned(
        task=TASK,
        slug="s",
        labels={},
        model="acme/video",
        input=fields,
        take=1,
        price=100,
        seconds=5,
        output="s.mp4",
    )


def bought(tally: Tally, fields: dict[str, object]) -> None:
    tally.apply(planned(fields))
    tally.apply(AttemptStarted(task=TASK, attempt=1, reserve=100))
    tally.apply(AttemptAccepted(task=TASK, attempt=1, prediction="p"))


def test_an_upload_counts_until_its_time_and_its_address_for_ever() -> None:
    tally = Tally()
    tally.apply(MediaUploaded(ref=CAT, url=URL, until=NOON))
    assert tally.urls(FIELDS, EARLY) == {CAT: URL}
    assert tally.urls(FIELDS, NOON) == {}
    tally.apply(MediaUploaded(ref=CAT, url=OTHER, until=LATE))
    assert tally.urls(FIELDS, NOON) == {CAT: OTHER}
    assert tally.refs == {URL: CAT, OTHER: CAT}


@pytest.mark.parametrize(("code", "left"), [(1402, {DOG}), (5000, {CAT, DOG})])
def test_a_picture_that_the_service_could_not_fetch_is_brought_anew(
    code: int, left: set[str]
) -> None:
    tally = Tally()
    for ref, url in ((CAT, URL), (DOG, OTHER)):
        tally.apply(MediaUploaded(ref=ref, url=url, until=LATE))
    bought(tally, {"image": CAT})
    tally.apply(
        PredictionFailed(task=TASK, attempt=1, kind="provider", message="m", code=code)
    )
    assert set(tally.uploads) == left
    assert set(tally.refs.values()) == {CAT, DOG}


def test_what_a_run_made_itself_counts_and_all_ids_are_recognised() -> None:
    tally = Tally()
    bought(tally, {"name": "AuroraMug"})
    output = Output(kind="json", value={"element_id": 5})
    tally.apply(PredictionCompleted(task=TASK, attempt=1, outputs=(output,)))
    assert tally.elements == {TASK: "5"}
    tally.apply(ElementKnown(ref="sha256:" + "d" * 64, element_id="6"))
    assert tally.elements == {TASK: "5"}
    assert tally.makers == {"5": TASK, "6": TASK}
