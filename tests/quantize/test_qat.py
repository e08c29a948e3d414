"""Fine-tuning with rounded weights trains the float weights behind them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import nn  # noqa: E402

from distill.students.student import Student, StudentConfig  # noqa: E402
from quantize.graph.int8 import round_linear_weights  # noqa: E402
from quantize.qat import RoundedLinear, round_in_forward  # noqa: E402

SMALL = StudentConfig(stem=((4, 2), (4, 2), (4, 2)), channels=8, n_blocks=2, embedding_dim=8)


def test_forward_is_that_of_the_rounded_student() -> None:
    torch.manual_seed(0)
    student = Student(SMALL).eval()
    frames = torch.randn(2, 80, 64)
    expected = round_linear_weights(student)(frames).logits
    plain, names = student(frames).logits, list(student.state_dict())
    round_in_forward(student)
    torch.testing.assert_close(student(frames).logits, expected)
    assert not torch.equal(plain, expected)
    assert list(student.state_dict()) == names
    assert not [m for m in student.modules() if type(m) is nn.Linear]


def test_gradient_passes_straight_through_the_rounding() -> None:
    torch.manual_seed(1)
    linear = RoundedLinear(3, 2)
    x = torch.randn(5, 3)
    linear(x).sum().backward()
    assert linear.weight.grad is not None
    torch.testing.assert_close(linear.weight.grad, x.sum(0).expand(2, 3))
