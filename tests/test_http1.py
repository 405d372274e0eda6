"""Answers as they come: in any pieces the same, and nothing in doubt is an answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen import http1
from batchgen.http1 import Garbled, Incoming, request

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def heard(*pieces: bytes) -> Incoming:
    answer = Incoming()
    for piece in pieces:
        answer.feed(piece)
    return answer


def body(answer: Incoming) -> bytes:
    return b"".join(answer.pieces)


WHOLE = {
    HEAD + b"Content-Length: 3\r\n\r\nabc": (b"abc", True),
    HEAD + b"Content-Length: 0\r\n\r\n": (b"", True),
    HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc": (b"abc", False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc": (b"abc", False),
    CHUNKED + b"2\r\nab\r\n1;ext=1\r\nc\r\n0\r\nTrailer: x\r\n\r\n": (b"abc", True),
    b"HTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na": (
        b"a",
        True,
    ),
    HEAD + b"Content-Length: \t3 \t\r\n\r\nabc": (b"abc", True),
    HEAD + b"Transfer-Encoding: Chunked \r\n\r\n3 \r\nabc\r\n0\r\n\r\n": (b"abc", True),
    HEAD.replace(b"\r", b"") + b"Content-Length: 3\n\nabc": (b"abc", True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (b"", True),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n": (b"", True),
}


@given(st.sampled_from(list(WHOLE)), st.data())
def test_an_answer_is_the_same_in_any_pieces(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.sets(st.integers(1, len(data) - 1)))
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    answer = heard(*pieces)
    assert (body(answer), answer.stays) == WHOLE[data]
    assert answer.is_whole
    assert answer.size == len(body(answer))
    assert answer.headers.keys().isdisjoint({"link", "trailer"})


def test_its_head_is_there_before_its_body() -> None:
    answer = heard(HEAD + b"X-Two: \xe9\r\nx-two: b\r\nContent-Length: 5\r\n\r\nab")
    assert (answer.is_begun, answer.is_whole) == (True, False)
    assert answer.status == 200
    assert answer.headers == {"x-two": "é, b", "content-length": "5"}
    assert (answer.length, answer.size, body(answer)) == (5, 2, b"ab")
    assert answer.stays


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer = heard(HEAD + b"\r\n", b"ab", b"c")
    assert not answer.is_whole
    answer.feed(b"")
    assert (body(answer), answer.is_whole, answer.stays) == (b"abc", True, False)


@pytest.mark.parametrize(
    "beyond", [HEAD + b"Content-Length: 1\r\n\r\ny", b"junk", b"\0"]
)
@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_what_comes_beyond_it_is_not_of_it(beyond: bytes, more: bytes) -> None:
    answer = heard(HEAD + more + b"Content-Length: 1\r\n\r\nx" + beyond)
    assert (body(answer), answer.size) == (b"x", 1)
    assert (answer.is_whole, answer.stays) == (True, False)


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"HTTP/1.1 103 Hints\r\n\r\n", b""],
        [HEAD + b"X: y\r\n", b""],
        [HEAD + b"Content-Length: 3\r\n\r\nab", b""],
        [CHUNKED + b"3\r\nabc\r\n", b""],
        [HEAD + b"Content-Length: 1, 2\r\n\r\nab"],
        [HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        [HEAD + b"Content-Length: -1\r\n\r\n"],
        [HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"],
        [CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
        [HEAD + b"Transfer-Encoding: identity\r\n\r\nabc"],
        [HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc"],
        [HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
        [HEAD + b"Content-Length: " + b"0" * 5000 + b"1\r\n\r\na"],
        [b"HTTP/1.1 099 Odd\r\n\r\nabc"],
        [b"HTTP/1.1 099 Odd\r\n\r\n", b"abc"],
        [CHUNKED + b"x\r\nabc\r\n0\r\n\r\n"],
        [HEAD + b"A b: c\r\n\r\n"],
        [HEAD + b"A: \0\r\n\r\n"],
        [HEAD + b"A: b\r\n folded\r\n\r\n"],
        [b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc"],
        [b"HTTP/2 200\r\n\r\n"],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [b"<html>"],
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_no_answer(
    pieces: list[bytes],
) -> None:
    with pytest.raises(Garbled):
        heard(*pieces)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (HEAD, b"X: " + b"x" * 1000 + b"\r\n"),
        (HEAD + b"X: ", b"x" * 1000),
        (b"", b"HTTP/1.1 103 Hints\r\n\r\n" * 100),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
        (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"x" * 1000),
        (CHUNKED + b"1;x=", b"x" * 1000),
    ],
)
def test_no_head_goes_on_without_end(begin: bytes, more: bytes) -> None:
    answer = heard(*filter(None, [begin]))

    def go_on() -> None:
        for _ in range(200):
            answer.feed(more)

    with pytest.raises(Garbled, match="do not end"):
        go_on()


def test_a_long_body_of_short_chunks_is_no_long_head() -> None:
    answer = heard(CHUNKED)
    for _ in range(40_000):  # each of three reads, with more beside them than in them
        for piece in (b"00001\r\n", b"a", b"\r\n"):
            answer.feed(piece)
    answer.feed(b"0\r\n\r\n")
    assert (answer.is_whole, answer.size) == (True, 40_000)


def test_a_request_is_its_lines_and_its_body() -> None:
    said = request("POST", b"/a?b=c", {"Host": "x", "If-Range": '"\xe9"'}, b"{}")
    assert said == b'POST /a?b=c HTTP/1.1\r\nHost: x\r\nIf-Range: "\xe9"\r\n\r\n{}'


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\x7fb"])
def test_nothing_ends_a_line_of_a_request_but_its_end(bad: str) -> None:
    for target, headers in (
        (b"/", {"X": bad}),
        (b"/", {bad: "x"}),
        (bad.encode(), {"X": "x"}),
    ):
        with pytest.raises(ValueError, match="control character"):
            request("GET", target, headers)


def test_connections_are_kept_for_less_than_servers_keep_them() -> None:
    assert http1.KEPT <= 5  # uvicorn's; nginx and node have more
