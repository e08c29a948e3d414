"""Diagonal linear state-space block: a bank of decaying oscillators per channel.

The recurrence is that of S4D (Gu et al. 2022) and LRU (Orvieto et al. 2023), kept in pairs of
real numbers because complex tensors do not export to mobile runtimes:

    h[t] = r e^(i theta) h[t-1] + g u[t]      y[t] = sum_n Re(c_n h_n[t]) + d u[t]

with g = sqrt(1 - r^2), which keeps the state's variance near that of the input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DiagonalSSM(nn.Module):
    """u [B, T, D] -> y [B, T, D]; state [B, D, 2 N], real parts first.

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
        n_steps = u.shape[1]
        size = 2 * n_steps  # zero padding makes the circular convolution a causal one
        spectrum = torch.fft.rfft(u, size, dim=1)
        response = torch.fft.rfft(self.kernel(n_steps).T, size, dim=0)
        y = torch.fft.irfft(spectrum * response, size, dim=1)[:, :n_steps]
        return y + self.skip * u

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """u [B, D], state [B, D, 2 N] -> y [B, D], next state."""
        cos, sin, gain = self.rotation()
        n_modes = cos.shape[1]
        real, imag = state[:, :, :n_modes], state[:, :, n_modes:]
        drive = gain * u.reshape(*u.shape, 1)
        next_state = torch.cat([cos * real - sin * imag + drive, sin * real + cos * imag], dim=2)
        weights = torch.cat([self.readout[0], -self.readout[1]], dim=1)
        return (weights * next_state).sum(2) + self.skip * u, next_state


class SSMBlock(nn.Module):
    """x + GLU(act(SSM(norm(x)))). The norm is a BatchNorm: in a stream it is a constant scale
    and shift, so nothing has to be normalised at run time."""

    def __init__(self, channels: int, n_modes: int, max_time_constant: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.ssm = DiagonalSSM(channels, n_modes, max_time_constant)
        self.activation = nn.Hardswish()
        self.mix = nn.Linear(channels, 2 * channels)

    def _residual(self, y: Tensor) -> Tensor:
        value, gate = self.mix(self.activation(y)).chunk(2, dim=-1)
        return value * torch.sigmoid(gate)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D]
        normed = self.norm(x.flatten(0, 1)).view_as(x)
        return x + self._residual(self.ssm(normed))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # [B, D]
        y, next_state = self.ssm.step(self.norm(x), state)
        return x + self._residual(y), next_state
