"""What the student is asked to predict."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.recipe import LossConfig
from distill.students.tagger import StudentOutput


class Targets(NamedTuple):
    """Teacher outputs at the student's token rate: clip_logits [B, C], frame_logits
    [B, T, C], features [B, T, D] (standardised)."""

    clip_logits: Tensor
    frame_logits: Tensor
    features: Tensor


def align(frames: Tensor, hop_s: float, times_s: Tensor) -> Tensor:
    """Linear interpolation of [B, T', D], whose frame j is centred on j * hop_s, at times_s
    [T], clamped to the ends -> [B, T, D]."""
    position = (times_s / hop_s).clamp(0.0, frames.shape[1] - 1.0)
    low = position.floor().long()
    high = (low + 1).clamp(max=frames.shape[1] - 1)
    mix = (position - low)[None, :, None]
    return torch.lerp(frames[:, low], frames[:, high], mix.to(frames.dtype))


def label_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Binary cross-entropy against the teacher's probabilities, summed over the classes."""
    soft = torch.sigmoid(teacher_logits)
    loss = functional.binary_cross_entropy_with_logits(logits, soft, reduction="sum")
    return loss * logits.shape[-1] / logits.numel()


def layer_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """USAD's layer-to-layer term, L1 / D - log sigmoid(cos), averaged over frames
    (Chang et al. 2025)."""
    cosine = functional.cosine_similarity(predicted, target, dim=-1)
    return (predicted - target).abs().mean() - functional.logsigmoid(cosine).mean()


def distillation_loss(
    config: LossConfig, output: StudentOutput, projection: nn.Module, targets: Targets
) -> dict[str, Tensor]:
    """The weighted terms `clip`, `frame` and `feature`, to be summed."""
    return {
        "clip": config.clip * label_loss(output.logits.mean(1), targets.clip_logits),
        "frame": config.frame * label_loss(output.logits, targets.frame_logits),
        "feature": config.feature * layer_loss(projection(output.embedding), targets.features),
    }
