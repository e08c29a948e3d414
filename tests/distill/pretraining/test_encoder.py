"""Masks, encoder, targets and collapse watch of the self-supervised teacher."""

from __future__ import annotations

import math
import warnings

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.pretraining.encoder import PatchEncoder, take
from distill.pretraining.masking import inverse_block_mask, patchout, visible_patches
from distill.pretraining.objective import (
    Decoder,
    LatentStudent,
    Prediction,
    ema_decay,
    follow,
    latent_loss,
    latent_targets,
)
from distill.pretraining.recipe import CollapseFloor, EncoderConfig, MaskConfig, ObjectiveConfig
from distill.pretraining.watch import CollapseWarning, effective_rank, examine, warn_of_collapse

CONFIG = EncoderConfig(dim=16, n_blocks=3, n_heads=2, n_positions=16)
OBJECTIVE = ObjectiveConfig(n_target_blocks=2, decoder_dim=8, decoder_layers=2)
N_POSITIONS = 5
N_PATCHES = N_POSITIONS * CONFIG.n_bands


GRID = torch.arange(N_PATCHES).reshape(1, N_POSITIONS, CONFIG.n_bands)


def clips(n: int = 3, n_frames: int = N_POSITIONS * 16) -> torch.Tensor:
    return torch.randn(n, n_frames, 64, generator=torch.Generator().manual_seed(1))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.05, 0.95), st.integers(1, 40), st.integers(1, 8), st.integers(1, 6), st.integers(0)
)
def test_every_mask_keeps_exactly_its_share(
    ratio: float, n_positions: int, n_bands: int, size: int, seed: int
) -> None:
    config = MaskConfig(ratio=ratio, block_positions=size, block_bands=size, n_clones=3)
    rng = np.random.default_rng(seed)
    kept = visible_patches(rng, config, n_positions, n_bands)
    n_patches = n_positions * n_bands
    assert kept.shape == (3, max(1, round((1 - ratio) * n_patches)))
    assert (np.diff(kept) > 0).all()
    assert kept.min() >= 0
    assert kept.max() < n_patches


def test_what_is_kept_forms_whole_blocks() -> None:
    """Inverse: nearly every visible patch lies in a whole visible block, the masked do not."""
    config = MaskConfig(ratio=0.8, block_positions=5, block_bands=3)
    rng = np.random.default_rng(0)
    n_seen = n_in_blocks = 0
    for _ in range(50):
        visible = ~inverse_block_mask(rng, config, 60, 12)
        padded = np.pad(visible, ((4, 4), (2, 2)), constant_values=True)  # blocks may cross edges
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 3)).all((2, 3))
        covered = np.zeros_like(padded)
        for top, left in np.argwhere(windows):
            covered[top : top + 5, left : left + 3] = True
        n_seen += int(visible.sum())
        n_in_blocks += int((visible & covered[4:-4, 2:-2]).sum())
    assert n_seen == 50 * config.n_kept(720)
    assert n_in_blocks > 0.9 * n_seen  # only the last block is cut to size


def test_patchout_leaves_whole_rows_and_columns_each_as_often() -> None:
    config = MaskConfig(patchout_positions=10, patchout_bands=1)
    left = np.zeros(100)
    for seed in range(2000):
        grid = patchout(np.random.default_rng(seed), config, 25, 4)
        assert grid.shape == (15, 3)
        assert (np.diff(grid.ravel()) > 0).all()
        assert len(np.unique(grid // 4)) == 15
        assert len(np.unique(grid % 4)) == 3
        left[grid] += 1 / 2000
    assert np.abs(left - 0.6 * 0.75).max() < 0.05


def test_no_patchout_leaves_every_patch_in_its_place() -> None:
    grid = patchout(np.random.default_rng(0), MaskConfig(), 25, 4)
    assert np.array_equal(grid, np.arange(100).reshape(25, 4))


def test_edges_are_seen_as_often_as_the_middle() -> None:
    config = MaskConfig(ratio=0.8, block_positions=5, block_bands=2)
    rng = np.random.default_rng(0)
    seen = np.mean([~inverse_block_mask(rng, config, 25, 4) for _ in range(1500)], axis=0)
    assert np.abs(seen / 0.2 - 1.0).max() < 0.25


def test_patch_covers_its_frames_and_bands() -> None:
    encoder = PatchEncoder(CONFIG)
    frames, bands = torch.meshgrid(torch.arange(80.0), torch.arange(64.0), indexing="ij")
    patches = encoder.patches((1000 * frames + bands)[None])
    assert patches.shape == (1, N_PATCHES, 256)
    for position in range(N_POSITIONS):
        for band in range(4):
            values = patches[0, position * 4 + band]
            frame, mel = values.div(1000).floor(), values % 1000
            assert frame.unique().tolist() == list(range(16 * position, 16 * position + 16))
            assert mel.unique().tolist() == list(range(16 * band, 16 * band + 16))


def test_started_later_a_clip_has_the_places_of_a_longer_clips_end() -> None:
    encoder = PatchEncoder(CONFIG)
    long = clips(2)
    tail = encoder.tokens(long[:, 32:], torch.tensor([2, 2]))
    torch.testing.assert_close(tail, encoder.tokens(long)[:, 8:])
    elsewhere = encoder.tokens(long[:, 32:], torch.tensor([2, 3]))
    assert torch.equal(elsewhere[0], tail[0])
    assert not torch.allclose(elsewhere[1], tail[1], atol=0.1)


def test_patches_encoded_by_number_keep_their_places() -> None:
    encoder, first = PatchEncoder(CONFIG), torch.tensor([2, 2, 3])
    numbers = torch.tensor([[0, 9], [3, 19], [0, 9]])
    tokens = encoder.tokens(clips(), first)
    some = encoder(clips(), first, numbers=numbers)
    alone = encoder.encode(torch.stack([t[n] for t, n in zip(tokens, numbers, strict=True)]))
    assert all(torch.equal(a, b) for a, b in zip(some, alone, strict=True))
    assert torch.equal(take(tokens, torch.arange(N_PATCHES).expand(3, -1)), tokens)


def test_padding_changes_nothing_for_the_real_tokens() -> None:
    encoder = PatchEncoder(CONFIG)
    mels = clips(2)
    short = encoder(mels[:, :48])
    attend = torch.arange(N_PATCHES).expand(2, -1) < 12
    padded = encoder(mels, 0, attend)
    for alone, beside in zip(short, padded, strict=True):
        torch.testing.assert_close(beside[:, :13], alone, atol=1e-5, rtol=1e-5)


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = PatchEncoder(CONFIG, recompute)
        encoder(clips())[-1].square().mean().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


def test_targets_are_normalised_and_average_the_last_blocks() -> None:
    scale = torch.tensor([1.0, 100.0, 5.0, 0.1])[:, None, None, None]
    hidden = list(torch.randn(4, 6, 1 + 20, 8) * scale + 3 * scale)
    targets = latent_targets(hidden, 2)
    variance, mean = torch.var_mean(targets.patches, 1, correction=0)
    torch.testing.assert_close(mean, torch.zeros(6, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.ones(6, 8), atol=1e-3, rtol=0)
    variance, mean = torch.var_mean(targets.clip, 0, correction=0)
    torch.testing.assert_close(mean, torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.ones(8), atol=1e-2, rtol=0)
    for layer in hidden[-2:]:  # however different their scales, both weigh the same
        shape = layer[:, 1:] - layer[:, 1:].mean(1, keepdim=True)
        cosine = torch.cosine_similarity(targets.patches, shape, dim=1).mean()
        assert cosine == pytest.approx(math.sqrt(0.5), abs=0.07)
    earlier = [layer + 100 for layer in hidden[:2]]
    torch.testing.assert_close(latent_targets([*earlier, *hidden[2:]], 2).raw, targets.raw)


def test_loss_asks_for_hidden_patches_only() -> None:
    torch.manual_seed(0)
    kept = torch.tensor([[[0, 3], [1, 2]], [[2, 3], [0, 1]]])  # 2 clips, 2 clones, 2 of 5 patches
    targets = latent_targets([torch.randn(2, 6, 4)], 1)
    right = Prediction(
        targets.patches.repeat_interleave(2, 0), targets.clip.repeat_interleave(2, 0)
    )
    perfect = latent_loss(right, targets, kept, 0.5)
    assert perfect["patch"].item() == pytest.approx(0.0)
    assert perfect["clip"].item() == pytest.approx(0.0)
    for clone, row in enumerate(kept.flatten(0, 1).tolist()):
        for patch in range(5):
            wrong = right.patches.clone()
            wrong[clone, patch] += 2.0
            loss = latent_loss(right._replace(patches=wrong), targets, kept, 0.5)["patch"]
            assert loss.item() == pytest.approx(0.0 if patch in row else 4.0 / 12)
    off = latent_loss(right._replace(clip=right.clip + 2.0), targets, kept, 0.5)["clip"]
    assert off.item() == pytest.approx(0.5 * 4.0)


def test_decoder_puts_visible_patches_back_in_their_places() -> None:
    torch.manual_seed(0)
    decoder = Decoder(CONFIG, 8, 1)  # one 3x3 convolution: only direct neighbours can feel it
    visible, kept = torch.randn(1, 2, 16), torch.tensor([[4, 14]])
    before = decoder(visible, kept, (N_POSITIONS, 4))
    visible[0, 1] += 1.0  # patch 14: position 3, band 2
    changed = (decoder(visible, kept, (N_POSITIONS, 4)) - before).abs().sum(-1)[0] > 1e-6
    near = [4 * position + band for position in (2, 3, 4) for band in (1, 2, 3)]
    assert set(changed.nonzero().flatten().tolist()) == set(near)


def test_student_cannot_see_hidden_patches() -> None:
    torch.manual_seed(0)
    student = LatentStudent(CONFIG, OBJECTIVE)
    kept = torch.tensor([[[0, 1, 2, 3]]])  # the first position
    mels = clips(1)
    before = student(mels, torch.tensor([0]), GRID, kept)
    hidden_changed = torch.cat([mels[:, :16], mels[:, 16:] + 1.0], dim=1)
    after = student(hidden_changed, torch.tensor([0]), GRID, kept)
    assert torch.equal(before.patches, after.patches)
    seen_changed = torch.cat([mels[:, :16] + 1.0, mels[:, 16:]], dim=1)
    after = student(seen_changed, torch.tensor([0]), GRID, kept)
    assert not torch.allclose(before.clip, after.clip)


def test_student_predicts_what_patchout_leaves_and_hears_nothing_else() -> None:
    torch.manual_seed(0)
    student = LatentStudent(CONFIG, OBJECTIVE)
    grid = torch.tensor([[[4, 6], [8, 10], [16, 18]]])  # positions 1, 2, 4; bands 0, 2
    kept = torch.tensor([[[1, 4], [0, 5]]])
    mels, first = clips(1), torch.tensor([0])
    before = student(mels, first, grid, kept)
    assert before.patches.shape == (2, 6, 16)
    seen = student.encoder.tokens(mels)[0, [[6, 16], [4, 18]]]  # they know their first places
    encoded = student.norm(student.encoder.encode(seen)[-1])
    assert torch.equal(before.clip, student.clip_head(encoded[:, 0]))
    mels[:, 48:64] += 1.0  # position 3
    mels[:, :, 16:32] += 1.0  # band 1
    assert torch.equal(before.patches, student(mels, first, grid, kept).patches)


def test_teacher_is_the_moving_average_of_the_student() -> None:
    torch.manual_seed(0)
    teacher, student = PatchEncoder(CONFIG), PatchEncoder(CONFIG)
    before = [parameter.clone() for parameter in teacher.parameters()]
    follow(teacher, student, 0.9)
    for old, slow, fast in zip(before, teacher.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.9 * old + 0.1 * fast)
    follow(teacher, student, 0.0)
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        assert torch.equal(slow, fast)


def test_decay_rises_to_its_end() -> None:
    config = ObjectiveConfig(ema_start=0.99, ema_end=0.999)
    assert ema_decay(config, 0, 100) == pytest.approx(0.99)
    assert ema_decay(config, 50, 100) == pytest.approx(0.9945)
    assert ema_decay(config, 100, 100) == pytest.approx(0.999)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_directions_is_their_number(rank: int) -> None:
    directions = torch.linalg.qr(torch.randn(8, 8)).Q[:rank]
    assert effective_rank(directions.repeat(16, 1)) == pytest.approx(rank, rel=1e-3)


def test_rank_lies_between_weighted_directions() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25])
    entropy = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert effective_rank(torch.diag(shares)) == pytest.approx(math.exp(entropy), rel=1e-3)


def test_collapse_is_found_in_constant_features_and_not_in_random_ones() -> None:
    floor = CollapseFloor()
    torch.manual_seed(0)
    one, places = torch.randn(16), torch.randn(50, 16)
    collapsed = {
        "constant": one.expand(20, 50, 16),
        "places alone": places.expand(20, 50, 16),
        "one direction": one * torch.randn(20, 50, 1),
        "next to nothing": places + 1e-3 * torch.randn(20, 50, 16),
    }
    for step, features in enumerate(collapsed.values()):
        with pytest.warns(CollapseWarning, match=f"COLLAPSE at step {step}"):
            warn_of_collapse(examine(features), floor, step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_collapse(examine(torch.randn(20, 50, 16)), floor, 0)
        warn_of_collapse(examine(torch.randn(200, 50, 16) + places), floor, 0)


@pytest.mark.parametrize(
    "changes", [{"patch_mels": 24}, {"dim": 18, "n_heads": 2}], ids=["patch", "heads"]
)
def test_impossible_encoders_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        msgspec.convert(changes, EncoderConfig)


def test_post_norm_blocks_give_normed_sums() -> None:
    torch.manual_seed(0)
    config = msgspec.structs.replace(CONFIG, post_norm=True)
    for layer in PatchEncoder(config)(clips()):
        assert torch.allclose(layer.mean(-1), torch.zeros(()), atol=1e-5)
        assert torch.allclose(layer.std(-1, unbiased=False), torch.ones(()), atol=1e-2)
