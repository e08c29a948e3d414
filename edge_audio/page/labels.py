"""The labels of a run: which are on, from which score, and what that brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.suggestion import why_off
from edge_audio.labels.family import Family
from edge_audio.page.answers import LabelStatus, OperatingPoint
from edge_audio.page.run import StreamSettings
from edge_audio.support.text import encodable


def label_statuses(streams: Sequence[StreamSettings]) -> list[LabelStatus]:
    """All labels, those that are on first. Of one that several streams know, as the first of them
    has it."""
    found: dict[str, LabelStatus] = {}
    for stream in streams:
        for status in _of_stream(stream):
            found.setdefault(status.label, status)
    return sorted(found.values(), key=lambda status: (not status.is_on, status.label.casefold()))


def label_status(streams: Sequence[StreamSettings], label: str) -> LabelStatus | None:
    """One label with its curve; None if no stream knows it. Letter case does not matter."""
    for stream in streams:
        for name in stream.stream.labels:
            if encodable(name).casefold() == label.casefold():
                status = _status(name, stream, Family(stream.stream.parents))
                status.curve = operating_points(stream.own, name)
                return status
    return None


def operating_points(own: EventSpec, label: str) -> list[OperatingPoint]:
    """What was measured of a label at each sensitivity, by rising threshold."""
    specs = (own.thresholds, *own.sensitivities.values())
    points = {spec[label].on: spec[label] for spec in specs if label in spec}
    return [_point(points[on]) for on in sorted(points)]


def _of_stream(stream: StreamSettings) -> Iterator[LabelStatus]:
    family = Family(stream.stream.parents)
    for label in stream.stream.labels:
        yield _status(label, stream, family)


def _status(label: str, stream: StreamSettings, family: Family) -> LabelStatus:
    threshold, normal = stream.events.thresholds.get(label), stream.normal.thresholds.get(label)
    return LabelStatus(
        label=encodable(label),
        is_on=threshold is not None,
        threshold=None if threshold is None else round(threshold.on, 4),
        normal_threshold=None if normal is None else round(normal.on, 4),
        alarms_per_hour=None if threshold is None else threshold.alarms_per_hour,
        recall=None if threshold is None else threshold.recall,
        reason="" if normal is not None else why_off(stream.own, label),
        parents=sorted(family.ancestors(label)),
    )


def _point(threshold: Threshold) -> OperatingPoint:
    return OperatingPoint(round(threshold.on, 4), threshold.alarms_per_hour, threshold.recall)
