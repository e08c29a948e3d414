"""From requests to what handlers take, and from what they give to responses."""

from __future__ import annotations

import asyncio
import math
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edge_audio.page.answers import Refusal
from edge_audio.support.text import one_line

MAX_HEAD_BYTES = MAX_BODY_BYTES = 16_384
BODY_S = 10.0  # within which all of it has to come
_MAX_QUERY_CHARS = 2000

Type = TypeVar("Type", bound=msgspec.Struct)


async def body_of(request: Request, type_: type[Type]) -> Type:
    """The JSON body. Raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(400, "send JSON, with content-type: application/json")
    try:
        raw = await asyncio.wait_for(_read(request), BODY_S)
    except asyncio.TimeoutError:
        raise Refusal(408, "the body came too slowly") from None
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, one_line(str(error), 200)) from None


async def _read(request: Request) -> bytes:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY_BYTES:
            raise Refusal(413, f"a body has at most {MAX_BODY_BYTES} bytes")
    return bytes(raw)


def query_of(request: Request, type_: type[Type]) -> Type:
    """What stands behind the ? of the address. Raises Refusal."""
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Refusal(400, "name each parameter once")
    if any(len(value) > _MAX_QUERY_CHARS for value in values.values()):
        raise Refusal(400, "a parameter is too long")
    try:
        found = msgspec.convert({k: v for k, v in values.items() if v}, type_, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(400, one_line(str(error), 200)) from None
    numbers = (x for x in msgspec.structs.astuple(found) if isinstance(x, float))
    if not all(map(math.isfinite, numbers)):
        raise Refusal(400, "numbers must be finite")
    return found


def number_of(request: Request) -> int:
    """The id of an event in the path. Raises Refusal."""
    text = str(request.path_params["id"])
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refusal(404, "there is no such event")
    return int(text)


def json_response(answer: Any, status: int = 200) -> Response:
    """An answer as JSON; 204 where there is none."""
    if answer is None:
        return Response(status_code=204)
    return Response(msgspec.json.encode(answer), status, media_type="application/json")


def error_response(refusal: Refusal) -> Response:
    """{"error": what to do}."""
    answer = json_response({"error": refusal.text}, refusal.status)
    answer.headers.update(refusal.headers)
    return answer
