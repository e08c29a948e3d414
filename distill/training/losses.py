"""The terms of a distillation loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_ATTACK_TOKENS = 4
_LEAST_TOTAL = 1e-6  # of probabilities over a clip, that there is something to divide by
_LEAST_LENGTH = 1e-8  # of a vector that has a direction


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


def frame_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Binary cross-entropy against the teacher's probabilities, summed over the classes, of logits
    divided by `temperature`."""
    soft = torch.sigmoid(teacher_logits / temperature)
    entropy: Tensor = _CrossEntropy.apply(logits / temperature, soft)  # type: ignore[no-untyped-call]
    return entropy * logits.shape[-1]


class _CrossEntropy(torch.autograd.Function):
    """Mean binary cross-entropy of logits against probabilities, softplus(z) - z p, with its own
    gradient, sigmoid(z) - p: half as many passes over memory as PyTorch's."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, probabilities: Tensor) -> Tensor:
        ctx.save_for_backward(logits, probabilities)
        product = torch.dot(logits.flatten(), probabilities.flatten())
        return (functional.softplus(logits).sum() - product) / logits.numel()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, probabilities = ctx.saved_tensors
        slope = torch.sigmoid(logits).sub_(probabilities)
        return slope.mul_(grad / logits.numel()), None


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


def clip_probability(frame_logits: Tensor) -> Tensor:
    """Logits [B, T, C] -> probabilities [B, C]: linear-softmax pooling, sum p^2 / sum p, under
    which a short loud event counts fully (Wang, Li, Metze 2019)."""
    pooled: Tensor = _LinearSoftmax.apply(frame_logits)  # type: ignore[no-untyped-call]
    return pooled


class _LinearSoftmax(torch.autograd.Function):
    """With its own gradient, in a third of the passes over memory."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        probability = torch.sigmoid(logits)
        total = probability.sum(1)
        pooled = probability.square().sum(1) / total.clamp(min=_LEAST_TOTAL)
        ctx.save_for_backward(probability, total, pooled)
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """d pooled / dp = (2 p - pooled) / sum p, and dp / dz = p (1 - p)."""
        probability, total, pooled = ctx.saved_tensors
        share = grad / total.clamp(min=_LEAST_TOTAL)
        offset = torch.where(total < _LEAST_TOTAL, 0.0, -share * pooled)
        slope = torch.addcmul(offset[:, None], probability, 2.0 * share[:, None])
        return slope.mul_(probability).mul_(1.0 - probability)


def clip_loss(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Binary cross-entropy of the pooled frame logits [B, T, C] against [B, C], summed over the
    classes; -1 is left out."""
    pooled = clip_probability(logits).clamp(1e-6, 1.0 - 1e-6)
    likelihood = probabilities * pooled.log() + (1.0 - probabilities) * torch.log1p(-pooled)
    return -(likelihood * (probabilities >= 0.0)).sum() / len(logits)


def layer_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """USAD's layer-to-layer term, L1 / D - log sigmoid(cos), averaged over frames
    (Chang et al. 2025)."""
    loss: Tensor = _LayerLoss.apply(predicted, target)  # type: ignore[no-untyped-call]
    return loss


class _LayerLoss(torch.autograd.Function):
    """Of [..., D], with its own gradient with respect to what is predicted."""

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, target: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(predicted, dim=-1).clamp(min=_LEAST_LENGTH)
        product = lengths * torch.linalg.vector_norm(target, dim=-1).clamp(min=_LEAST_LENGTH)
        cosine = (predicted * target).sum(-1) / product
        difference = predicted - target
        ctx.save_for_backward(predicted, target, difference, lengths, product, cosine)
        return difference.abs().mean() - functional.logsigmoid(cosine).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The cosine's is target / (|predicted| |target|) - cos predicted / |predicted|^2."""
        predicted, target, difference, lengths, product, cosine = ctx.saved_tensors
        weight = -torch.sigmoid(-cosine) * (grad / cosine.numel())
        slope = torch.sign(difference).mul_(grad / difference.numel())
        slope.addcmul_(target, (weight / product)[..., None])
        slope.addcmul_(predicted, (-weight * cosine / lengths.square())[..., None])
        return slope, None
