"""Zipformer (Yao et al. 2024), evaluated as icefall trains it: stacks of layers at several rates,
one attention map a layer, BiasNorm, and bypasses around all of it. Everything is [B, T, D]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.published.network import states

_NONLIN_SHARE = 3, 4  # of the width
_FFN_SHARES = (3, 4), (4, 4), (5, 4)  # of feedforward_dim, of the three in a layer


def swoosh_r(x: Tensor) -> Tensor:
    """ln(1 + e^(x - 1)) - 0.08 x - 0.313261687."""
    return functional.softplus(x - 1.0) - 0.08 * x - 0.313261687


def swoosh_l(x: Tensor) -> Tensor:
    """ln(1 + e^(x - 4)) - 0.08 x - 0.035."""
    return functional.softplus(x - 4.0) - 0.08 * x - 0.035


class BiasNorm(nn.Module):
    """The bias is taken off inside the root only."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        power = (x - self.bias).square().mean(-1, keepdim=True)
        return x * (self.log_scale.exp() / power.sqrt())


class Bypass(nn.Module):
    """From what comes in to what comes out, as far as the scale says."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return before + (after - before) * self.bypass_scale


class StackSize(NamedTuple):
    """Numbers of one stack. head_dims: of queries, values and positions."""

    dim: int
    n_layers: int
    downsampling: int
    n_heads: int
    head_dims: tuple[int, int, int]
    pos_dim: int
    ffn_dim: int
    conv_kernel: int


def stack_sizes(architecture: Mapping[str, Any]) -> list[StackSize]:
    """Of icefall's settings: lists, or text with commas; one number serves all stacks."""
    n_stacks = len(_numbers(architecture["encoder_dim"]))

    def each(name: str) -> list[int]:
        numbers = _numbers(architecture[name])
        return numbers * n_stacks if len(numbers) == 1 else numbers

    heads = zip(each("query_head_dim"), each("value_head_dim"), each("pos_head_dim"), strict=True)
    pos_dims = [architecture["pos_dim"]] * n_stacks
    columns = (
        each("encoder_dim"),
        each("num_encoder_layers"),
        each("downsampling_factor"),
        each("num_heads"),
        list(heads),
        pos_dims,
        each("feedforward_dim"),
        each("cnn_module_kernel"),
    )
    return [StackSize(*row) for row in zip(*columns, strict=True)]


def _numbers(value: Any) -> list[int]:
    if isinstance(value, str):
        return [int(part) for part in value.split(",")]
    return list(value) if isinstance(value, Sequence) else [value]


class AttentionWeights(nn.Module):
    """x -> softmax over keys [B, H, T, T]; scores are not divided by the width's root."""

    def __init__(self, size: StackSize) -> None:
        super().__init__()
        query, _, position = size.head_dims
        self.n_heads = size.n_heads
        self.widths = [query * size.n_heads, query * size.n_heads, position * size.n_heads]
        self.in_proj = nn.Linear(size.dim, sum(self.widths))
        self.linear_pos = nn.Linear(size.pos_dim, position * size.n_heads, bias=False)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """positions: `compact_positions` of x's frames."""
        query, key, position = (
            part.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for part in self.in_proj(x).split(self.widths, dim=2)
        )
        n_frames = x.shape[1]
        table = (
            self.linear_pos(positions).unflatten(1, (self.n_heads, -1)).transpose(0, 1)
        )  # [H, 2 T - 1, P]
        by_offset = position @ table.transpose(1, 2)  # [B, H, T, 2 T - 1]
        place = torch.arange(n_frames, device=x.device)
        index = (n_frames - 1) - place[:, None] + place[None, :]
        scores = query @ key.transpose(2, 3) + by_offset.gather(
            3, index.expand(*by_offset.shape[:2], -1, -1)
        )
        return torch.softmax(scores, 3)


def compact_positions(n_frames: int, pos_dim: int) -> Tensor:
    """[2 T - 1, pos_dim]: of key - query, from -(T - 1) on; cosines and sines of an angle that
    grows with the distance ever more slowly."""
    offset = torch.arange(1 - n_frames, n_frames, dtype=torch.float32)
    root = math.sqrt(pos_dim)
    compressed = root * offset.sign() * ((offset.abs() + root).log() - math.log(root))
    angle = torch.atan(compressed / (pos_dim / (2.0 * math.pi)))[:, None]
    rate = torch.arange(1, pos_dim // 2 + 1)
    table = torch.stack([(angle * rate).cos(), (angle * rate).sin()], 2).flatten(1)
    table[:, -1] = 1.0
    return table


class SelfAttention(nn.Module):
    """Values mixed by given weights."""

    def __init__(self, size: StackSize) -> None:
        super().__init__()
        width = size.head_dims[1] * size.n_heads
        self.n_heads = size.n_heads
        self.in_proj, self.out_proj = nn.Linear(size.dim, width), nn.Linear(width, size.dim)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        values = self.in_proj(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2)
        return cast("Tensor", self.out_proj((weights @ values).transpose(1, 2).flatten(2)))


class NonlinAttention(nn.Module):
    """Gated values, mixed over time by the weights of the first head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = _NONLIN_SHARE[0] * dim // _NONLIN_SHARE[1]
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * width), nn.Linear(width, dim)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        gate, value, scale = self.in_proj(x).chunk(3, dim=2)
        return cast("Tensor", self.out_proj(weights[:, 0] @ (value * gate.tanh()) * scale))


class FeedForward(nn.Module):
    """Two layers with swoosh_l between."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.out_proj(swoosh_l(self.in_proj(x))))


class ConvModule(nn.Module):
    """Gated depthwise convolution over time."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.glu(self.in_proj(x), 2).transpose(1, 2)
        return cast("Tensor", self.out_proj(swoosh_r(self.depthwise_conv(y)).transpose(1, 2)))


class Layer(nn.Module):
    """The attention map is made of the layer's input, once for all of its parts."""

    def __init__(self, size: StackSize) -> None:
        super().__init__()
        dim = size.dim
        self.self_attn_weights = AttentionWeights(size)
        self.self_attn1, self.self_attn2 = SelfAttention(size), SelfAttention(size)
        first, second, third = (size.ffn_dim * a // b for a, b in _FFN_SHARES)
        self.feed_forward1, self.feed_forward2 = FeedForward(dim, first), FeedForward(dim, second)
        self.feed_forward3 = FeedForward(dim, third)
        self.nonlin_attention = NonlinAttention(dim)
        self.conv_module1 = ConvModule(dim, size.conv_kernel)
        self.conv_module2 = ConvModule(dim, size.conv_kernel)
        self.bypass, self.bypass_mid, self.norm = Bypass(dim), Bypass(dim), BiasNorm(dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        before, weights = x, self.self_attn_weights(x, positions)
        x = x + self.feed_forward1(x)
        x = x + self.nonlin_attention(x, weights)
        x = x + self.self_attn1(x, weights)
        x = x + self.conv_module1(x)
        x = x + self.feed_forward2(x)
        x = self.bypass_mid(before, x)
        x = x + self.self_attn2(x, weights)
        x = x + self.conv_module2(x)
        x = x + self.feed_forward3(x)
        return cast("Tensor", self.bypass(before, self.norm(x)))


class Downsample(nn.Module):
    """A weighted sum of every `factor` frames; copies of the last one fill the end."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor) -> Tensor:
        missing = -x.shape[1] % len(self.bias)
        x = torch.cat([x, x[:, -1:].expand(-1, missing, -1)], 1)
        weights = torch.softmax(self.bias, 0)[:, None]
        out: Tensor = (x.unflatten(1, (-1, len(self.bias))) * weights).sum(2)
        return out


class Stack(nn.Module):
    """Layers at one rate."""

    def __init__(self, size: StackSize) -> None:
        super().__init__()
        self.pos_dim = size.pos_dim
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.n_layers))

    def forward(self, x: Tensor) -> Tensor:
        positions = compact_positions(x.shape[1], self.pos_dim).to(x)
        return states(self.layers, x, positions)[-1]


class SlowStack(nn.Module):
    """A stack at a lower rate; what comes out is repeated and joined with what came in."""

    def __init__(self, size: StackSize) -> None:
        super().__init__()
        self.encoder, self.factor = Stack(size), size.downsampling
        self.downsample, self.out_combiner = Downsample(self.factor), Bypass(size.dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output at the full rate, and that of the layers at their own."""
        inner = self.encoder(self.downsample(x))
        outer = inner.repeat_interleave(self.factor, 1)[:, : x.shape[1]]
        return self.out_combiner(x, outer), inner


class Zipformer(nn.Module):
    """[B, T, D] -> for each stack, its output at the full rate and at its own.

    downsample_output: lowers the rate of what `widest` makes of these, where the system does.
    """

    def __init__(self, sizes: Sequence[StackSize], factor: int | None = None) -> None:
        super().__init__()
        self.downsample_output = Downsample(factor) if factor else nn.Identity()
        self.dims = [size.dim for size in sizes]
        self.encoders = nn.ModuleList(
            Stack(size) if size.downsampling == 1 else SlowStack(size) for size in sizes
        )

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        rates = []
        for dim, stack in zip(self.dims, self.encoders, strict=True):
            x = functional.pad(x, (0, dim - x.shape[2]))  # cuts where the stack is narrower
            made = stack(x)
            rates.append((made, made) if isinstance(stack, Stack) else made)
            x = rates[-1][0]
        return rates


def widest(outputs: Sequence[Tensor]) -> Tensor:
    """The last output; channels beyond its width are those of the latest one that has them."""
    pieces, width = [outputs[-1]], outputs[-1].shape[2]
    for earlier in reversed(outputs[:-1]):
        if earlier.shape[2] > width:
            pieces.append(earlier[..., width:])
            width = earlier.shape[2]
    return torch.cat(pieces, 2)


UNUSED = (r".*layers\.\d+\.bypass_scale$",)
"""Keys that checkpoints have and nothing reads."""
