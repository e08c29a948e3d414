"""Quality beside cost, from what `edge-audio evaluate --soundscapes --out DIR` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError

METRICS_FILE = "metrics.json"
F1_COLLAR_S = 0.5


class Quality(Spec, frozen=True):
    """Figures of one model; None where the evaluation has none.

    name: as evaluated, windows included. Shares (esc50, found, event_f1) are in 0 to 1; the F1
    has a collar of 500 ms around the onset. false_alarms_per_h: of one label.
    """

    name: str
    esc50: float | None
    event_f1: float | None
    found: float | None
    onset_median_s: float | None
    false_alarms_per_h: float | None

    @property
    def family(self) -> str:
        """The model's name without its windows, as in `Row.family`."""
        return self.name.partition(",")[0]


def read_quality(folder: Path) -> tuple[Quality, ...]:
    """One for each model. Fields that are absent are None: evaluations may change sooner than
    what is read here. Raises UsageError if the folder holds no evaluation."""
    path = folder / METRICS_FILE
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"--quality: cannot read {path}: {error}; write it with "
            "edge-audio evaluate ... --soundscapes --out DIR"
        ) from error
    return tuple(_models(content))


def _models(content: Any) -> Iterator[Quality]:
    streaming = {str(one.get("name")): one for one in _items(_get(content, "streaming", "models"))}
    clips = {str(one.get("name")): one for one in _items(_get(content, "models"))}
    for name in streaming or clips:
        heard, family = streaming.get(name), name.partition(",")[0]
        yield Quality(
            name=name,
            esc50=_number(clips.get(family), "esc50", "embedding", "mean", "value"),
            event_f1=_number(_f1(heard), "micro", "value"),
            found=_number(heard, "latency", "found", "value"),
            onset_median_s=_number(heard, "latency", "median_s"),
            false_alarms_per_h=_number(heard, "false_alarms", "each", "value"),
        )


def _f1(model: Any) -> Any:
    scores = _items(_get(model, "event_f1"))
    return next((one for one in scores if one.get("collar_s") == F1_COLLAR_S), None)


def _get(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _items(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _number(value: Any, *keys: str) -> float | None:
    found = _get(value, *keys)
    return float(found) if isinstance(found, int | float) else None
