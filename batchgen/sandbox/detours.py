"""Where a download may lead instead of to a clip."""

import zlib
from functools import cache

from starlette.datastructures import URL
from starlette.responses import RedirectResponse, Response

from batchgen.sandbox.faults import Drawn

_FIXED = {
    "redirect_loopback": "http://127.0.0.1:9/clip.mp4",
    "redirect_metadata": "http://169.254.169.254/latest/meta-data/",
    "redirect_file": "file:///etc/passwd",
}


def redirect(url: URL, faults: Drawn, mirror: str) -> Response | None:
    """A 302 if a fault asks for one; a way that was gone to its end asks no more."""
    for name, place in _FIXED.items():
        if name in faults:
            return RedirectResponse(place, 302)
    if "redirect_loop" in faults:
        return RedirectResponse(url, 302)
    if "redirect_tls" in faults:
        return RedirectResponse(url.replace(scheme="https"), 302)
    query = url.query
    if "&hops=" in query:
        query, _, left = query.partition("&hops=")
        hops = int(left) if left.isdecimal() else 0
    elif "redirect_chain" in faults:
        hops = int(faults["redirect_chain"] or 3)
    elif "redirect_host" in faults:
        hops, url = 1, url.replace(netloc=URL(mirror).netloc or url.netloc)
    else:
        return None
    if hops < 1:
        return None
    return RedirectResponse(url.replace(query=f"{query}&hops={hops - 1}"), 302)


def bomb(mebibytes: int) -> Response:
    """A small body that says it is compressed, and is."""
    headers = {"content-encoding": "gzip"}
    return Response(_zeros(mebibytes), media_type="video/mp4", headers=headers)


@cache
def _zeros(mebibytes: int) -> bytes:
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(2**20)
    parts = [gzip.compress(block) for _ in range(mebibytes)]
    return b"".join([*parts, gzip.flush()])
