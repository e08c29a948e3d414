"""The residual block that all students share; they differ in its sequence mixer alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.attention import AttentionConfig
from distill.students.conv_mixer import ConvConfig
from distill.students.lti import LTIConfig
from distill.students.mlstm import MLSTMConfig
from distill.students.norms import bounded_norm
from distill.students.selective import SelectiveSSMConfig
from distill.students.sequence_mixer import SequenceMixer
from distill.students.slstm import SLSTMConfig
from distill.students.state import State

MixerConfig = (
    LTIConfig | SelectiveSSMConfig | MLSTMConfig | SLSTMConfig | ConvConfig | AttentionConfig
)

BOUND = 6.0
"""No value beyond +-BOUND reaches a Linear, so that its input can be quantized to int8. Batch
statistics put few values beyond it."""


def bounded_hardswish(x: Tensor) -> Tensor:
    """Hardswish that saturates at BOUND."""
    return functional.hardswish(x).clamp(max=BOUND)


class ResidualBlock(nn.Module):
    """x + GLU(act(mixer(norm(x)))). The norm is a BatchNorm: in a stream it is a constant scale
    and shift, so nothing has to be normalised at run time."""

    def __init__(self, channels: int, mixer: SequenceMixer[Any]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.mixer = mixer
        self.mix = nn.Linear(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> the same."""
        u = bounded_norm(self.norm, x, -BOUND, BOUND).to(self.mix.weight.dtype)
        with torch.autocast(u.device.type, enabled=False):  # a recurrence adds up what bf16 rounds
            y = self.mixer(u)
        return x + self._gated(y)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """[B, D] and the mixer's state -> the same."""
        y, next_state = self.mixer.step(bounded_norm(self.norm, x, -BOUND, BOUND), state)
        return x + self._gated(y), next_state

    def _gated(self, y: Tensor) -> Tensor:
        return functional.glu(self.mix(bounded_hardswish(y)))
