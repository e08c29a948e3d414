"""Diagonal linear time-invariant state space: a bank of decaying oscillators per channel.

The recurrence is that of S4D (Gu et al. 2022) and LRU (Orvieto et al. 2023), kept in pairs of
real numbers because complex tensors do not export to mobile runtimes:

    h[t] = r e^(i theta) h[t-1] + g u[t]      y[t] = sum_n Re(c_n h_n[t]) + d u[t]

with g = sqrt(1 - r^2), which keeps the state's variance near that of the input.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distill.students.causal_conv import convolve
from distill.students.sequence_mixer import SequenceMixer
from edge_audio.bundle.spec import Spec


class LTIConfig(Spec, frozen=True, tag_field="kind", tag="ssm-lti"):
    """n_modes: oscillators per channel. max_time_constant_s: longest memory."""

    n_modes: int = 8
    max_time_constant_s: float = 8.0

    def build(self, channels: int, token_s: float) -> DiagonalSSM:
        return DiagonalSSM(channels, self.n_modes, self.max_time_constant_s / token_s)


class LTIState(NamedTuple):
    """h [B, D, 2 N]: N modes per channel, real parts first."""

    h: Tensor


class DiagonalSSM(SequenceMixer[LTIState]):
    """A bank of oscillators per channel.

    max_time_constant: longest memory in steps; bounds r, so the state stays bounded too.
    """

    def __init__(self, channels: int, n_modes: int, max_time_constant: float) -> None:
        super().__init__()
        shape = (channels, n_modes)
        self.max_time_constant = max_time_constant
        log_tau = torch.empty(shape).uniform_(0.0, math.log(0.8 * max_time_constant))
        self.log_decay = nn.Parameter(-log_tau)
        self.angle = nn.Parameter(torch.rand(shape) * (math.pi / 4))
        self.readout = nn.Parameter(torch.randn(2, *shape) / math.sqrt(n_modes))
        self.skip = nn.Parameter(torch.randn(channels))

    def _rate(self) -> Tensor:
        """Decay per step, -ln r, [D, N]."""
        return self.log_decay.exp() + 1.0 / self.max_time_constant

    def rotation(self) -> tuple[Tensor, Tensor, Tensor]:
        """(r cos theta, r sin theta, g), each [D, N]."""
        r = torch.exp(-self._rate())
        gain = torch.sqrt(1.0 - r * r)
        return r * self.angle.cos(), r * self.angle.sin(), gain

    def kernel(self, n_steps: int) -> Tensor:
        """Impulse response [D, n_steps], without the skip."""
        rate = self._rate()
        gain = torch.sqrt(1.0 - torch.exp(-2.0 * rate))
        time = torch.arange(n_steps, device=rate.device)[:, None, None]
        envelope = torch.exp(-rate * time) * gain  # [T, D, N]
        phase = self.angle * time
        modes = self.readout[0] * phase.cos() - self.readout[1] * phase.sin()
        return (envelope * modes).sum(-1).T

    def forward(self, u: Tensor) -> Tensor:
        kernel = self.kernel(u.shape[1]).T
        return convolve(u, kernel) + self.skip * u

    def step(self, u: Tensor, state: LTIState) -> tuple[Tensor, LTIState]:
        (h,) = state
        cos, sin, gain = self.rotation()
        n_modes = cos.shape[1]
        real, imag = h[:, :, :n_modes], h[:, :, n_modes:]
        drive = gain * u.reshape(*u.shape, 1)
        h = torch.cat([cos * real - sin * imag + drive, sin * real + cos * imag], dim=2)
        weights = torch.cat([self.readout[0], -self.readout[1]], dim=1)
        return (weights * h).sum(2) + self.skip * u, LTIState(h)

    def initial_state(self, batch_size: int) -> LTIState:
        channels, n_modes = self.angle.shape
        return LTIState(self.skip.new_zeros(batch_size, channels, 2 * n_modes))
