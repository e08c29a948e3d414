"""PCEN: the published formula frame by frame, whatever comes before, and what it is there for."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from distill.students.pcen import Pcen
from distill.students.student import StudentConfig
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.features.frontend import log_mel
from tests.support.student_zoo import CONFIGS, make_student

FRONT = FrontendSpec()
SMOOTHING = 0.04


def uneven(seed: int = 0) -> Pcen:
    """With numbers of its own for each band."""
    torch.manual_seed(seed)
    pcen = Pcen(FRONT, 8, SMOOTHING).requires_grad_(False)
    for parameter in pcen.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return pcen


def heard(samples: np.ndarray) -> Tensor:
    """Frames [1, T, n_mels], T a multiple of 8."""
    frames = log_mel(FRONT, samples.astype(np.float32))
    return torch.from_numpy(frames[: len(frames) // 8 * 8]).unsqueeze(0)


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    samples: np.ndarray = np.random.default_rng(seed).standard_normal(round(16_000 * seconds))
    return level * samples


def by_formula(pcen: Pcen, frames: np.ndarray) -> np.ndarray:
    """A frame at a time, in double precision."""
    alpha, delta, root = (np.exp(p.numpy().astype(float)) for p in pcen.parameters())
    energies = np.maximum(np.exp(frames * FRONT.log_scale + FRONT.log_mean) / FRONT.log_floor, 1.0)
    smooth, rows = np.ones(FRONT.n_mels), []
    for energy in energies:
        smooth = smooth + SMOOTHING * (energy - smooth)
        rows.append(((energy - 1.0) / smooth**alpha + delta) ** root - delta**root)
    return np.clip(rows, 0.0, 6.0)


def test_it_is_the_published_formula_in_one_pass_and_step_by_step() -> None:
    """A whisper behind a shout too, whose energies are ten decades apart."""
    levels = (1e-4, 0.3, 1e-5, 1e-3)
    frames = heard(np.concatenate([noise(0.7, level, seed) for seed, level in enumerate(levels)]))
    pcen = uneven()
    expected = by_formula(pcen, frames[0].numpy().astype(float))
    assert expected.std() > 0.2
    np.testing.assert_allclose(pcen(frames)[0], expected, rtol=1e-3, atol=1e-4)
    state, rows = pcen.initial_state(1), []
    for step in frames.split(8, dim=1):
        row, state = pcen.step(step, state)
        rows.append(row)
    np.testing.assert_allclose(torch.cat(rows, 1)[0], expected, rtol=1e-3, atol=1e-4)


def test_silence_is_zero_and_leaves_the_state_that_streams_begin_with() -> None:
    pcen = uneven()
    output, state = pcen.step(heard(np.zeros(16_000))[:, :8], pcen.initial_state(1))
    assert float(output.abs().max()) < 1e-5
    assert float(state.energy.abs().max()) < 1e-5


def test_a_steady_noise_fades_whatever_its_level_and_its_beginning_does_not() -> None:
    pcen = Pcen(FRONT, 8, SMOOTHING).requires_grad_(False)
    soft, loud = (pcen(heard(noise(4.0, level)))[0] for level in (3e-3, 0.3))
    settled = [float(output[200:].mean()) for output in (soft, loud)]
    assert settled[1] / settled[0] < 1.3, "of noises 40 dB apart"
    assert float(loud[0].mean()) > 4.0 * settled[1]


def test_a_student_without_it_has_no_more_parameters_and_state_than_before() -> None:
    plain, normed = (make_student(CONFIGS[name]) for name in ("ssm-lti", "ssm-lti-pcen"))
    added = {spec.name for spec in normed.state_specs()} - {s.name for s in plain.state_specs()}
    assert added == {"pcen_energy"}
    assert set(normed.state_dict()) - set(plain.state_dict()) == {
        "pcen.log_alpha",
        "pcen.log_delta",
        "pcen.log_root",
    }


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_a_smoothing_that_is_no_share_is_refused(smoothing: float) -> None:
    with pytest.raises(msgspec.ValidationError, match="pcen_smoothing"):
        msgspec.convert({"pcen_smoothing": smoothing}, StudentConfig)
