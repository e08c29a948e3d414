"""Subnets cut out of a transformer's weights (LightHuBERT; Wang et al. 2022), in fairseq's
naming."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from distill.teachers.published.system import n_layers

_DROPPED: dict[int, tuple[int, ...]] = {
    12: (),
    11: (12,),
    10: (8, 12),
    9: (4, 8, 12),
    8: (4, 8, 11, 12),
    7: (4, 7, 8, 11, 12),
    6: (3, 4, 7, 8, 11, 12),
}
"""Layers, 1 for the first, that a subnet of so many layers leaves out."""

Weights = Mapping[str, Tensor]


class LayerSize(NamedTuple):
    """Width of the residual stream, of all heads together, and of the feed-forward part."""

    dim: int
    attention_dim: int
    n_heads: int
    ffn_dim: int


class Subnet(NamedTuple):
    """layer_num: so many of the authors' 12 layers. Widths, by the authors' names; those in lists
    are of each kept layer."""

    layer_num: int
    embed_dim: int
    atten_dim: Sequence[int]
    heads_num: Sequence[int]
    ffn_embed: Sequence[int]

    @classmethod
    def even(cls, embed_dim: int, n_heads: int, ffn_dim: int) -> Subnet:
        """12 layers of one size, their heads 64 wide."""
        heads, ffn = [n_heads] * 12, [ffn_dim] * 12
        return cls(12, embed_dim, [64 * n_heads] * 12, heads, ffn)

    def kept(self, n_layers: int) -> list[int]:
        """Indices of its layers among the n_layers of the supernet."""
        return [i for i in range(n_layers) if i + 1 not in _DROPPED[self.layer_num]]

    def sizes(self) -> list[LayerSize]:
        """Of its layers, the first one first."""
        layers = zip(self.atten_dim, self.heads_num, self.ffn_embed, strict=True)
        return [LayerSize(self.embed_dim, *layer) for layer in layers]


def cut_encoder(state: Weights, subnet: Subnet, full: LayerSize) -> dict[str, Tensor]:
    """Weights of an encoder, cut to the subnet. full: size of a layer of the supernet."""
    dim = subnet.embed_dim
    out = {key: state[key][:dim] for key in ("layer_norm.weight", "layer_norm.bias")}
    positions = {key: value for key, value in state.items() if key.startswith("pos_conv.")}
    out |= _cut_positions(positions, dim)
    kept = subnet.kept(n_layers(state, "layers"))
    for place, (index, size) in enumerate(zip(kept, subnet.sizes(), strict=True)):
        for key, value in state.items():
            if match := re.match(rf"layers\.{index}\.(.*)\.(?:weight|bias)$", key):
                new = key.replace(f".{index}.", f".{place}.", 1)
                out[new] = _cut_layer(match[1], value, size, full)
    return out


def _cut_layer(name: str, value: Tensor, size: LayerSize, full: LayerSize) -> Tensor:
    dim, width, _, _ = size
    cuts: dict[str, Callable[[], tuple[Sequence[int] | slice, Sequence[int] | slice]]] = {
        "fc1": lambda: (_ffn_rows(size, full), slice(dim)),
        "fc2": lambda: (slice(dim), _ffn_rows(size, full)),
        "self_attn.out_proj": lambda: (slice(dim), slice(width)),
    }
    default = slice(dim if name.endswith("layer_norm") else width), slice(dim)
    rows, columns = cuts[name]() if name in cuts else default
    return value[rows] if value.ndim == 1 else value[rows][:, columns]


def _ffn_rows(size: LayerSize, full: LayerSize) -> list[int]:
    """A piece from the front of each group of as many rows as the supernet is wide."""
    if size.ffn_dim == full.ffn_dim:
        return list(range(size.ffn_dim))
    ratio = size.ffn_dim / size.dim
    piece = int(size.ffn_dim / ratio)
    return [
        full.dim * group + row
        for group in range(math.ceil(ratio))
        for row in range(min(piece, size.ffn_dim - group * piece))
    ]


def _cut_positions(state: Weights, dim: int) -> dict[str, Tensor]:
    """Convolutions of `dim` channels in as many groups, which are narrower then. The norm of a
    normalised weight is that of the supernet's."""
    out = dict(state)
    for key, gain in state.items():
        if key.endswith("weight_g"):
            full = state[key[:-1] + "v"]
            out[key[:-1] + "v"] = full * (gain / full.norm(dim=(0, 1), keepdim=True))
    for key, value in out.items():
        if key.endswith("bias"):
            out[key] = value[:dim]
        elif not key.endswith("weight_g"):
            out[key] = value[:dim, : dim * value.shape[1] // value.shape[0]]
    for key in state:
        if key.endswith("weight_g"):
            out[key] = torch.linalg.vector_norm(out[key[:-1] + "v"], dim=(0, 1), keepdim=True)
    return out
