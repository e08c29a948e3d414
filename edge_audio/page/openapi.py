"""The API in words of OpenAPI 3.1, made of the types that it is checked by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from edge_audio.page.call import Call

_REFERENCE = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The request is wrong; `error` says what to do",
    "401": "Log in first",
    "403": "X-CSRF-Token is missing, or nothing may be changed here",
    "404": "There is no such thing",
    "409": "The settings refuse it",
    "429": "Too often: Retry-After says when",
    "503": "Try again in a moment",
}


def description(calls: Iterable[Call], root: str) -> dict[str, Any]:
    """The document. root: what stands before the paths of calls."""
    calls = tuple(calls)
    types = [type_ for call in calls for type_ in (call.gives, call.takes) if type_ is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for call in calls:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", f"{root}{call.path}")
        paths.setdefault(path, {})[call.method.lower()] = _operation(call, schema_of)
    info = {"title": "edge-audio", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "../.."}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(call: Call, schema_of: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": call.summary, "responses": _responses(call, schema_of)}
    if parameters := [*_in_path(call), *_in_query(call), *_in_headers(call)]:
        found["parameters"] = parameters
    if call.takes is not None:
        content = {"application/json": {"schema": schema_of[repr(call.takes)]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _responses(call: Call, schema_of: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {code: {"description": text} for code, text in _ERRORS.items()}
    if call.gives is not None:
        content = {call.media: {"schema": schema_of[repr(call.gives)]}}
        responses["200"] = {"description": "Done", "content": content}
    elif call.media != "application/json":
        responses["200"] = {"description": "Done", "content": {call.media: {}}}
    else:
        responses["204"] = {"description": "Done"}
    return responses


def _in_path(call: Call) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)", call.path)
    types = ["integer" if name == "id" else "string" for name in names]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": type_}}
        for name, type_ in zip(names, types, strict=True)
    ]


def _in_query(call: Call) -> list[dict[str, Any]]:
    if call.query is None:
        return []
    schema = msgspec.json.schema_components([call.query], ref_template=_REFERENCE)[1]
    fields = schema[call.query.__name__]
    required = fields.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in fields["properties"].items()
    ]


def _in_headers(call: Call) -> list[dict[str, Any]]:
    if call.method == "GET" or call.path == "login":
        return []
    text = {"type": "string"}
    return [{"name": "X-CSRF-Token", "in": "header", "required": True, "schema": text}]
