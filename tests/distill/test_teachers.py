"""The re-implemented teacher is the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from distill.data import Clip, read_clip, read_manifest
from distill.labels import audioset_labels
from distill.teachers.efficientat import (
    FRAME_HOP_S,
    SAMPLE_RATE_HZ,
    EfficientAT,
    EfficientATTeacher,
    kaldi_mel_weights,
)
from edge_audio.errors import UsageError


@pytest.fixture(scope="module")
def mn04(peers_dir: Path) -> EfficientATTeacher:
    return EfficientATTeacher.load(peers_dir / "mn04_as_mAP_432.pt", 0.4)


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
        output = network(torch.randn(1, 1, 128, 64))
    assert output.clip_logits.shape == (1, 527)
    assert output.frame_logits.shape == (1, 2, 527)
    assert output.features.shape == (1, 2, network.feature_dim)


def test_mn04_outputs_have_one_frame_per_hop(mn04: EfficientATTeacher) -> None:
    with torch.inference_mode():
        output = mn04(noise(10 * SAMPLE_RATE_HZ, seed=0))
    n_frames = round(10 / FRAME_HOP_S + 0.5)
    assert output.clip_logits.shape == (1, 527)
    assert output.frame_logits.shape == (1, n_frames, 527)
    assert output.features.shape == (1, n_frames, mn04.network.feature_dim)


def test_mn04_hears_each_clip_of_a_batch_alone(mn04: EfficientATTeacher) -> None:
    waves = noise(2 * SAMPLE_RATE_HZ, seed=1, batch_size=3) * torch.tensor([[1.0], [0.0], [5.0]])
    with torch.inference_mode():
        together = mn04(waves)
        for row in range(3):
            alone = mn04(waves[row : row + 1])
            for batched, single in zip(together, alone, strict=True):
                torch.testing.assert_close(batched[row : row + 1], single, atol=1e-3, rtol=1e-3)


def test_mn04_names_the_class_of_at_least_85_of_100_esc10_clips(
    mn04: EfficientATTeacher, data_dir: Path
) -> None:
    """Zero-shot: the ESC-10 class whose AudioSet labels hold the highest score."""
    clips = [clip for clip in read_manifest(data_dir) if clip.esc10_class]
    chosen = np.random.default_rng(0).permutation(len(clips))[:100]
    names = audioset_labels()
    columns = {
        clip.esc10_class: [names.index(label) for label in clip.labels if label in names]
        for clip in clips
    }
    n_right = 0
    for clip in (clips[index] for index in chosen):
        logits = clip_logits(mn04, data_dir, clip)
        best = max(columns, key=lambda name: float(logits[columns[name]].max()))
        n_right += best == clip.esc10_class
    assert n_right >= 85


def clip_logits(teacher: EfficientATTeacher, data_dir: Path, clip: Clip) -> torch.Tensor:
    samples = read_clip(data_dir / clip.path, 16_000)
    wave = torch.from_numpy(soxr.resample(samples, 16_000, SAMPLE_RATE_HZ))
    with torch.inference_mode():
        return teacher(wave[None]).clip_logits[0]


def test_width_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save(EfficientAT(0.1).state_dict(), tmp_path / "small.pt")
    EfficientATTeacher.load(tmp_path / "small.pt", 0.1)
    with pytest.raises(UsageError, match=r"small\.pt does not fit width 0\.4"):
        EfficientATTeacher.load(tmp_path / "small.pt", 0.4)


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt is missing"):
        EfficientATTeacher.load(tmp_path / "none.pt", 0.4)


def test_mel_triangles_peak_in_order_below_15_khz() -> None:
    weights = kaldi_mel_weights()
    assert weights.shape == (513, 128)
    total = weights.sum(0)
    assert int((total == 0).sum()) < 16, "only the lowest bands are narrower than a bin"
    centre = ((weights * torch.arange(513.0)[:, None]).sum(0) / total)[total > 0]
    assert (centre.diff() >= 0).all()
    assert not weights[int(15_000 / SAMPLE_RATE_HZ * 1024) + 1 :].any()
