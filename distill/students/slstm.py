"""sLSTM: the scalar memory of the xLSTM, with recurrent gates (Beck et al. 2024).

    i, z, f, o from W u[t] + R h[t-1], block-diagonal
    n[t] = f n[t-1] + e^i        w = e^i / n[t]
    c[t] = c[t-1] + w (tanh z - c[t-1])        h[t] = sigmoid(o) c[t]        y = 3 h[t] + d u[t]

c is xLSTM's c / n: a moving average of tanh z with exponential weights, so it never leaves [-1, 1].
f is a sigmoid bounded below one and the logit i is clipped, which bounds n too and takes the
place of xLSTM's stabiliser. h[t-1] inside the gates leaves no parallel form: training runs step
by step, with a gradient of its own that spares autograd's bookkeeping at each of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.sequence_mixer import SequenceMixer, head_width, log_decay_per_head
from edge_audio.bundle.spec import Spec

MAX_LOGIT = 8.0
"""Of the exponential input gate, either sign."""

OUTPUT_SCALE = 3.0
"""Spreads h, within [-1, 1], over the bend of the block's Hardswish."""


class SLSTMConfig(Spec, frozen=True, tag_field="kind", tag="slstm"):
    """head_dim: channels that feed each other's gates. max_time_constant_s: longest memory at
    a closed input gate."""

    head_dim: int = 4
    max_time_constant_s: float = 8.0

    def build(self, channels: int, token_s: float) -> SLSTM:
        return SLSTM(channels, self.head_dim, self.max_time_constant_s / token_s)


class SLSTMState(NamedTuple):
    """c, n and h [B, H, P]: heads, channels per head."""

    c: Tensor
    n: Tensor
    h: Tensor


class SLSTM(SequenceMixer[SLSTMState]):
    """Scalar memories whose gates hear h of the step before, head by head."""

    def __init__(self, channels: int, head_dim: int, max_time_constant: float) -> None:
        super().__init__()
        n_heads = head_width(channels, head_dim)
        shape = (n_heads, head_dim)
        self.head_shape = shape
        self.max_decay = math.exp(-1.0 / max_time_constant)
        bound = head_dim**-0.5
        weight = torch.empty(n_heads, 2 * head_dim, 4 * head_dim).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)  # rows: u, then h; columns: i, z, f, o
        log_decay = log_decay_per_head(channels, max_time_constant)
        self.log_decay = nn.Parameter(log_decay[torch.randperm(channels)].reshape(shape))
        self.skip = nn.Parameter(torch.randn(channels))

    def forward(self, u: Tensor) -> Tensor:
        of_input, recurrent = self.weight.transpose(1, 2).chunk(2, dim=2)  # [H, 4 P, P] each
        heads = u.unflatten(2, self.head_shape).permute(2, 3, 1, 0)  # [H, P, T, B]
        driven = torch.baddbmm(self._gate_bias()[..., None], of_input, heads.flatten(2))
        driven = driven.unflatten(2, heads.shape[2:]).permute(2, 0, 1, 3)  # [T, H, 4 P, B]
        scan = SLSTMScan.apply(  # type: ignore[no-untyped-call]
            driven.contiguous(), recurrent, self.max_decay
        )
        hidden = cast("Tensor", scan)
        return OUTPUT_SCALE * hidden.permute(3, 0, 1, 2).flatten(2) + self.skip * u

    def step(self, u: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        c, n, h = state
        heads = torch.cat([u.reshape(h.shape), h], dim=2).transpose(0, 1)  # [H, B, 2 P]
        logits = torch.bmm(heads, self.weight).transpose(0, 1) + self._gate_bias()
        i, z, f, o = logits.chunk(4, dim=2)
        gain = torch.exp(functional.hardtanh(i, -MAX_LOGIT, MAX_LOGIT))
        n = self.max_decay * torch.sigmoid(f) * n + gain
        c = c + gain / n * (torch.tanh(z) - c)
        h = torch.sigmoid(o) * c
        return OUTPUT_SCALE * h.reshape(u.shape) + self.skip * u, SLSTMState(c, n, h)

    def initial_state(self, batch_size: int) -> SLSTMState:
        shape = (batch_size, *self.head_shape)
        return SLSTMState(*(self.skip.new_zeros(shape) for _ in SLSTMState._fields))

    def _gate_bias(self) -> Tensor:
        """[H, 4 P]: of the forget gate alone; the block's norm shifts the others."""
        width = self.head_shape[1]
        return functional.pad(-self.log_decay, (2 * width, width))


class SLSTMScan(torch.autograd.Function):
    """The recurrence: logits due to the input [T, H, 4 P, B], recurrent weight [H, 4 P, P] and
    largest decay -> h [T, H, P, B].

    The gradient needs neither n nor e^i: with g_c and g_n those of c and of ln n,

        g_c[t] = o g_h[t] + (1 - w[t + 1]) g_c[t + 1]
        g_n[t] = -w (z - c[t - 1]) g_c[t] + (1 - w[t + 1]) g_n[t + 1]
    """

    @staticmethod
    def forward(ctx: Any, driven: Tensor, recurrent: Tensor, max_decay: float) -> Tensor:
        n_steps, n_heads, n_logits, batch_size = driven.shape
        shape = (n_heads, n_logits // 4, batch_size)
        logits = torch.empty_like(driven)  # turned into z, f and o in place; i stays
        weights = driven.new_empty(n_steps, *shape)
        memory, hidden = driven.new_zeros(2, n_steps + 1, *shape).unbind()
        gain, total = driven.new_zeros(2, *shape).unbind()
        i, z, f, o = logits.chunk(4, 2)
        f_and_o = logits[:, :, n_logits // 2 :]
        for t in range(n_steps):
            torch.baddbmm(driven[t], recurrent, hidden[t], out=logits[t])
            torch.clamp(i[t], -MAX_LOGIT, MAX_LOGIT, out=gain).exp_()
            z[t].tanh_()
            f_and_o[t].sigmoid_()
            torch.add(gain, total.mul_(f[t]), alpha=max_decay, out=total)
            torch.div(gain, total, out=weights[t])
            torch.lerp(memory[t], z[t], weights[t], out=memory[t + 1])
            torch.mul(o[t], memory[t + 1], out=hidden[t + 1])
        ctx.save_for_backward(logits, weights, memory, hidden, recurrent)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor, Tensor, None]:
        logits, weights, memory, hidden, recurrent = ctx.saved_tensors
        grad_hidden = grad_hidden.contiguous()
        i, z, f, o = logits.chunk(4, 2)
        kept = 1.0 - weights
        inside = i.abs() < MAX_LOGIT
        pull = weights * (z - memory[:-1])
        pull_i, weight_i = pull * inside, weights * inside
        slope_z, slope_f = weights * (1.0 - z * z), kept * (1.0 - f)
        slope_o = memory[1:] * o * (1.0 - o)

        grad = torch.empty_like(logits)
        grad_i, grad_z, grad_f, grad_o = grad.chunk(4, 2)
        back = recurrent.transpose(1, 2).contiguous()
        grad_h = grad_hidden[-1].clone()
        carry_c, carry_n = torch.zeros_like(kept[0]), torch.zeros_like(kept[0])
        for t in range(len(logits) - 1, -1, -1):
            carry_c.addcmul_(grad_h, o[t])
            carry_n.addcmul_(carry_c, pull[t], value=-1.0)
            torch.mul(carry_c, pull_i[t], out=grad_i[t]).addcmul_(carry_n, weight_i[t])
            torch.mul(carry_c, slope_z[t], out=grad_z[t])
            torch.mul(carry_n, slope_f[t], out=grad_f[t])
            torch.mul(grad_h, slope_o[t], out=grad_o[t])
            carry_c.mul_(kept[t])
            carry_n.mul_(kept[t])
            if t > 0:
                torch.baddbmm(grad_hidden[t - 1], back, grad[t], out=grad_h)
        grad_recurrent = torch.einsum("thgb,thpb->hgp", grad, hidden[:-1])
        return grad, grad_recurrent, None
