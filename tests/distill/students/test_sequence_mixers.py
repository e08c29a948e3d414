"""Each mixer computes what its docstring says, with gradients to match, and stays bounded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distill.students.attention import AttentionConfig
from distill.students.blocks import BOUND
from distill.students.causal_conv import convolve
from distill.students.chunked import CHUNK, decayed_attention
from distill.students.conv_mixer import DilatedConv
from distill.students.lti import DiagonalSSM, LTIState
from distill.students.mlstm import MLSTMConfig
from distill.students.selective import SelectiveSSMConfig
from distill.students.sequence_mixer import SequenceMixer
from distill.students.slstm import SLSTM, SLSTMConfig
from distill.students.state import flatten
from tests.support.student_zoo import MIXERS

CHANNELS = 8
TOKEN_S = 0.08


def make_mixer(family: str, seed: int = 0) -> SequenceMixer[Any]:
    torch.manual_seed(seed)
    return MIXERS[family].build(CHANNELS, TOKEN_S)


def run_steps(mixer: SequenceMixer[Any], u: Tensor) -> Tensor:
    """[B, T, D] -> [B, T, D] with one step after the other."""
    state = mixer.initial_state(len(u))
    rows = []
    for row in u.unbind(1):
        y, state = mixer.step(row, state)
        rows.append(y)
    return torch.stack(rows, 1)


def random_input(n_steps: int, scale: float = 1.0, batch_size: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(n_steps)
    u = torch.randn(batch_size, n_steps, CHANNELS, generator=generator, dtype=torch.float64)
    return (scale * u).clamp(-BOUND, BOUND)


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


@pytest.mark.parametrize("family", MIXERS)
@pytest.mark.parametrize("n_steps", [1, 7, CHUNK, 2 * CHUNK + 1])
def test_forward_and_its_gradients_equal_those_of_the_steps(family: str, n_steps: int) -> None:
    mixer = make_mixer(family).double()
    weight = random_input(n_steps + 100)[:, :n_steps]
    results = []
    for run in (mixer, lambda u: run_steps(mixer, u)):
        mixer.zero_grad()
        u = random_input(n_steps, scale=4.0).requires_grad_()
        y = run(u)
        (y * weight).sum().backward()
        results.append([y, u.grad, *(gradient_of(p) for p in mixer.parameters())])
    for forward, stepped in zip(*results, strict=True):
        torch.testing.assert_close(forward, stepped, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("family", MIXERS)
def test_state_stays_bounded_over_20_000_steps_of_loud_noise(family: str) -> None:
    mixer = make_mixer(family)
    n_distinct = 997
    loud = random_input(n_distinct, scale=4.0, batch_size=1).float() + 0.5 * BOUND
    rows = loud.clamp(-BOUND, BOUND).unbind(1)
    state = mixer.initial_state(1)
    early = [0.0] * len(flatten(state))
    with torch.inference_mode():
        for step in range(20_000):
            y, state = mixer.step(rows[step % n_distinct], state)
            if step < 2 * n_distinct:
                peaks = (float(tensor.abs().max()) for tensor in flatten(state))
                early = [max(pair) for pair in zip(early, peaks, strict=True)]
    assert torch.isfinite(y).all()
    for tensor, bound in zip(flatten(state), early, strict=True):
        assert float(tensor.abs().max()) <= 1.01 * bound


@pytest.mark.parametrize("family", MIXERS)
def test_all_families_forget_after_their_longest_memory(family: str) -> None:
    mixer = make_mixer(family)
    n_steps = math.ceil(8 * 8.0 / TOKEN_S)  # eight time constants
    u = random_input(n_steps + 1).float()
    changed = u.clone()
    changed[:, 0] = -u[:, 0]
    with torch.inference_mode():
        before, after = mixer(u), mixer(changed)
    assert (after[:, 1] - before[:, 1]).abs().max() > 1e-3
    torch.testing.assert_close(after[:, -1], before[:, -1], atol=3e-3, rtol=0)


def test_slowest_possible_mode_stays_below_its_declared_bound() -> None:
    ssm = DiagonalSSM(channels=1, n_modes=1, max_time_constant=100.0).requires_grad_(False)
    ssm.log_decay.fill_(-1e3)  # no decay of its own: only the time constant's bound is left
    ssm.angle.zero_()
    state, one = torch.zeros(1, 1, 2), torch.ones(1, 1)
    with torch.inference_mode():
        for _ in range(2_000):
            _, (state,) = ssm.step(one, LTIState(state))
    r = math.exp(-1.0 / 100.0)
    limit = math.sqrt(1 - r * r) / (1 - r)
    assert float(state.abs().max()) == pytest.approx(limit, rel=1e-3)


def test_lti_kernel_is_its_response_to_an_impulse() -> None:
    torch.manual_seed(6)
    ssm = DiagonalSSM(channels=3, n_modes=4, max_time_constant=50.0).requires_grad_(False)
    impulse = torch.zeros(1, 60, 3)
    impulse[:, 0] = 1.0
    response = run_steps(ssm, impulse)[0].T - ssm.skip[:, None] * impulse[0].T
    torch.testing.assert_close(response, ssm.kernel(60), atol=1e-5, rtol=0)


def test_convolution_is_the_direct_sum_and_knows_its_gradient() -> None:
    torch.manual_seed(0)
    u = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    terms = [functional.pad(u * kernel[k], (0, 0, k, 0))[:, :9] for k in range(9)]
    torch.testing.assert_close(convolve(u, kernel), torch.stack(terms).sum(0))
    assert torch.autograd.gradcheck(convolve, (u, kernel))


def test_dilated_convolution_is_that_of_torch() -> None:
    torch.manual_seed(0)
    conv = DilatedConv(CHANNELS, n_taps=5, dilation=3).double()
    u = random_input(40)
    padded = functional.pad(u.transpose(1, 2), (4 * 3, 0))
    taps = conv.weight.flip(0).T[:, None]
    expected = functional.conv1d(padded, taps, conv.bias, dilation=3, groups=CHANNELS)
    torch.testing.assert_close(conv(u), expected.transpose(1, 2))


def test_decayed_attention_in_chunks_is_the_direct_sum() -> None:
    torch.manual_seed(0)
    n_steps, n_heads, scale = 3 * CHUNK, 2, 0.3
    query, key = torch.randn(2, 1, n_steps, 5, dtype=torch.float64)
    value = torch.randn(1, n_steps, n_heads, 4, dtype=torch.float64)
    log_decay = -torch.rand(1, n_steps, n_heads, dtype=torch.float64)
    log_gain, log_scale = torch.randn(2, 1, n_steps, n_heads, dtype=torch.float64)
    y = decayed_attention(query, key, value, log_decay, log_gain, scale * log_scale)
    expected = torch.zeros_like(value)
    for t in range(n_steps):
        for s in range(t + 1):
            exponent = log_decay[:, s + 1 : t + 1].sum(1) + log_gain[:, s] - scale * log_scale[:, t]
            score = (query[:, t] * key[:, s]).sum(-1)
            expected[:, t] += exponent.exp()[..., None] * score * value[:, s]
    torch.testing.assert_close(y, expected)


def test_exponential_mlstm_is_the_published_recurrence_without_a_stabiliser() -> None:
    torch.manual_seed(0)
    mixer = MLSTMConfig(n_heads=2, key_dim=3).build(CHANNELS, TOKEN_S).double()
    u = random_input(30, scale=2.0)
    query, key, gain, decay = mixer.project(u).split((3, 3, 2, 2), dim=-1)
    c = torch.zeros(2, 3, 2, CHANNELS // 2, dtype=torch.float64)
    n = torch.zeros(2, 3, 2, dtype=torch.float64)
    max_decay = math.exp(-TOKEN_S / 8.0)
    for t in range(30):
        f = max_decay * torch.sigmoid(decay[:, t] - mixer.log_decay)[:, None]
        i_k = torch.exp(gain[:, t])[:, None] * key[:, t, :, None] / math.sqrt(3)
        value = u[:, t].reshape(2, 1, 2, -1)
        c = f[..., None] * c + i_k[..., None] * value
        n = f * n + i_k
        weight = torch.einsum("bn,bnh->bh", query[:, t], n).abs().clamp(min=1.0)
        y = torch.einsum("bn,bnhp->bhp", query[:, t], c) / weight[..., None]
        torch.testing.assert_close(mixer(u)[:, t], y.flatten(1) + mixer.skip * u[:, t])


@pytest.mark.parametrize("logit", [-1e4, -5.0, 5.0, 1e4])
def test_mlstm_survives_any_gate(logit: float) -> None:
    mixer = make_mixer("mlstm")
    with torch.no_grad():
        mixer.get_parameter("project.bias")[6:] = logit  # input and forget gate
    u = random_input(50, scale=4.0).float()
    y = mixer(u)
    assert torch.isfinite(y).all()
    torch.testing.assert_close(run_steps(mixer, u), y, atol=1e-3, rtol=1e-3)


def test_slstm_is_the_published_recurrence() -> None:
    """c / n with both sums written out, unlike the moving average of the module."""
    torch.manual_seed(0)
    mixer = SLSTMConfig(head_dim=4).build(CHANNELS, TOKEN_S).double()
    u = random_input(30, scale=3.0)
    c, n, h = torch.zeros(3, 2, CHANNELS // 4, 4, dtype=torch.float64)
    max_decay = math.exp(-TOKEN_S / 8.0)
    for t in range(30):
        heads = torch.cat([u[:, t].reshape(h.shape), h], dim=2)
        i, z, f, o = torch.einsum("bhi,hio->bho", heads, mixer.weight).chunk(4, dim=2)
        f = max_decay * torch.sigmoid(f - mixer.log_decay)
        c, n = f * c + i.exp() * z.tanh(), f * n + i.exp()
        h = torch.sigmoid(o) * c / n
        expected = 3.0 * h.flatten(1) + mixer.skip * u[:, t]
        torch.testing.assert_close(mixer(u)[:, t], expected)


def test_slstm_gradient_knows_its_clipped_gates() -> None:
    """The same as autograd's through the steps where every second logit is clipped."""
    torch.manual_seed(0)
    mixer = SLSTM(CHANNELS, 4, 100.0).double()
    with torch.no_grad():
        mixer.weight[:, :, :4] *= 8.0
    gradients = []
    for run in (mixer, lambda u: run_steps(mixer, u)):
        mixer.zero_grad()
        u = random_input(20, scale=4.0).requires_grad_()
        run(u).square().sum().backward()
        gradients.append([u.grad, gradient_of(mixer.weight)])
    for forward, stepped in zip(*gradients, strict=True):
        torch.testing.assert_close(forward, stepped)


def test_selective_decay_never_reaches_one() -> None:
    torch.manual_seed(0)
    mixer = SelectiveSSMConfig(n_heads=4, state_dim=3).build(CHANNELS, TOKEN_S)
    with torch.no_grad():
        mixer.project.bias[6:] = 1e4  # as slow as it goes
        mixer.project.weight.zero_()
        mixer.project.bias[:6] = 1.0
    one = torch.ones(1, CHANNELS)
    state = mixer.initial_state(1)
    with torch.inference_mode():
        for _ in range(2_000):
            _, state = mixer.step(one, state)
    decay = math.exp(-TOKEN_S / 8.0)
    limit = math.sqrt(1.0 - decay * decay) / (1.0 - decay)
    torch.testing.assert_close(state.h, torch.full_like(state.h, limit), rtol=1e-3, atol=0)


def test_attention_is_a_softmax_over_its_window_and_nothing_before_it() -> None:
    """Sums written out; tokens before the stream weigh, and give nothing."""
    torch.manual_seed(0)
    mixer = AttentionConfig(n_heads=2, key_dim=3, window_s=0.4).build(CHANNELS, TOKEN_S).double()
    torch.nn.init.normal_(mixer.bias)
    u = random_input(12, scale=2.0, batch_size=1)
    query, key = mixer.project(u)[0].unflatten(1, (2, 2, 3)).unbind(1)  # [T, H, K]
    for t in range(12):
        expected = torch.zeros(2, CHANNELS // 2, dtype=torch.float64)
        for head in range(2):
            total = torch.zeros((), dtype=torch.float64)
            for age in range(5):
                score = mixer.bias[head, 4 - age]
                if t >= age:
                    score = score + query[t, head] @ key[t - age, head] / math.sqrt(3)
                    value = u[0, t - age].unflatten(0, (2, -1))[head]
                    expected[head] += score.exp() * value
                total = total + score.exp()
            expected[head] /= total
        torch.testing.assert_close(mixer(u)[0, t], expected.flatten() + mixer.skip * u[0, t])


def test_attention_remembers_no_longer_than_its_window() -> None:
    mixer = make_mixer("attention").double()  # of five tokens
    u = random_input(30)
    changed = u.clone()
    changed[:, 7] += 1.0
    difference = (mixer(changed) - mixer(u)).abs().amax((0, 2))
    assert difference[7:12].min() > 1e-3
    assert difference[12:].max() == 0.0
    assert difference[:7].max() == 0.0
