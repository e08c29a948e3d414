"""What every teacher offers: waveforms in, hidden layers and label logits out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from edge_audio.bundle.spec import Spec


class Layer(Spec, frozen=True):
    """One hidden layer that a student may regress: frame j of its `dim` channels is centred on
    offset_s + j * hop_s."""

    name: str
    dim: int
    hop_s: float
    offset_s: float = 0.0


class TeacherOutput(NamedTuple):
    """hidden: [B, T_i, D_i] per entry of the teacher's `layers`. clip_logits [B, C], and
    frame_logits [B, T, C], timed as its `label_frames` says; None from one without labels."""

    hidden: tuple[Tensor, ...]
    clip_logits: Tensor | None = None
    frame_logits: Tensor | None = None


class Teacher(Protocol):
    """A frozen network in eval mode.

    labels: names of the logits' columns, () if it has none. label_frames: timing of the frame
    logits, None if it has none. layers: the chosen hidden layers, shallow to deep.
    """

    @property
    def name(self) -> str: ...
    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def label_frames(self) -> Layer | None: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...

    def __call__(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        """waveform [B, n] in [-1, 1] at sample_rate_hz. lengths: samples of each row that are
        real, the rest being zero padding; frames that lie beyond them mean nothing."""
        ...
