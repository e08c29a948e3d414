"""What a device that tags by itself tells its host, apart from bytes (`protocol` has those)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_audio.events.detector import Event
from edge_audio.support.arrays import FloatArray


@dataclass
class Losses:
    """What went wrong on the line so far. n_lost: frames missing between two numbers (the bad
    ones among them). n_bad: frames that arrived damaged. n_duplicates: frames that came twice."""

    n_lost: int = 0
    n_bad: int = 0
    n_duplicates: int = 0
    n_reboots: int = 0
    n_reconnects: int = 0

    def __str__(self) -> str:
        return (
            f"{self.n_lost} frames lost, {self.n_bad} damaged, {self.n_duplicates} twice, "
            f"{self.n_reboots} reboots, {self.n_reconnects} reconnects"
        )


@dataclass(frozen=True, eq=False)
class StepScores:
    """scores f32[n_labels] of the step that ended at time_s, zeros where none was sent."""

    time_s: float
    scores: FloatArray


@dataclass(frozen=True)
class Progress:
    """The device has heard the audio up to time_s."""

    time_s: float


@dataclass(frozen=True)
class Notice:
    """One line for the user about the state of the connection."""

    text: str


Item = Event | StepScores | Progress | Notice
