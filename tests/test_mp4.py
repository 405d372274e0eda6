import struct

import pytest

from batchgen import mp4


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def wide_box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


FTYP = box(b"ftyp", b"isom\0\0\2\0isommp41")
MOOV = box(b"moov", box(b"mvhd", bytes(100)))
MDAT = box(b"mdat", bytes(range(256)))
CLIP = FTYP + MOOV + MDAT


def judge(data: bytes, *, open_end: bool = True) -> str:
    def read(count: int, place: int) -> bytes:
        return data[place : place + count]

    return mp4.flaw(read, len(data), open_end=open_end)


@pytest.mark.parametrize(
    "clip",
    [
        CLIP,
        FTYP + MDAT + MOOV,
        FTYP + box(b"free") + MOOV + MDAT + MDAT,
        FTYP + MOOV + wide_box(b"mdat", b"frames"),
        FTYP + MOOV + struct.pack(">I4s", 0, b"mdat") + b"frames to the end",
        FTYP + MOOV + box(b"moof", b"x") + MDAT,
    ],
)
def test_a_whole_clip_has_no_flaw(clip: bytes) -> None:
    assert judge(clip) == ""


@pytest.mark.parametrize("clip", [CLIP, FTYP + wide_box(b"mdat", b"abc") + MOOV])
def test_a_cut_is_seen_at_every_byte(clip: bytes) -> None:
    assert [cut for cut in range(len(clip)) if not judge(clip[:cut])] == []


@pytest.mark.parametrize("tail", [b"\0", bytes(7), bytes(8), bytes(5000), b"junk"])
def test_what_follows_the_last_box_is_seen(tail: bytes) -> None:
    assert judge(CLIP + tail)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no ftyp box"),
        (b"<html><body>not here</body></html>", "not an MP4 file at byte 0"),
        (MOOV + FTYP + MDAT, "not an MP4 file at byte 0"),
        (FTYP + MDAT, "no moov box"),
        (FTYP + MOOV, "no mdat box"),
        (FTYP + box(b"moov") + MDAT, "no moov box"),
        (FTYP + struct.pack(">I4s", 7, b"moov"), f"no box at byte {len(FTYP)}"),
        (FTYP + struct.pack(">I4sQ", 1, b"moov", 15), f"no box at byte {len(FTYP)}"),
        (FTYP + struct.pack(">I4s", 0, b"free"), f"no box at byte {len(FTYP)}"),
        (
            FTYP + struct.pack(">I4sQ", 1, b"moov", 2**64 - 1),
            f"the moov box is cut off at byte {len(FTYP)}",
        ),
    ],
)
def test_a_flaw_is_named_with_its_place(data: bytes, words: str) -> None:
    assert judge(data) == words


def test_an_open_end_is_a_flaw_where_no_length_is_known() -> None:
    clip = FTYP + MOOV + struct.pack(">I4s", 0, b"mdat") + b"frames"
    assert judge(clip, open_end=False) == "the last box does not say where it ends"
    assert judge(CLIP, open_end=False) == ""


def test_a_box_of_four_gibibytes_is_stepped_over_without_reading_it() -> None:
    huge = 5 << 30
    head = FTYP + MOOV + struct.pack(">I4sQ", 1, b"mdat", huge)

    def read(count: int, place: int) -> bytes:
        assert 0 < count <= 16
        return head[place : place + count]

    assert mp4.flaw(read, len(FTYP + MOOV) + huge) == ""


def test_a_file_of_countless_boxes_is_given_up() -> None:
    assert judge(CLIP + box(b"free") * 9_997) == ""
    assert judge(CLIP + box(b"free") * 9_998) == "more than 10,000 boxes"
