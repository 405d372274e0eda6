"""Uploading a file: a ticket and a PUT, or all at once in a form."""

import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from batchgen.sandbox.answers import Json, refusal, success
from batchgen.sandbox.asked import body_object
from batchgen.sandbox.predictions import share
from batchgen.sandbox.uploads import LARGEST, Upload
from batchgen.sandbox.world import World

_KINDS = ("image", "video", "audio")
_SIGNED = "content-type", "if-none-match"


class Counter:
    """Where a client with a key asks for tickets, or hands over a form."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ticket(self, request: Request) -> Response:
        """An address to PUT a file to, and the one it will be found at."""
        try:
            asked = await body_object(request)
            name, size = _name(asked.get("filename")), _size(asked.get("size"))
        except ValueError as error:
            return refusal(400, str(error))
        if size > LARGEST:
            return _too_large()
        kind = str(asked.get("content_type") or _guessed(name))
        upload = self._world.uploads.ticket(name, kind, size)
        downloads = self._world.addresses.downloads
        instruction = {
            "method": "PUT",
            "url": f"{downloads}/uploads/{upload.id}?sig={_signature(upload.id)}",
            "headers": {"Content-Type": kind, "If-None-Match": "*"},
        }
        return success({**_shown(upload, downloads), "upload": instruction})

    async def form(self, request: Request) -> Response:
        """The older way: the field `file` of a form."""
        if not request.headers.get("content-type", "").startswith("multipart/"):
            return refusal(415, "multipart/form-data is expected")
        async with request.form() as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                return refusal(400, 'field "file" is required and must not be empty')
            if (size := file.size or 0) > LARGEST:
                return _too_large()
            name = file.filename or "upload"
            kind = file.content_type or ""
            if kind in ("", "application/octet-stream"):
                kind = _guessed(name)
            uploads = self._world.uploads
            upload = uploads.ticket(name, kind, size)
            with uploads.path(upload.id).open("wb") as kept:
                while chunk := await file.read(2**20):
                    kept.write(chunk)
            uploads.keep(upload.id)
        return success(_shown(upload, self._world.addresses.downloads))


class Store:
    """The other origin: takes a file by its ticket and gives it out again."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def put(self, request: Request) -> Response:
        """Take the bytes that the ticket promised, once."""
        upload = self._world.uploads.find(request.path_params["id"])
        if upload is None or request.query_params.get("sig") != _signature(upload.id):
            return _storage(403, "AccessDenied")
        signed = {"content-type": upload.type, "if-none-match": "*"}
        if any(request.headers.get(name) != signed[name] for name in _SIGNED):
            return _storage(403, "SignatureDoesNotMatch")
        if upload.stored:
            return _storage(412, "PreconditionFailed")
        path = self._world.uploads.path(upload.id)
        try:
            size = await _received(request.stream(), path, upload.size)
        except ClientDisconnect:
            return _storage(400, "RequestTimeout")
        if size != upload.size:
            return _storage(400, "IncompleteBody")
        self._world.uploads.keep(upload.id)
        return Response(headers={"etag": f'"{upload.id}"'})

    async def get(self, request: Request) -> Response:
        """A file, by its public address."""
        upload = self._world.uploads.find(request.path_params["id"])
        if upload is None or not upload.stored:
            return _storage(403, "AccessDenied")
        path = self._world.uploads.path(upload.id)
        return FileResponse(path, media_type=upload.type)


async def _received(stream: AsyncIterator[bytes], path: Path, most: int) -> int:
    size = 0
    with path.open("wb") as kept:
        async for chunk in stream:
            size += len(chunk)
            if size <= most:
                kept.write(chunk)
    return size


def _shown(upload: Upload, downloads: str) -> dict[str, Any]:
    kind = upload.type.partition("/")[0]
    return {
        # The fact sheet knows three types; what is none of them is called an image.
        "type": kind if kind in _KINDS else "image",
        "download_url": f"{downloads}/media/{upload.id}/{quote(upload.filename)}",
        "filename": upload.filename,
        "size": upload.size,
    }


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('field "filename" is required and must not be empty')
    return Path(value).name


def _size(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError('field "size" must be at least 1')
    return value


def _guessed(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _signature(identity: str) -> str:
    return f"{int(share(f'upload/{identity}') * 2**48):012x}"


def _too_large() -> Json:
    return refusal(413, f"file exceeds the {LARGEST // 2**20} MB limit")


def _storage(status: int, code: str) -> Response:
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'
    return PlainTextResponse(text, status_code=status, media_type="application/xml")
