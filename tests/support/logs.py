"""Records of an event log, and logs of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

NOON = datetime.fromisoformat("2026-03-02T12:00:00+01:00")


def record(time_s: float, kind: str, label: str = "", **fields: object) -> dict[str, Any]:
    at = (NOON + timedelta(seconds=time_s)).isoformat(timespec="milliseconds")
    event = {"label": label, "score": 0.5} if label else {}
    return {"time_s": time_s, "at": at, "stream": "hall", "kind": kind, **event, **fields}


def undated(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "at"}


def levels(start_s: int, end_s: int, step_s: int = 10, dbfs: float = -50.0) -> list[dict[str, Any]]:
    return [record(t, "level", level_dbfs=dbfs) for t in range(start_s, end_s, step_s)]


def write_log(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path
