"""Targets land where the student can hear them, and losses are least at equality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from distill.training.losses import (
    align,
    begins,
    clip_loss,
    clip_probability,
    frame_loss,
    layer_loss,
    plausible,
    strong_loss,
)


def test_align_interpolates_between_frames_exactly() -> None:
    frames = torch.tensor([[[0.0, 8.0], [2.0, 4.0], [6.0, 0.0]]])  # at 0, 0.5 and 1 s
    times_s = torch.tensor([0.0, 0.125, 0.5, 0.75, 1.0])
    expected = [[0.0, 8.0], [0.5, 7.0], [2.0, 4.0], [4.0, 2.0], [6.0, 0.0]]
    torch.testing.assert_close(align(frames, 0.5, times_s)[0], torch.tensor(expected))


def test_align_repeats_the_ends() -> None:
    frames = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    aligned = align(frames, 0.32, torch.tensor([-1.0, -1e-3, 0.96, 50.0]))
    assert torch.equal(aligned[:, 0], frames[:, 0])
    assert torch.equal(aligned[:, 1], frames[:, 0])
    torch.testing.assert_close(aligned[:, 2], frames[:, 3])
    assert torch.equal(aligned[:, 3], frames[:, 3])


def test_align_equals_numpy_interpolation() -> None:
    rng = np.random.default_rng(1)
    frames, times_s = rng.standard_normal((1, 9, 1)), rng.uniform(-1, 4, 50)
    expected = np.interp(times_s, 0.32 * np.arange(9), frames[0, :, 0])
    found = align(torch.from_numpy(frames), 0.32, torch.from_numpy(times_s))
    np.testing.assert_allclose(found[0, :, 0].numpy(), expected, atol=1e-12)
    shifted = align(torch.from_numpy(frames), 0.32, torch.from_numpy(times_s + 0.5), 0.5)
    np.testing.assert_allclose(shifted[0, :, 0].numpy(), expected, atol=1e-12)


def test_plausible_caps_frames_by_the_clip_and_leaves_the_rest() -> None:
    frames = torch.tensor([[[-5.0, 3.0], [1.0, -9.0]]])
    found = plausible(frames, torch.tensor([[-4.0, 2.0]]), margin=2.0)
    assert found.tolist() == [[[-5.0, 3.0], [-2.0, -9.0]]]


def test_clip_probability_lies_between_mean_and_maximum() -> None:
    logits = 3 * torch.randn(20, 30, 7, generator=torch.Generator().manual_seed(2))
    pooled, probability = clip_probability(logits), torch.sigmoid(logits)
    assert (pooled >= probability.mean(1) - 1e-6).all()
    assert (pooled <= probability.amax(1) + 1e-6).all()


def test_clip_probability_counts_a_short_event_fully_and_survives_silence() -> None:
    probability = torch.full((1, 100, 2), 1e-4)
    probability[0, 50, 0] = 0.9
    pooled = clip_probability(torch.logit(probability))
    assert pooled[0, 0] > 0.85
    assert pooled[0, 1] == pytest.approx(1e-4, rel=1e-3)
    assert torch.equal(clip_probability(torch.full((1, 5, 2), -200.0)), torch.zeros(1, 2))


def random_logits(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(True)


def test_losses_are_those_of_their_formulas() -> None:
    logits, teacher = random_logits(2, 5, 7), random_logits(2, 5, 7, seed=1).detach()
    probability = torch.sigmoid(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(teacher))
    pooled = probability.square().sum(1) / probability.sum(1)
    cosine = functional.cosine_similarity(logits, teacher, dim=-1)
    layer = (logits - teacher).abs().mean() - functional.logsigmoid(cosine).mean()
    for found, formula in (
        (frame_loss(logits, teacher), 7 * entropy),
        (clip_probability(logits), pooled),
        (layer_loss(logits, teacher), layer),
    ):
        torch.testing.assert_close(found, formula)
        gradients = [torch.autograd.grad(x.sin().sum(), logits)[0] for x in (found, formula)]
        torch.testing.assert_close(*gradients)


def test_clip_probability_of_silence_has_the_gradient_of_its_formula() -> None:
    silence = torch.full((1, 4, 3), -18.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: 1e6 * clip_probability(x), silence, atol=1e-7)


def test_layer_loss_is_least_at_equality() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(2, 10, 16, generator=generator)
    least = layer_loss(target, target)
    assert least == pytest.approx(float(np.log1p(np.exp(-1.0))), abs=1e-6)
    for scale in (1e-2, 0.1, 1.0):
        noise = scale * torch.randn(target.shape, generator=generator)
        assert layer_loss(target + noise, target) > least


@pytest.mark.parametrize("loss", [frame_loss, lambda a, b: clip_loss(a, torch.sigmoid(b[:, 0]))])
def test_label_losses_are_least_at_the_teachers_own_logits(loss) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(4)
    teacher = torch.randn(3, 1, 8, generator=generator).expand(3, 6, 8)
    for scale in (0.1, -0.1, 1.0):
        assert loss(teacher + scale, teacher) > loss(teacher, teacher)


def test_a_sound_begins_where_it_has_not_sounded_for_long() -> None:
    sounds = torch.tensor([0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1], dtype=torch.bool)[None, :, None]
    assert begins(sounds)[0, :, 0].tolist() == [bool(x) for x in (0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1)]


def test_attack_makes_the_beginning_of_a_sound_count_more() -> None:
    strong = torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 1])[None, :, None]
    sure = torch.full((1, 1), 20.0)

    def loss(late_token: int, attack: float) -> float:
        logits = torch.where(strong > 0.0, 6.0, -6.0)
        logits[0, late_token] = -6.0
        return strong_loss(logits, strong, sure, attack).item()

    assert loss(1, attack=0.0) == pytest.approx(loss(7, attack=0.0))
    assert loss(1, attack=2.0) == pytest.approx(3.0 * loss(7, attack=2.0), rel=0.01)


def test_clip_loss_leaves_out_what_is_unknown() -> None:
    logits = torch.randn(2, 5, 3)
    some = torch.tensor([[1.0, 0.0, -1.0], [0.0, -1.0, -1.0]])
    known = [clip_loss(logits[:1, :, :2], some[:1, :2]), clip_loss(logits[1:, :, :1], some[1:, :1])]
    assert clip_loss(logits, some).item() == pytest.approx(torch.stack(known).mean().item())


def test_strong_loss_counts_listed_labels_alone_and_by_the_teachers_belief() -> None:
    logits = torch.zeros(1, 2, 3)
    sure, unsure = torch.full((1, 3), 20.0), torch.full((1, 3), -20.0)
    strong = torch.tensor([[[1.0, -1.0, -1.0], [0.0, -1.0, -1.0]]])
    expected = torch.log(torch.tensor(2.0))  # of one label, averaged over two tokens
    assert strong_loss(logits, strong, sure).item() == pytest.approx(expected.item())
    assert strong_loss(logits, strong, unsure).item() < 1e-3
    assert strong_loss(logits, torch.full_like(strong, -1.0), sure).item() == 0.0
    right = torch.tensor([[[9.0, 9.0, 9.0], [-9.0, 9.0, -9.0]]])
    assert strong_loss(right, strong, sure).item() < 1e-3


def test_several_teachers_teach_the_mean_of_their_probabilities() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(3, 4, 6, generator=generator)
    said = torch.rand(2, 3, 4, 6, generator=generator)  # by two teachers
    clips = torch.stack([clip_loss(logits, one[:, 0]) for one in said]).mean()
    assert clips.item() == pytest.approx(clip_loss(logits, said.mean(0)[:, 0]).item(), rel=1e-5)
    frames = torch.stack([frame_loss(logits, torch.logit(one)) for one in said]).mean()
    mean = frame_loss(logits, torch.logit(said.mean(0)))
    assert frames.item() == pytest.approx(mean.item(), rel=1e-5)
