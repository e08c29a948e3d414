"""Masked latent prediction: the student sees a part of a clip and predicts what a moving average
of itself makes of the whole.

Baevski et al. 2023 (data2vec 2.0: contextualised targets, clones, convolutional decoder) and
Chen et al.: EAT, IJCAI 2024 (utterance objective on log-mel patches).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.pretraining.encoder import PatchEncoder, take
from distill.pretraining.recipe import EncoderConfig, ObjectiveConfig


class LatentTargets(NamedTuple):
    """patches [B, N, D], of mean 0 and variance 1 over each clip's patches; clip [B, D], of mean
    0 and variance 1 over the batch; raw [B, N, D], the average before either."""

    patches: Tensor
    clip: Tensor
    raw: Tensor


class Prediction(NamedTuple):
    """patches [B * n_clones, N, D]; clip [B * n_clones, D]."""

    patches: Tensor
    clip: Tensor


def standardise(x: Tensor, dim: int) -> Tensor:
    """Mean 0, variance 1 along `dim`."""
    variance, mean = torch.var_mean(x, dim, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-5)


def latent_targets(hidden: Sequence[Tensor], n_blocks: int) -> LatentTargets:
    """From the teacher's hidden states [B, 1 + N, D], summary token first: its last n_blocks,
    each normalised per clip and channel so that all weigh the same, are averaged and normalised
    again. The clip target is the mean over patches, which that normalisation would remove."""
    last = [layer[:, 1:].float() for layer in hidden[-n_blocks:]]
    patches = standardise(torch.stack([standardise(layer, 1) for layer in last]).mean(0), 1)
    raw = torch.stack(last).mean(0)
    return LatentTargets(patches, standardise(raw.mean(1), 0), raw)


class Decoder(nn.Module):
    """Encoded visible patches -> predicted targets of all patches, by residual 3x3 convolutions
    over the grid whose holes hold a learned mask token."""

    def __init__(self, config: EncoderConfig, dim: int, n_layers: int) -> None:
        super().__init__()
        self.project = nn.Linear(config.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(dim, dim, 3, padding=1, groups=math.gcd(dim, max(1, dim // 48)))
            for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(n_layers))
        self.predict = nn.Linear(dim, config.dim)

    def forward(self, visible: Tensor, kept: Tensor, shape: tuple[int, int]) -> Tensor:
        """visible [B, K, D], which are patches `kept` [B, K] of a grid of shape (positions,
        bands) -> [B, positions * bands, D]."""
        tokens = self.project(visible)
        blank = self.mask_token.to(tokens.dtype).expand(len(tokens), math.prod(shape), -1)
        x = blank.scatter(1, kept[..., None].expand_as(tokens), tokens)
        x = x.unflatten(1, shape)  # [B, positions, bands, D]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            mixed = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = x + functional.gelu(norm(mixed))
        out: Tensor = self.predict(x.flatten(1, 2))
        return out


class LatentStudent(nn.Module):
    """The encoder that is trained, with its decoder and its clip-level head."""

    def __init__(
        self, config: EncoderConfig, objective: ObjectiveConfig, recompute: bool = False
    ) -> None:
        super().__init__()
        self.encoder = PatchEncoder(config, recompute)
        self.decoder = Decoder(config, objective.decoder_dim, objective.decoder_layers)
        self.norm = nn.LayerNorm(config.dim)
        self.clip_head = nn.Linear(config.dim, config.dim)

    def forward(
        self, mels: Tensor, first_position: Tensor, grid: Tensor, kept: Tensor
    ) -> Prediction:
        """mels [B, T, n_mels]; first_position [B]; grid [B, positions, bands]: the patches that
        Patchout leaves; kept [B, n_clones, K]: places in the flat grid that each clone sees. The
        prediction is of the grid."""
        tokens = take(self.encoder.tokens(mels, first_position), grid.flatten(1))
        seen = take(tokens[:, None].expand(-1, kept.shape[1], -1, -1), kept)
        encoded = self.norm(self.encoder.encode(seen.flatten(0, 1))[-1])
        shape = grid.shape[1], grid.shape[2]
        patches = self.decoder(encoded[:, 1:], kept.flatten(0, 1), shape)
        return Prediction(patches, self.clip_head(encoded[:, 0]))


def latent_loss(
    prediction: Prediction, targets: LatentTargets, kept: Tensor, utterance_weight: float
) -> dict[str, Tensor]:
    """The terms `patch`, the mean squared error over the patches that a clone did not see, and
    `clip`, weighted."""
    n_clones = kept.shape[1]
    masked = torch.ones(prediction.patches.shape[:2], device=kept.device)
    masked = masked.scatter(1, kept.flatten(0, 1), 0.0)
    wanted = targets.patches.repeat_interleave(n_clones, 0)
    error = (prediction.patches.float() - wanted).square().mean(-1)
    clip_error = prediction.clip.float() - targets.clip.repeat_interleave(n_clones, 0)
    return {
        "patch": (error * masked).sum() / masked.sum(),
        "clip": utterance_weight * clip_error.square().mean(),
    }


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """teacher = decay * teacher + (1 - decay) * student, parameter by parameter."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - decay)


def ema_decay(config: ObjectiveConfig, step: int, n_steps: int) -> float:
    """From ema_start at step 0 to ema_end at n_steps, linearly."""
    return config.ema_start + (config.ema_end - config.ema_start) * step / n_steps
