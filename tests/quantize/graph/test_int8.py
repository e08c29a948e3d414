"""int8 weights: what the rounding guarantees."""

import numpy as np
import pytest
import torch
from torch import nn

from distill.students.student import Student, StudentConfig
from quantize.graph.int8 import MAX_INT8, quantize_weight, round_linear_weights

TINY = StudentConfig(stem=((4, 2), (8, 2), (8, 2)), channels=16, n_blocks=2, embedding_dim=24)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_rounding_error_is_at_most_half_a_step_of_each_output_channel(scale: float) -> None:
    weight = np.random.default_rng(0).normal(0.0, scale, (7, 33)).astype(np.float32)
    integers, scales = quantize_weight(weight)
    error = np.abs(integers * scales[:, None] - weight)
    assert (error <= 0.5001 * scales[:, None]).all()
    assert np.abs(integers).max() == MAX_INT8


def test_zero_rows_stay_zero() -> None:
    integers, scales = quantize_weight(np.zeros((2, 5), np.float32))
    assert not integers.any()
    assert np.isfinite(scales).all()


def test_rounding_twice_changes_nothing() -> None:
    torch.manual_seed(0)
    once = round_linear_weights(Student(TINY))
    twice = round_linear_weights(once)
    for (name, a), (_, b) in zip(once.named_parameters(), twice.named_parameters(), strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-6, err_msg=name)


def test_only_linear_weights_are_rounded_and_the_original_is_kept() -> None:
    torch.manual_seed(0)
    student = Student(TINY)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    rounded = dict(round_linear_weights(student).named_parameters())
    linear = {f"{name}.weight" for name, m in student.named_modules() if isinstance(m, nn.Linear)}
    changed = {name for name, value in before.items() if not torch.equal(value, rounded[name])}
    assert changed == linear
    assert all(torch.equal(p, before[name]) for name, p in student.named_parameters())
