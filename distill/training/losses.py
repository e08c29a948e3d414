"""The terms of a distillation loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_ATTACK_TOKENS = 4


def align(frames: Tensor, hop_s: float, times_s: Tensor, offset_s: float = 0.0) -> Tensor:
    """Linear interpolation of [B, T', D], whose frame j is centred on offset_s + j * hop_s, at
    times_s [T], clamped to the ends -> [B, T, D]."""
    position = ((times_s - offset_s) / hop_s).clamp(0.0, frames.shape[1] - 1.0)
    low = position.floor().long()
    high = (low + 1).clamp(max=frames.shape[1] - 1)
    mix = (position - low)[None, :, None]
    return torch.lerp(frames[:, low], frames[:, high], mix.to(frames.dtype))


def plausible(frame_logits: Tensor, clip_logits: Tensor, margin: float) -> Tensor:
    """Frame logits [B, T, C], none above clip_logits [B, C] + margin.

    On 2 % of the frames the teacher's classifier, which knows clip means only, switches on
    scores of labels at once; what is nowhere in the whole clip cannot be in one of its frames.
    """
    return torch.minimum(frame_logits, clip_logits[:, None] + margin)


def frame_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Binary cross-entropy against the teacher's probabilities, summed over the classes."""
    soft = torch.sigmoid(teacher_logits)
    return functional.binary_cross_entropy_with_logits(logits, soft) * logits.shape[-1]


def strong_loss(logits: Tensor, strong: Tensor, clip_logits: Tensor, attack: float = 0.0) -> Tensor:
    """Binary cross-entropy of [B, T, C] against labels of 0 and 1, summed over the classes; -1
    is left out. A label counts by the square root of the probability that the teacher, by its
    clip_logits [B, C], gives it: what it cannot hear may be inaudible, or mislabelled. The first
    tokens of a sound count 1 + attack times as much."""
    belief = torch.sigmoid(clip_logits).sqrt()[:, None]
    weight = belief * (strong >= 0.0) * (1.0 + attack * begins(strong > 0.0))
    loss = functional.binary_cross_entropy_with_logits(logits, strong, weight, reduction="sum")
    return loss / (logits.shape[0] * logits.shape[1])


def begins(sounds: Tensor) -> Tensor:
    """bool[B, T, C] -> where it sounds, but not in all of the _ATTACK_TOKENS before."""
    earlier = functional.pad(sounds, (0, 0, _ATTACK_TOKENS, 0))[:, :-1]
    return sounds & ~earlier.unfold(1, _ATTACK_TOKENS, 1).all(-1)


def clip_probability(frame_probability: Tensor) -> Tensor:
    """[B, T, C] -> [B, C]: linear-softmax pooling, sum p^2 / sum p, under which a short loud
    event counts fully (Wang, Li, Metze 2019)."""
    return frame_probability.square().sum(1) / frame_probability.sum(1).clamp(min=1e-6)


def clip_loss(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Binary cross-entropy of the pooled frame logits [B, T, C] against [B, C], summed over the
    classes; -1 is left out."""
    pooled = clip_probability(torch.sigmoid(logits)).clamp(1e-6, 1.0 - 1e-6)
    likelihood = probabilities * pooled.log() + (1.0 - probabilities) * torch.log1p(-pooled)
    return -(likelihood * (probabilities >= 0.0)).sum() / len(logits)


def layer_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """USAD's layer-to-layer term, L1 / D - log sigmoid(cos), averaged over frames
    (Chang et al. 2025)."""
    cosine = functional.cosine_similarity(predicted, target, dim=-1)
    return (predicted - target).abs().mean() - functional.logsigmoid(cosine).mean()
