"""What a call of the API is, to whoever answers and to whoever describes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request

from edge_audio.page.context import Context

Handler = Callable[[Context, Request], Awaitable[Any]]


@dataclass(frozen=True)
class Call:
    """query, takes, gives: types of what stands behind the ?, of the body, and of the answer, where
    there are any. media: of an answer that is no JSON."""

    method: str
    path: str
    summary: str
    handler: Handler
    gives: Any = None
    query: type[msgspec.Struct] | None = None
    takes: type[msgspec.Struct] | None = None
    media: str = "application/json"
