"""The transformer of HuBERT (Hsu et al. 2021) and its kin: convolutional positions, then layers
with norms behind (or before) them, and WavLM's gated relative position bias (Chen et al. 2022).

The keys are fairseq's: `pos_conv.0`, `layer_norm`, `layers.i.self_attn.q_proj`, `.fc1`, ...
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.published.network import states

Gate = Literal["", "query", "input"]
"""What opens WavLM's gate: nothing, the projected query (BEATs), or the attention's input."""


class PositionBias(NamedTuple):
    """Of relative positions: a table of n_buckets for each head, gated or not."""

    n_buckets: int
    max_distance: int
    gate: Gate = ""


class WeightNormConv(nn.Module):
    """Grouped Conv1d over [B, D, N] whose kernels are normalised at each of their taps; one
    output for each input."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups, self.kernel = groups, kernel
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.zeros(dim, dim // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight_v.square().sum((0, 1), keepdim=True).sqrt()
        weight = self.weight_v * (self.weight_g / norm)
        out = functional.conv1d(x, weight, self.bias, 1, self.kernel // 2, groups=self.groups)
        return out[..., : x.shape[2]]


class _NarrowConv(nn.Sequential):
    """One of data2vec's convolutions: LayerNorm without parameters and GELU behind it."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__(nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups))

    def forward(self, x: Tensor) -> Tensor:
        y = self[0](x)[..., : x.shape[2]].transpose(1, 2)
        return functional.gelu(functional.layer_norm(y, y.shape[2:])).transpose(1, 2)


def conv_positions(dim: int, kernel: int, groups: int, depth: int = 1) -> nn.Sequential:
    """What is added to [B, D, N] for its positions: one wide convolution with normalised kernels,
    or, as in data2vec, `depth` narrow ones without."""
    if depth == 1:
        return nn.Sequential(WeightNormConv(dim, kernel, groups), nn.GELU())
    narrow = max(3, kernel // depth)
    return nn.Sequential(*(_NarrowConv(dim, narrow, groups) for _ in range(depth)))


class GatedUnit(nn.Module):
    """`fc1` of the activation "glu": one half times the swish of the other."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.linear(x).chunk(2, -1)
        out: Tensor = values * functional.silu(gates)
        return out


class SelfAttention(nn.Module):
    """Softmax attention of n_heads over [B, N, dim]; inner_dim: of all heads together."""

    def __init__(
        self, dim: int, n_heads: int, inner_dim: int | None = None, gate: Gate = ""
    ) -> None:
        super().__init__()
        inner_dim = inner_dim or dim
        self.n_heads, self.gate = n_heads, gate
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)
        if gate:
            self.grep_linear = nn.Linear(inner_dim // n_heads, 8)
            self.grep_a = nn.Parameter(torch.ones(1, n_heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """bias [1, heads, N, N], before it is gated. mask [B, 1, 1, N]: 0, or -inf at padding."""
        q, k, v = (self._heads(part(x)) for part in (self.q_proj, self.k_proj, self.v_proj))
        if bias is not None and self.gate:
            bias = bias * self._gates(q if self.gate == "query" else self._heads(x))
        if mask is not None:
            bias = mask if bias is None else bias + mask
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, heads, N, D / heads]."""
        out: Tensor = x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
        return out

    def _gates(self, heads: Tensor) -> Tensor:
        """[B, heads, N, 1], around 2."""
        opened = self.grep_linear(heads).unflatten(3, (2, 4)).sum(4)
        first, second = torch.sigmoid(opened).chunk(2, 3)
        out: Tensor = first * (second * self.grep_a - 1.0) + 2.0
        return out


class Layer(nn.Module):
    """Attention and two linear layers, each with a shortcut, which `alpha` (DeepNorm) weighs."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        hidden_dim: int,
        *,
        inner_dim: int | None = None,
        pre_norm: bool = False,
        gate: Gate = "",
        activation: str = "gelu",
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        self.pre_norm, self.activation, self.alpha = pre_norm, activation, alpha
        self.self_attn = SelfAttention(dim, n_heads, inner_dim, gate)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        is_gated = activation == "glu"
        self.fc1 = GatedUnit(dim, hidden_dim) if is_gated else nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        attention, norm = self.self_attn, self.self_attn_layer_norm
        if self.pre_norm:
            x = x + attention(norm(x), bias, mask)
            return x + self._feed(self.final_layer_norm(x))
        x = norm(self.alpha * x + attention(x, bias, mask))
        return cast("Tensor", self.final_layer_norm(self.alpha * x + self._feed(x)))

    def _feed(self, x: Tensor) -> Tensor:
        inner = self.fc1(x)
        if self.activation != "glu":
            inner = getattr(functional, self.activation)(inner)
        out: Tensor = self.fc2(inner)
        return out


class Encoded(NamedTuple):
    """hidden: the first layer's input and every layer's output [B, N, D]. output: of the last
    layer, normalised if norms come first."""

    hidden: tuple[Tensor, ...]
    output: Tensor


class Encoder(nn.Module):
    """positions: [B, D, N] -> [B, D, N], added to the input. The norm stands before post-norm
    layers and behind pre-norm ones."""

    def __init__(
        self,
        layers: list[Layer],
        dim: int,
        positions: nn.Module | None = None,
        bias: PositionBias | None = None,
    ) -> None:
        super().__init__()
        self.pos_conv = positions
        self.layer_norm = nn.LayerNorm(dim)
        self.layers, self.bias = nn.ModuleList(layers), bias
        self.pre_norm = layers[0].pre_norm
        if bias is not None:  # the first layer's table serves all layers
            attention = layers[0].self_attn
            table = nn.Embedding(bias.n_buckets, attention.n_heads)
            attention.relative_attention_bias = table

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Encoded:
        """x [B, N, D]; padding [B, N], True where there is nothing."""
        mask = None
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)
            mask = torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -math.inf)
            mask = mask[:, None, None]
        if self.pos_conv is not None:
            x = x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        x = x if self.pre_norm else self.layer_norm(x)
        hidden = (x, *states(self.layers, x, self._position_bias(x), mask))
        last = hidden[-1]
        return Encoded(hidden, self.layer_norm(last) if self.pre_norm else last)

    def _position_bias(self, x: Tensor) -> Tensor | None:
        if self.bias is None:
            return None
        table = self.get_submodule("layers.0.self_attn.relative_attention_bias")
        buckets = relative_buckets(x.shape[1], self.bias.n_buckets, self.bias.max_distance)
        out: Tensor = table(buckets.to(x.device)).permute(2, 0, 1)[None]
        return out


def relative_buckets(n_positions: int, n_buckets: int, max_distance: int) -> Tensor:
    """i64[N, N], row the query's, column the key's position: exact for small distances,
    logarithmic for larger ones (T5, Raffel et al. 2020). Float32, as the originals compute it:
    edges of buckets depend on it."""
    places = torch.arange(n_positions)
    relative = places[None] - places[:, None]
    half = n_buckets // 2
    exact = half // 2
    distance = relative.abs()
    ratio = distance.float().clamp(min=1) / exact
    far = exact + (ratio.log() / math.log(max_distance / exact) * (half - exact)).long()
    near = distance < exact
    return half * (relative > 0) + torch.where(near, distance, far.clamp(max=half - 1))
