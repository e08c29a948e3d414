"""What rounding of activations and state guarantees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_audio.errors import UsageError
from quantize.graph.keep_labels import keep_labels
from quantize.graph.layers import Range, Rounding, StateRounding
from quantize.graph.parity import eager_scores
from quantize.graph.prepare import fold_batch_norms, prepare
from quantize.graph.ranges import measure_ranges
from quantize.graph.step import SampleStepGraph, StepGraph
from quantize.schemes import SCHEMES, find_scheme
from tests.support.student_zoo import CONFIGS, make_mixed_student, make_student, random_frames


@pytest.mark.parametrize("values", [Range(-6.0, 6.0), Range(-0.375, 6.0), Range(0.0, 3.0)])
def test_rounding_keeps_zero_and_errs_by_half_a_level_within_the_range(values: Range) -> None:
    x = torch.linspace(values.low, values.high, 1_001)
    rounding = Rounding(values)
    assert rounding(torch.zeros(3)).eq(0).all()
    # The grid is moved by up to half a level so that zero is on it: at an end that costs as much.
    inner = x[10:-10]
    assert (rounding(inner) - inner).abs().max() <= 0.501 * rounding.scale
    assert (rounding(x) - x).abs().max() <= 1.001 * rounding.scale
    assert len(torch.unique(rounding(x))) <= 256


def test_rounding_clips_what_is_beyond_the_range() -> None:
    rounded = Rounding(Range(-1.0, 1.0))(torch.tensor([-9.0, 9.0]))
    np.testing.assert_allclose(rounded, [-1.0, 1.0], atol=0.01)


@pytest.mark.parametrize(("dtype", "levels"), [("int16", 32_767), ("int8", 127)])
def test_state_rounding_errs_by_half_a_level_of_each_channel_and_clips(
    dtype: str, levels: int
) -> None:
    limits = np.array([0.01, 5.0], np.float32).reshape(1, 2, 1)
    rounding = StateRounding(dtype, limits)  # type: ignore[arg-type]
    x = torch.from_numpy(limits) * torch.linspace(-1.0, 1.0, 999)
    kept = rounding.keep(x)
    assert str(kept.dtype) == f"torch.{dtype}"
    error = (rounding.read(kept) - x).abs().amax((0, 2)).numpy()
    assert (error <= 0.5001 * limits.ravel() / levels).all()
    assert rounding.keep(10.0 * x).abs().max() == levels
    assert rounding.keep(torch.zeros_like(x)).eq(0).all(), "a stream starts with zeros"


def test_folding_batch_norms_changes_nothing() -> None:
    student = make_student(CONFIGS["ssm-lti"])
    frames = random_frames(80)
    expected = student(frames).logits
    fold_batch_norms(student)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in student.modules())
    torch.testing.assert_close(student(frames).logits, expected, atol=1e-5, rtol=1e-5)


def test_ranges_cover_every_layer_and_state_and_grow_with_the_input() -> None:
    student = make_mixed_student()
    quiet, loud = (random_frames(400, seed=3)[0].numpy() * np.float32(gain) for gain in (0.1, 1.0))
    small, large = measure_ranges(student, [quiet]), measure_ranges(student, [loud])
    layers = {n for n, m in student.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert set(large.inputs) == set(large.outputs) == layers
    assert set(large.state) == {tensor.name for tensor in student.state_specs()}
    assert all(r.low <= 0.0 <= r.high for r in large.inputs.values())
    first = "stem.convs.0.layers.0"
    assert large.inputs[first].high > 5 * small.inputs[first].high


def test_one_loud_step_in_two_hundred_does_not_widen_the_range() -> None:
    student = make_student(CONFIGS["ssm-lti"])
    frames = random_frames(8 * 200, seed=4)[0].numpy()
    calm = measure_ranges(student, [frames]).inputs["stem.convs.0.layers.0"]
    frames[:8] *= 100.0
    assert measure_ranges(student, [frames]).inputs["stem.convs.0.layers.0"].high < 2 * calm.high


@pytest.mark.parametrize("scheme", ["static", "int16-state", "int8-state"])
def test_a_scheme_that_needs_ranges_says_so(scheme: str) -> None:
    with pytest.raises(UsageError, match="--ranges"):
        prepare(make_student(CONFIGS["ssm-lti"]), SCHEMES[scheme])


def test_unknown_schemes_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="weight-only"):
        find_scheme("int4")


def test_kept_labels_have_the_scores_they_had() -> None:
    student = make_student(CONFIGS["ssm-lti"])
    labels = [f"label {index}" for index in range(student.config.n_classes)]
    kept, names = keep_labels(student, labels, ["label 7", "label 2"])
    assert names == ("label 2", "label 7")
    rows = random_frames(160)[0].numpy()
    whole, part = (eager_scores(StepGraph(one), rows) for one in (student, kept))
    np.testing.assert_allclose(part, whole[:, [2, 7]], atol=1e-6)
    with pytest.raises(UsageError, match="label 99"):
        keep_labels(student, labels, ["label 99"])


def test_the_graph_that_is_fed_samples_scores_like_the_one_that_is_fed_frames() -> None:
    from edge_audio.features.frontend import log_mel

    graph = StepGraph(make_student(CONFIGS["ssm-lti"]))
    front = graph.spec.frontend
    rng = np.random.default_rng(0)
    level = np.repeat(10.0 ** rng.uniform(-5, 0, 40), 1_280)  # from near silence to full scale
    samples = (0.3 * level * rng.standard_normal(len(level))).clip(-1, 1).astype(np.float32)
    padded = np.concatenate([np.zeros(front.overlap_samples, np.float32), samples])
    expected = eager_scores(graph, log_mel(front, padded))
    found = eager_scores(SampleStepGraph(graph), samples)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("level", [0.0, 1e-5, 1e-3, 0.1, 1.0])
def test_the_front_end_in_float16_neither_overflows_nor_strays(level: float) -> None:
    """A known trap of log-mel in graphs; here powers stay below 65,504 up to full scale, and the
    floor of the logarithm is a subnormal number, which a CPU does not drop."""
    graph = SampleStepGraph(StepGraph(make_student(CONFIGS["ssm-lti"])))
    square = np.sign(np.sin(np.arange(1_520) * (2 * np.pi * 440 / 16_000)) + 1e-9)
    samples = torch.from_numpy((level * square).astype(np.float32)).reshape(1, -1)
    exact = graph._log_mel(samples)  # noqa: SLF001
    graph.fourier, graph.mels = graph.fourier.half(), graph.mels.half()
    found = graph._log_mel(samples.half()).float()  # noqa: SLF001
    assert (found - exact).abs().max() < 0.05
