"""HTTP/1.1 as bytes: the head of a request, and an answer as it comes.

llhttp, the parser of Node.js, reads answers, by way of httptools; it is strict: what
two readers could read in two ways is no answer. Which connection carries them is the
business of others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from batchgen.patterns import pattern

KEPT = 5.0  # seconds; servers hang up on who is silent for longer
READ = 64 << 10  # bytes of an answer to take at once
_MOST_HEAD = 100 << 10  # of an answer; its trailers may have as many
_MOST_DIGITS = 18  # of a length
_FIRST, _FINAL = 100, 200  # between them are answers that announce another one
_CONTROLS = pattern(r"[\x00-\x08\x0a-\x1f\x7f]")


class Garbled(ValueError):
    """It is no answer, or not all of one."""


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers as text; one that was sent twice is joined by a comma."""
    found: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("ascii").lower(), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def request(
    method: str, target: bytes, headers: Mapping[str, str], body: bytes = b""
) -> bytes:
    """A whole request.

    Raises:
        ValueError: something in its head would end a line there.
    """
    lines = [f"{method} {target.decode('ascii')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(map(_CONTROLS.search, lines)):
        raise ValueError("a control character in the head of a request")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


class Incoming:
    """An answer to GET or POST, from its first byte on.

    Attributes:
        status: of HTTP, once it has begun.
        headers: once it has begun; with names in lower case.
        length: bytes of the body, if its head says so.
        pieces: of the body, as they came; to be taken away by whoever likes.
        size: bytes of the body that came.
        is_begun: whether its head is there, and interim ones are passed.
        is_whole: whether its body is there too.
        stays: whether the connection may carry another answer after this one.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.length: int | None = None
        self.pieces: list[bytes] = []
        self.size = 0
        self.is_begun = False
        self.is_whole = False
        self.stays = False
        self._raw: list[tuple[bytes, bytes]] = []
        self._head = 0  # bytes that came since the last piece of a body
        self._flaw = ""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # What most readers bear, and nobody reads in two ways.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def feed(self, data: bytes) -> None:
        """Take what came next; nothing stands for the end of the connection.

        Raises:
            Garbled: this is no answer. What came of the body until then is there.
        """
        if not data:
            self._end()
            return
        assert self._parser is not None  # noqa: S101 - only the last feeding ends it
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.is_whole:
                raise Garbled(str(error)) from error
            self.stays = False
        if self._flaw:
            raise Garbled(self._flaw)
        if self.is_whole:
            self._parser = None  # it knows us, and we know it: nobody would free it
        elif self._head > _MOST_HEAD:
            raise Garbled("its head or its trailers do not end")

    def _end(self) -> None:
        if not self.is_begun:
            raise Garbled("it hung up without an answer")
        if self.length is not None or "transfer-encoding" in self.headers:
            raise Garbled("it hung up within its answer")
        self.is_whole, self.stays, self._parser = True, False, None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """What comes beyond an answer would be taken for the next one."""
        if self.is_whole:
            self.stays = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or of the trailers, which nobody needs."""
        if not self.is_begun:
            self._raw.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is there, or an interim one."""
        if self.is_begun or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status < _FIRST:
            self._flaw = f"it has a status of {status}"
        elif status >= _FINAL:
            self.status, self.headers = status, headers_of(self._raw)
            self.stays = self._parser.should_keep_alive()
            self.is_begun, self._head = True, 0
            self._frame()
        self._raw.clear()

    def _frame(self) -> None:
        """Where the body ends, which decides whether all of it came."""
        coding = self.headers.get("transfer-encoding", "chunked")
        length = self.headers.get("content-length", "0")
        if coding.lower() != "chunked":
            self._flaw = f"a body in {coding}"
        elif not (length.isdecimal() and len(length) <= _MOST_DIGITS):
            self._flaw = f"a body of {length[:_MOST_DIGITS]} bytes"
        elif "content-length" in self.headers:
            self.length = int(length)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.is_begun and not self.is_whole:
            self._head = 0
            self.size += len(data)
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The end of it, or of an interim one."""
        self.is_whole = self.is_begun
