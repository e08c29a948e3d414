"""Encoders of `edge-audio pretrain` as teachers: hidden layers, no labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.pretrain import load_encoder
from distill.teachers.base import Layer, TeacherOutput, check_layers
from edge_audio.features.frontend import log_mel


class SelfSupervisedTeacher(nn.Module):
    """Block outputs, one frame per patch of time: its frequency bands side by side, which tells
    more than their mean (Niizumi et al. 2023). The end is padded with zeros to a whole patch."""

    labels: tuple[str, ...] = ()
    label_frames: Layer | None = None

    def __init__(self, name: str, encoder: PatchEncoder, layers: Sequence[int]) -> None:
        super().__init__()
        n_blocks = len(encoder.blocks)
        check_layers(layers, range(1, n_blocks + 1), f" of {name}")
        self.name, self.encoder, self.indices = name, encoder, tuple(layers)
        self.sample_rate_hz = encoder.config.frontend.sample_rate_hz
        self.layers = tuple(self._describe(number) for number in layers)

    @classmethod
    def load(cls, checkpoint: Path, layers: Sequence[int]) -> SelfSupervisedTeacher:
        """layers: block numbers, 1 for the first. UsageError if it has no such blocks,
        EdgeAudioError if the checkpoint is missing or something else."""
        encoder, recipe = load_encoder(checkpoint)
        return cls(recipe.name.replace(".", "_"), encoder, layers).eval()

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        frontend, n_bands = self.encoder.config.frontend, self.encoder.config.n_bands
        n_positions = self._n_positions(torch.tensor(waveform.shape[1]))
        n_samples = int(n_positions) * self._patch_samples + frontend.overlap_samples
        rows = waveform.cpu().numpy()
        padded = np.pad(rows, ((0, 0), (0, max(0, n_samples - rows.shape[1]))))
        mels = np.stack([log_mel(frontend, row) for row in padded])
        attend = None
        if lengths is not None:
            positions = torch.arange(int(n_positions), device=waveform.device)
            real = positions < self._n_positions(lengths.to(waveform.device))[:, None]
            attend = real.repeat_interleave(n_bands, 1)
        hidden = self.encoder(torch.from_numpy(mels).to(waveform.device), 0, attend)
        chosen = (hidden[number - 1][:, 1:] for number in self.indices)
        return TeacherOutput(tuple(_frames(layer, n_bands) for layer in chosen))

    @property
    def _patch_samples(self) -> int:
        config = self.encoder.config
        return config.patch_frames * config.frontend.hop_samples

    def _n_positions(self, n_samples: Tensor) -> Tensor:
        """Patches of time that hold all samples, at least 1."""
        overlap = self.encoder.config.frontend.overlap_samples
        return ((n_samples - overlap) / self._patch_samples).ceil().long().clamp(min=1)

    def _describe(self, number: int) -> Layer:
        config = self.encoder.config
        rate_hz = config.frontend.sample_rate_hz
        reach = self._patch_samples + config.frontend.overlap_samples
        return Layer(
            name=f"block {number}",
            dim=config.n_bands * config.dim,
            hop_s=self._patch_samples / rate_hz,
            offset_s=reach / 2 / rate_hz,
        )


def _frames(tokens: Tensor, n_bands: int) -> Tensor:
    """[B, positions * bands, D] -> [B, positions, bands * D]."""
    out: Tensor = tokens.unflatten(1, (-1, n_bands)).flatten(2)
    return out
