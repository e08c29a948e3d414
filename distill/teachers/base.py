"""What every teacher offers: waveforms in, hidden layers and label logits out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError


class Timing(NamedTuple):
    """Frame j is centred on offset_s + j * hop_s."""

    hop_s: float
    offset_s: float


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


def check_layers(chosen: Sequence[int], possible: range, whose: str = "") -> None:
    """UsageError unless these are rising numbers out of the possible ones; whose: ` of NAME`."""
    if list(chosen) != sorted(set(chosen) & set(possible)):
        numbers = f"{possible[0]}-{possible[-1]}"
        raise UsageError(f"layers {list(chosen)}{whose}: rising numbers of {numbers}")


def refuse_longer(teacher: Teacher, n_samples: int, max_samples: int | None) -> None:
    """UsageError if a clip is longer than what the teacher hears at once (None: any length)."""
    if max_samples is not None and n_samples > max_samples:
        rate_hz = teacher.sample_rate_hz
        raise UsageError(
            f"{teacher.name} hears at most {max_samples / rate_hz:.2f} s at once, not "
            f"{n_samples / rate_hz:.2f} s: shorten the mixtures"
        )


def count_frames(layer: Layer, n_samples: int, rate_hz: int) -> int:
    """Frames centred within a clip, at least one."""
    return max(1, math.ceil((n_samples / rate_hz - layer.offset_s) / layer.hop_s - 1e-9))


def row_of(output: TeacherOutput, place: int) -> TeacherOutput:
    """One clip of a batch, without the axis of clips."""
    clip, frames = output.clip_logits, output.frame_logits
    return TeacherOutput(
        tuple(layer[place] for layer in output.hidden),
        None if clip is None else clip[place],
        None if frames is None else frames[place],
    )


def stack_rows(rows: Sequence[TeacherOutput]) -> TeacherOutput:
    """What `row_of` gave for clips of different lengths, as one batch with zeros behind the
    shorter ones."""
    layers = zip(*(row.hidden for row in rows), strict=True)
    hidden = tuple(pad_sequence(list(layer), batch_first=True) for layer in layers)
    clips = [row.clip_logits for row in rows if row.clip_logits is not None]
    frames = [row.frame_logits for row in rows if row.frame_logits is not None]
    return TeacherOutput(
        hidden,
        torch.stack(clips) if clips else None,
        pad_sequence(frames, batch_first=True) if frames else None,
    )
