"""What stands in the JSON file beside a clip: the recorder writes it, reports read it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

MAX_SIDECAR_BYTES = 1 << 20
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ClipEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """end_s: None if it still sounded when the clip ended. score: the highest. id: its row in a
    history; None where an older version recorded it."""

    label: str
    start_s: float
    end_s: float | None
    score: float
    id: int | None = None


class Sidecar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times are those of the stream, as in all records. Fields that later versions add are passed
    over.

    time_s, at, stream, label: of the first event, as in its record elsewhere. score: its highest.
    start_s, end_s: of the audio. gaps: (start_s, end_s) of silence in place of audio that was
        lost.
    """

    time_s: float
    at: str | None = None
    stream: str = ""
    label: str
    score: float = 0.0
    start_s: float
    end_s: float
    events: tuple[ClipEvent, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        _ = self.moment

    @property
    def moment(self) -> datetime | None:
        """`at`, with its zone; None for recordings. Raises ValueError if it is no such time."""
        return None if self.at is None else msgspec.convert(self.at, _Moment)


def read_sidecar(content: bytes) -> Sidecar:
    """Raises ValueError for what is no sidecar."""
    try:
        return msgspec.json.decode(content, type=Sidecar)
    except RecursionError as error:
        raise ValueError("this is nested too deeply") from error
