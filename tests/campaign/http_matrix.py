"""Every way a submission can go wrong on the wire, against the real client.

A cell is a phase, a status, a body and a fault of the transport. A server on loopback
plays it, the real `Client.submit` meets it, and a table, written from section 7 of the
protocol and sharing nothing with the code, says what must come of it.
"""

import argparse
import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from batchgen.client import Client
from batchgen.errors import NotSent, Refused, Uncertain
from batchgen.pace import Pace

PHASES = ("nobody listens", "after the headers", "after the request", "after a 100")
STATUSES = (
    *(100, 200, 201, 202, 203, 204, 205, 206),
    *(300, 301, 302, 303, 304, 307, 308),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 411, 413, 414, 415, 418, 421),
    *(422, 423, 425, 426, 428, 429, 431, 451),
    *(500, 501, 502, 503, 504, 505, 507, 520, 524, 530),
)
_MADE = {"id": "p-1", "model": "m", "status": "created"}
BODIES: dict[str, bytes] = {
    name: body if isinstance(body, bytes) else json.dumps(body).encode()
    for name, body in {
        "a prediction": {"code": 200, "message": "success", "data": _MADE},
        "no code": {"data": _MADE},
        "failed at once": {"code": 200, "data": {**_MADE, "status": "failed"}},
        "a prediction, and top up": {"message": "top up your account", "data": _MADE},
        "no id": {"code": 200, "data": {"status": "created"}},
        "an id with a path": {"code": 200, "data": {"id": "../p"}},
        "an error": {"code": 400, "message": "bad prompt"},
        "no credit": {"code": 400, "message": "Insufficient credits."},
        "empty": b"",
        "a page": b"<html><h1>Bad gateway</h1></html>",
        "half of it": b'{"code": 200, "data": {"id": "p-1", "mo',
        "a list": b'[{"id": "p-1"}]',
        "not a number": b'{"code": NaN, "data": {"id": "p-1"}}',
        "a deep nest": b'{"data":' + b"[" * 100_000,
        "a giant": b" " * (2 * 1024 * 1024 + 1),
    }.items()
}
FAULTS = (
    "none",
    "silence",
    "reset",
    "cut in the status line",
    "cut in the headers",
    "cut after the headers",
    "cut half-way",
    "cut before the last byte",
    "reset half-way",
    "chunked",
    "chunked without an end",
    "chunked with a bad size",
    "no length",
    "gzip",
    "gzip that is none",
)


class Cell(NamedTuple):
    """What the server does with one submission."""

    phase: str
    status: int
    body: str
    fault: str


# The table: section 7, in other words.

_CREATED = {"a prediction", "no code", "failed at once", "a prediction, and top up"}
_NAMED = _CREATED | {"an id with a path"}
_SAYS_NO = {400, 404, 405, 406, 411, 413, 414, 415, 421, 422, 426, 428, 431, 451}
_SAYS_NO |= {501, 505, 401, 402, 403, 429}
_KINDS = {401: "key", 402: "credit", 403: "key", 429: "rate"}
_WHOLE = {"none", "chunked", "no length", "gzip"}
_NEED_A_BODY = {"cut after the headers", "cut half-way", "cut before the last byte"}
_NEED_A_BODY |= {"reset half-way"}


def expected(cell: Cell) -> tuple[str, str]:
    """What must come of it, and of a refusal its kind where the protocol names it."""
    if cell.phase == "nobody listens":
        return "not sent", ""
    nothing_to_cut = cell.body == "empty" and cell.fault in _NEED_A_BODY
    if not (cell.fault in _WHOLE or nothing_to_cut) or cell.body == "a giant":
        return "uncertain", ""
    if cell.status in _SAYS_NO and cell.body not in _NAMED:
        kind = _KINDS.get(cell.status, "")
        if cell.status == 400:
            kind = "credit" if cell.body == "no credit" else "invalid"
        return "refused", kind
    if 200 <= cell.status < 300 and cell.status != 204:
        if cell.body in _CREATED:
            return "accepted", ""
        if cell.body == "no credit":
            return "refused", "credit"
    return "uncertain", ""


def agrees(found: tuple[str, str], wanted: tuple[str, str]) -> bool:
    """Whether a verdict is the table's; no kind there means any kind."""
    return found[0] == wanted[0] and wanted[1] in ("", found[1])


def full() -> Iterator[Cell]:
    """All of them."""
    for row in itertools.product(PHASES, STATUSES, BODIES, FAULTS):
        yield Cell(*row)


def pairwise() -> Iterator[Cell]:
    """Every pair of two values of any two columns, at least once."""
    bodies = tuple(BODIES)
    for i, j in itertools.product(range(len(STATUSES)), range(len(bodies))):
        fault = FAULTS[(i + j) % len(FAULTS)]
        yield Cell(PHASES[(3 * i + j) % 4], STATUSES[i], bodies[j], fault)


def quick() -> list[Cell]:
    """The pairs, and every status with every body where nothing disturbs them."""
    calm = itertools.product(PHASES[2:3], STATUSES, BODIES, FAULTS[:1])
    return list(dict.fromkeys([*pairwise(), *(Cell(*row) for row in calm)]))


# The server.


def head(cell: Cell, length: int | None, *more: str) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {cell.status} Odd", "Content-Type: application/json", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def wire(cell: Cell) -> bytes:
    """What the server sends before it closes or resets."""
    body = BODIES[cell.body]
    whole = head(cell, len(body)) + body
    start = len(whole) - len(body)
    chunked = head(cell, None, "Transfer-Encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    squeezed = gzip.compress(body)
    answers = {
        "none": whole,
        "silence": b"",
        "reset": b"",
        "cut in the status line": whole[:7],
        "cut in the headers": whole[:40],
        "cut after the headers": whole[:start],
        "cut half-way": whole[: start + len(body) // 2],
        "cut before the last byte": whole[: max(start, len(whole) - 1)],
        "reset half-way": whole[: start + len(body) // 2],
        "chunked": chunked + chunk + b"0\r\n\r\n",
        "chunked without an end": chunked + chunk,
        "chunked with a bad size": chunked + b"zz\r\n" + body,
        "no length": head(cell, None, "Connection: close") + body,
        "gzip": head(cell, len(squeezed), "Content-Encoding: gzip") + squeezed,
        "gzip that is none": head(cell, 6, "Content-Encoding: gzip") + b"nozip!",
    }
    return answers[cell.fault]


@dataclass
class Server:
    """Plays the cell whose number stands in the path of the request."""

    cells: Sequence[Cell]
    requests: Counter[int] = field(default_factory=Counter)
    visits: set[asyncio.Task[None]] = field(default_factory=set)

    async def play(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection."""
        visit = asyncio.current_task()
        assert visit
        self.visits.add(visit)
        visit.add_done_callback(self.visits.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            number = int(request.split(b" ")[1].rsplit(b"/", 1)[1])
            self.requests[number] += 1
            cell = self.cells[number]
            if cell.phase != "after the headers":
                length = request.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
            if cell.phase == "after a 100":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            writer.write(wire(cell))
            await writer.drain()
            await self._end(cell, reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _end(
        self, cell: Cell, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if cell.fault.startswith("reset"):
            linger = struct.pack("ii", 1, 0)
            peer = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return
        # What was not read would turn the end of the connection into a reset.
        writer.write_eof()
        while await reader.read(65536):
            pass


async def verdict(client: Client, path: str) -> tuple[str, str]:
    """What the real client makes of one submission."""
    try:
        await client.submit(path, {"prompt": "a cat", "duration": 5})
    except Refused as no:
        return "refused", no.kind
    except NotSent:
        return "not sent", ""
    except Uncertain:
        return "uncertain", ""
    return "accepted", ""


async def play(cells: Iterable[Cell]) -> tuple[Counter[str], list[str]]:
    """Every cell once: how many came to what, and what was not as it must be."""
    cells = tuple(cells)
    server, counts, wrong = Server(cells), Counter[str](), list[str]()
    listener = await asyncio.start_server(server.play, "127.0.0.1", 0, limit=2**20)
    port = listener.sockets[0].getsockname()[1]
    common = {"pace": Pace(None, 1), "now": lambda: datetime.now(UTC)}
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{holder.getsockname()[1]}"
        async with (
            listener,
            Client.connect(f"http://127.0.0.1:{port}", "k", **common) as there,  # type: ignore[arg-type] # two kinds of values
            Client.connect(closed, "k", **common) as nowhere,  # type: ignore[arg-type] # the same
        ):
            for number, cell in enumerate(cells):
                heard = cell.phase != "nobody listens"
                found = await verdict(there if heard else nowhere, f"m/{number}")
                counts[found[0]] += 1
                if not agrees(found, expected(cell)):
                    wrong.append(f"{cell}: {found}, not {expected(cell)}")
                if server.requests[number] != heard:
                    wrong.append(f"{cell}: sent {server.requests[number]} times")
        await asyncio.gather(*server.visits)
    return counts, wrong


def main(argv: Sequence[str]) -> int:
    """Play the quick ones, or with `--full` everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign matrix")
    parser.add_argument("--full", action="store_true")
    cells = tuple(full() if parser.parse_args(argv).full else quick())
    began = time.monotonic()
    counts, wrong = asyncio.run(play(cells))
    shown = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
    print(f"{len(cells):,} cells in {time.monotonic() - began:.0f} s: {shown}")
    print(f"{len(wrong)} not as the protocol says")
    for text in wrong[:20]:
        print(text)
    return 1 if wrong else 0
