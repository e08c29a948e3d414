"""Per-channel energy normalisation (Wang et al. 2017): each mel band is divided by what it has been
lately, so that a steady noise or a level fades, and a sound that begins stands out.

    e = max(exp(frame * log_scale + log_mean) / log_floor, 1)        m' = m + s (e - m)
    y = ((e - 1) / m'^alpha + delta)^root - delta^root

e is the energy of a band in units of the front end's log_floor, which is what it adds to the power;
m begins with 1, as silence leaves it. Silence gives 0, which is what the stem has before a stream
begins. alpha, delta and root are learned for each band.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distill.students.blocks import BOUND
from edge_audio.bundle.spec import FrontendSpec

MAX_LOG_ENERGY = 40.0
"""Beyond what samples can give (26 with the usual front end), and its exponential still a float."""
_ALPHA, _DELTA, _ROOT = 0.98, 2.0, 0.5


class PcenState(NamedTuple):
    """energy [B, n_mels]: log(m), of a range that is not too wide for integers."""

    energy: Tensor


class Pcen(nn.Module):
    """Log-mel [B, T, n_mels] -> the same shape, within 0 and BOUND. n_frames: those of a step."""

    kept: Tensor  # of what was before a step, after each of its frames

    def __init__(self, front: FrontendSpec, n_frames: int, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.log_scale = front.log_scale
        self.log_offset = front.log_mean - math.log(front.log_floor)
        self.log_alpha, self.log_delta, self.log_root = (
            nn.Parameter(torch.full((front.n_mels,), math.log(start)))
            for start in (_ALPHA, _DELTA, _ROOT)
        )
        kept = (1.0 - smoothing) ** torch.arange(1.0, n_frames + 1.0)
        self.register_buffer("kept", kept.unsqueeze(1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """What `step` makes of a whole sequence after silence."""
        with torch.autocast(frames.device.type, enabled=False):  # bf16 has no room for energies
            energy = self._energy(frames.float())
            return self._compressed(energy, self._smoothed(energy - 1.0) + 1.0)

    def step(self, frames: Tensor, state: PcenState) -> tuple[Tensor, PcenState]:
        energy = self._energy(frames)
        before = torch.exp(state.energy).reshape(-1, 1, frames.shape[2])
        smooth = self._smoothed(energy) + self.kept * before
        after = torch.log(smooth[:, -1:]).reshape(state.energy.shape)
        return self._compressed(energy, smooth), PcenState(after)

    def initial_state(self, batch_size: int) -> PcenState:
        """Zeros, which are what silence leaves."""
        return PcenState(self.log_alpha.new_zeros(batch_size, len(self.log_alpha)))

    def _energy(self, frames: Tensor) -> Tensor:
        return torch.exp((frames * self.log_scale + self.log_offset).clamp(0.0, MAX_LOG_ENERGY))

    def _smoothed(self, energy: Tensor) -> Tensor:
        """m[t] of [B, T, F] from zero. Doubles what a frame's sum reaches back; all that it adds is
        positive, so that a quiet second behind a loud one keeps its digits, as it would not
        through an FFT."""
        smooth, reach = self.smoothing * energy, 1
        while reach < energy.shape[1]:
            kept = (1.0 - self.smoothing) ** reach
            later = smooth[:, reach:] + kept * smooth[:, :-reach]
            smooth, reach = torch.cat([smooth[:, :reach], later], dim=1), 2 * reach
        return smooth

    def _compressed(self, energy: Tensor, smooth: Tensor) -> Tensor:
        delta, root = torch.exp(self.log_delta), torch.exp(self.log_root)
        gain = torch.exp(-torch.exp(self.log_alpha) * torch.log(smooth))
        y = torch.exp(root * torch.log((energy - 1.0) * gain + delta))
        return (y - torch.exp(root * self.log_delta)).clamp(0.0, BOUND)
