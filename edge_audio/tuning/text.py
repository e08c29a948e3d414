"""Choices as settings of `edge-audio listen --config`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_audio.tuning.choice import Choice


def settings(choices: Sequence[Choice], alarms_per_hour: float) -> str:
    """The choices as a section of the settings of `edge-audio listen --config`: those that differ
    from what is in use."""
    lines = [f"# by edge-audio tune: at most {alarms_per_hour:g} false alarms per hour and label"]
    excluded = [choice.label for choice in choices if choice.on is None and choice.on_before]
    lines.append("[events]")
    if excluded:
        lines.append(f"exclude = [{', '.join(map(_quoted, excluded))}]  # none keeps to that")
    lines += ["", "[events.thresholds]"]
    changed = [c for c in choices if c.on is not None and c.on != c.on_before]
    lines += [f"{_quoted(choice.label)} = {choice.on:g}" for choice in changed]
    return "\n".join(lines) + "\n"


def _quoted(label: str) -> str:
    return msgspec.json.encode(label).decode()
