"""Long causal convolution through the FFT, the parallel form of time-invariant mixers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """y[t] = sum_{s <= t} kernel[t - s] u[s] per channel: u [B, T, D], kernel [T, D]."""
    y: Tensor = _CausalConvolution.apply(u, kernel)  # type: ignore[no-untyped-call]
    return y


class _CausalConvolution(torch.autograd.Function):
    """With its own gradient: that of `torch.fft.rfft` runs full complex transforms, which takes
    twice as long."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        n_steps = u.shape[1]
        size = 2 * n_steps  # zero padding makes the circular convolution a causal one
        spectrum = torch.fft.rfft(u, size, dim=1)
        response = torch.fft.rfft(kernel, size, dim=0)
        ctx.save_for_backward(spectrum, response)
        out: Tensor = torch.fft.irfft(spectrum * response, size, dim=1)[:, :n_steps]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Correlation, that is convolution backwards in time."""
        spectrum, response = ctx.saved_tensors
        n_steps = grad.shape[1]
        size = 2 * n_steps
        grad_spectrum = torch.fft.rfft(grad, size, dim=1)
        grad_u = torch.fft.irfft(grad_spectrum * response.conj(), size, dim=1)[:, :n_steps]
        correlation = (grad_spectrum * spectrum.conj()).sum(0)
        return grad_u, torch.fft.irfft(correlation, size, dim=0)[:n_steps]
