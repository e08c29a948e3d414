"""The norms that training computes at once are PyTorch's, bounded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.norms import bounded_norm, bounded_norm_2d


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def norms(kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]) -> list[nn.Module]:
    """Two of the same."""
    made: list[nn.Module] = []
    for _ in range(2):
        norm = kind(6)
        with torch.no_grad():
            norm.weight.copy_(randn(6, seed=1))
            norm.bias.copy_(randn(6, seed=2))
        made.append(norm)
    return made


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_output_gradients_and_statistics_are_those_of_batch_norm_and_clamp(
    n_threads: int, mean: float
) -> None:
    torch.set_num_threads(n_threads)
    fused, plain = norms(nn.BatchNorm2d)
    x = (3.0 * randn(4, 6, 90, 31) + mean).contiguous(memory_format=torch.channels_last)
    weights = randn(4, 6, 90, 31, seed=3)
    found = []
    for norm in (fused, plain):
        given = x.clone().requires_grad_(True)
        y = (
            bounded_norm_2d(norm, given, -0.5, 1.0)
            if norm is fused
            else functional.hardtanh(norm(given), -0.5, 1.0)
        )
        assert 0.1 < ((y > -0.5) & (y < 1.0)).float().mean() < 0.9
        y.backward(weights)
        found.append([y.detach(), given.grad, *(p.grad for p in norm.parameters())])
    exact = 1e-5 if mean == 0.0 else 1e-3  # PyTorch's own rounding: x itself has 1e-5 of its spread
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=exact * expected.abs().max())
    for name, value in fused.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_tokens_are_normed_like_pictures_and_in_eval_by_running_statistics() -> None:
    fused, plain = norms(nn.BatchNorm1d)
    x = randn(8, 25, 6)
    torch.testing.assert_close(
        bounded_norm(fused, x, -1.0, 1.0), plain(x.reshape(-1, 6)).clamp(-1.0, 1.0).view_as(x)
    )
    fused.eval()
    plain.eval()
    expected = plain(x.reshape(-1, 6)).clamp(-1.0, 1.0).view_as(x)
    torch.testing.assert_close(bounded_norm(fused, x, -1.0, 1.0), expected)


def test_a_picture_in_another_memory_layout_is_the_same_picture() -> None:
    fused, plain = norms(nn.BatchNorm2d)
    x = randn(2, 6, 9, 8)[:, :, 1:]
    found = bounded_norm_2d(fused, x, 0.0, 6.0)
    torch.testing.assert_close(found, functional.relu6(plain(x)))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_goes_through(broken: float) -> None:
    norm = nn.BatchNorm1d(3)
    x = randn(50, 3)
    x[20, 1] = broken
    y = bounded_norm(norm, x, -6.0, 6.0)
    assert y[:, 1].isnan().any()
    assert y[:, [0, 2]].isfinite().all()
