"""What each threshold would have done, of every label: what a choice rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.sweep import Counts

POINTS = np.round(1.0 / (1.0 + np.exp(-np.linspace(-2.95, 5.3, 56))), 4)
"""Candidate thresholds from 0.05 to 0.995, evenly spaced in log-odds."""


class Evidence:
    """What each threshold would have done. Rows are `labels`; column 0 of `alarms` and `found`
    is the threshold in use, the others are POINTS.

    alarms: false starts. found: recordings, or confirmed events, of the label that it reports, of
    n_right. hours: of audio without the label. lowest: thresholds below are unknown.
    """

    def __init__(self, labels: Sequence[str], spec: EventSpec) -> None:
        """labels: those to tune. spec: what is in use; a label without threshold counts as
        off."""
        self.labels = tuple(labels)
        self.spec = spec
        in_use = [spec.thresholds[x].on if x in spec.thresholds else np.inf for x in self.labels]
        self.thresholds = np.column_stack([in_use, np.tile(POINTS, (len(self.labels), 1))])
        self.alarms: Counts = np.zeros(self.thresholds.shape, np.int64)
        self.found: Counts = np.zeros_like(self.alarms)
        self.n_right: Counts = np.zeros(len(self.labels), np.int64)
        self.hours = np.zeros(len(self.labels))
        self.lowest = np.zeros(len(self.labels))
