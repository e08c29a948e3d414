"""The re-implemented teacher is the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.labels import audioset_labels
from distill.teachers.bricks.mel import kaldi_triangles
from distill.teachers.efficientat import (
    SAMPLE_RATE_HZ,
    EfficientAT,
    EfficientATTeacher,
)
from edge_audio.errors import UsageError


@pytest.fixture(scope="module")
def mn04(peers_dir: Path) -> EfficientATTeacher:
    return EfficientATTeacher.load(peers_dir / "mn04_as_mAP_432.pt", 0.4, (6, 11, 15, 16))


def noise(n_samples: int, seed: int, batch_size: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch_size, n_samples, generator=generator)


@pytest.mark.parametrize(("width", "n_million"), [(0.4, 0.98), (1.0, 4.88)])
def test_published_widths_build_with_the_published_number_of_parameters(
    width: float, n_million: float
) -> None:
    network = EfficientAT(width).eval()
    n_parameters = sum(p.numel() for p in network.parameters())
    assert n_parameters / 1e6 == pytest.approx(n_million, rel=0.01)
    with torch.inference_mode():
        maps = network.maps(torch.randn(1, 1, 128, 64))
    assert [(one.shape[1], 64 // one.shape[3]) for one in maps] == network.shapes
    assert maps[-1].shape[1] == network.feature_dim


def test_mn04_outputs_have_one_frame_per_hop(mn04: EfficientATTeacher) -> None:
    with torch.inference_mode():
        output = mn04(noise(10 * SAMPLE_RATE_HZ, seed=0))
    assert output.clip_logits is not None
    assert output.frame_logits is not None
    assert output.clip_logits.shape == (1, 527)
    assert output.frame_logits.shape == (1, 32, 527)
    for layer, hidden in zip(mn04.layers, output.hidden, strict=True):
        assert hidden.shape == (1, -(-1_000 // round(100 * layer.hop_s)), layer.dim)
    assert [layer.hop_s for layer in mn04.layers] == [0.08, 0.16, 0.32, 0.32]


@pytest.mark.parametrize("time_s", [1.0, 2.4, 3.3])
def test_a_burst_moves_the_frame_that_is_centred_on_it(
    mn04: EfficientATTeacher, time_s: float
) -> None:
    quiet = noise(5 * SAMPLE_RATE_HZ, seed=2) * 0.01
    burst = quiet.clone()
    start = round((time_s - 0.02) * SAMPLE_RATE_HZ)
    burst[:, start : start + round(0.04 * SAMPLE_RATE_HZ)] *= 300.0
    with torch.inference_mode():
        pairs = zip(mn04(quiet).hidden, mn04(burst).hidden, strict=True)
    for layer, (before, after) in zip(mn04.layers, pairs, strict=True):
        moved = int((after - before).square().sum(2).argmax())
        assert abs(layer.offset_s + moved * layer.hop_s - time_s) <= 0.75 * layer.hop_s


def test_zero_padding_beyond_the_lengths_changes_nothing(mn04: EfficientATTeacher) -> None:
    waves = noise(3 * SAMPLE_RATE_HZ, seed=3, batch_size=2)
    lengths = torch.tensor([2 * SAMPLE_RATE_HZ, 3 * SAMPLE_RATE_HZ])
    padded = torch.where(torch.arange(3 * SAMPLE_RATE_HZ) < lengths[:, None], waves, 0.0)
    with torch.inference_mode():
        found, short = mn04(padded, lengths), mn04(waves[:1, : 2 * SAMPLE_RATE_HZ])
    assert found.clip_logits is not None
    torch.testing.assert_close(found.clip_logits[:1], short.clip_logits)
    for batched, alone in zip(found.hidden, short.hidden, strict=True):
        assert batched.shape[1] > alone.shape[1]
        torch.testing.assert_close(batched[:1, : alone.shape[1]], alone)


def test_mn04_hears_each_clip_of_a_batch_alone(mn04: EfficientATTeacher) -> None:
    waves = noise(2 * SAMPLE_RATE_HZ, seed=1, batch_size=3) * torch.tensor([[1.0], [0.0], [5.0]])
    with torch.inference_mode():
        together = mn04(waves)
        for row in range(3):
            alone = mn04(waves[row : row + 1])
            pairs = [
                *zip(together.hidden, alone.hidden, strict=True),
                *zip(together[1:], alone[1:], strict=True),
            ]
            for batched, single in pairs:
                torch.testing.assert_close(batched[row : row + 1], single, atol=1e-3, rtol=1e-3)


def test_mn04_names_the_class_of_at_least_85_of_100_esc10_clips(
    mn04: EfficientATTeacher, clip_list: Path
) -> None:
    """Zero-shot: the ESC-10 class whose AudioSet labels hold the highest score."""
    listed = [clip for clip in read_clip_list(clip_list) if clip.esc10_class]
    clips = sorted(listed, key=lambda clip: clip.path)
    chosen = np.random.default_rng(0).permutation(len(clips))[:100]
    names = audioset_labels()
    columns = {
        clip.esc10_class: [names.index(label) for label in clip.labels if label in names]
        for clip in clips
    }
    n_right = 0
    for clip in (clips[index] for index in chosen):
        logits = clip_logits(mn04, clip_list.parent, clip)
        best = max(columns, key=lambda name: float(logits[columns[name]].max()))
        n_right += best == clip.esc10_class
    assert n_right >= 85


def clip_logits(teacher: EfficientATTeacher, data_dir: Path, clip: Clip) -> torch.Tensor:
    samples = read_clip(data_dir / clip.path, 16_000)
    wave = torch.from_numpy(soxr.resample(samples, 16_000, SAMPLE_RATE_HZ))
    with torch.inference_mode():
        logits = teacher(wave[None]).clip_logits
    assert logits is not None
    of_clip: torch.Tensor = logits[0]
    return of_clip


def test_width_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save(EfficientAT(0.1).state_dict(), tmp_path / "small.pt")
    EfficientATTeacher.load(tmp_path / "small.pt", 0.1)
    with pytest.raises(UsageError, match=r"small\.pt does not fit width 0\.4"):
        EfficientATTeacher.load(tmp_path / "small.pt", 0.4)


@pytest.mark.parametrize("layers", [(17,), (-1,), (16, 15), (3, 3)])
def test_layers_that_are_not_there_are_refused(tmp_path: Path, layers: tuple[int, ...]) -> None:
    torch.save(EfficientAT(0.1).state_dict(), tmp_path / "small.pt")
    with pytest.raises(UsageError, match="rising numbers of 0-16"):
        EfficientATTeacher.load(tmp_path / "small.pt", 0.1, layers)


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    address = r"https://github\.com/fschmid56/EfficientAT/releases/download/v0\.0\.1/none\.pt"
    with pytest.raises(UsageError, match=rf"none\.pt is missing: fetch {address}"):
        EfficientATTeacher.load(tmp_path / "none.pt", 0.4)


def test_mel_triangles_peak_in_order_below_15_khz() -> None:
    weights = kaldi_triangles(SAMPLE_RATE_HZ, 1024, 128, 0.0, 15_000.0)
    assert weights.shape == (513, 128)
    total = weights.sum(0)
    assert int((total == 0).sum()) < 16, "only the lowest bands are narrower than a bin"
    centre = ((weights * torch.arange(513.0)[:, None]).sum(0) / total)[total > 0]
    assert (centre.diff() >= 0).all()
    assert not weights[int(15_000 / SAMPLE_RATE_HZ * 1024) + 1 :].any()
