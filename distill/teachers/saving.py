"""An encoder of `edge-audio pretrain` in the file format of EAT or of Audio-MAE, for programs that
read those.

    python -m distill.teachers.saving runs/ssl/checkpoint.pt eat ssl-eat.pt

EAT's blocks norm behind their sums (`encoder.post_norm = true` in the recipe of pre-training),
Audio-MAE's before. Both hear 128 mel bands of kaldi's front end from 20 Hz on (`encoder.frontend =
{ n_mels = 128, min_hz = 20.0 }`), to which ours is fitted band by band: what sounds is the same
within a fiftieth of a deviation, what is below our front end's floor is not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.pretrain import load_encoder
from distill.runs.checkpoints import save_atomically
from distill.teachers.adapters import eat
from distill.teachers.bricks.mel import ClipBank
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.errors import UsageError
from edge_audio.features.frontend import log_mel

Kind = Literal["eat", "audiomae"]
N_COLUMNS = 64
"""10.24 s, as published files have it."""
NORM_EPS = 1e-5
_BANDS = 128, 20.0
_NOISE_S = 20
_IMAGE = "modality_encoders.IMAGE"
_BLOCK = {
    "attention_norm": "norm1",
    "qkv": "attn.qkv",
    "out": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_POST_NORM = {"eat": True, "audiomae": False}


class Patches(NamedTuple):
    """A convolution, weight [D, 1, frames, mels] and bias [D], and what is added to its patches,
    time-major: positions [1, columns * bands, D]."""

    weight: Tensor
    bias: Tensor
    positions: Tensor


def saved(encoder: PatchEncoder, kind: Kind, n_columns: int = N_COLUMNS) -> dict[str, Any]:
    """What torch.save writes. n_columns: patches of time that the file has positions for.
    UsageError if the encoder has other patches, bands or norms."""
    config = encoder.config
    patch, frontend = (config.patch_frames, config.patch_mels), config.frontend
    bands = frontend.n_mels, frontend.min_hz
    if patch != (eat.PATCH, eat.PATCH) or bands != _BANDS:
        raise UsageError(
            f"{kind} has patches of 16 x 16 over 128 mel bands from 20 Hz on, not of {patch[0]} x "
            f"{patch[1]} over {bands[0]} from {bands[1]:g} Hz on: pre-train with "
            "encoder.frontend = { n_mels = 128, min_hz = 20.0 }"
        )
    if config.post_norm != _POST_NORM[kind]:
        wanted = str(_POST_NORM[kind]).lower()
        raise UsageError(f"{kind} needs an encoder with post_norm = {wanted}: pre-train with it")
    state = (_eat if kind == "eat" else _audiomae)(encoder, n_columns)
    return {"model": {key: value.detach().clone() for key, value in state.items()}}


def _eat(encoder: PatchEncoder, n_columns: int) -> dict[str, Tensor]:
    patches = _patches(encoder, ClipBank(1, eat.MEAN, eat.STD), n_columns)
    return {
        f"{_IMAGE}.local_encoder.proj.weight": patches.weight,
        f"{_IMAGE}.local_encoder.proj.bias": patches.bias,
        f"{_IMAGE}.fixed_positional_encoder.positions": patches.positions,
        f"{_IMAGE}.extra_tokens": encoder.summary[None, None],
        f"{_IMAGE}.context_encoder.norm.weight": encoder.embed_norm.get_parameter("weight"),
        f"{_IMAGE}.context_encoder.norm.bias": encoder.embed_norm.get_parameter("bias"),
        **_blocks(encoder),
    }


def _audiomae(encoder: PatchEncoder, n_columns: int) -> dict[str, Tensor]:
    dim = encoder.config.dim
    patches = _patches(encoder, ClipBank(1), n_columns)
    nowhere = torch.zeros(1, 1, dim)  # where the class token is
    return {
        "patch_embed.proj.weight": patches.weight,
        "patch_embed.proj.bias": patches.bias,
        "cls_token": encoder.summary[None, None],
        "pos_embed": torch.cat([nowhere, patches.positions], 1),
        **_blocks(encoder),
        "norm.weight": torch.ones(dim),
        "norm.bias": torch.zeros(dim),
    }


def _blocks(encoder: PatchEncoder) -> dict[str, Tensor]:
    return {
        f"blocks.{index}.{theirs}.{kind}": block.get_parameter(f"{ours}.{kind}")
        for index, block in enumerate(encoder.blocks)
        for ours, theirs in _BLOCK.items()
        for kind in ("weight", "bias")
    }


def _patches(encoder: PatchEncoder, bank: ClipBank, n_columns: int) -> Patches:
    """What does to their input as our embedding does to ours. A band's offset goes into the
    positions, where every band has rows of its own."""
    config = encoder.config
    gain, offset = fitted(config.frontend, bank)
    weight = encoder.embed.weight.unflatten(1, (config.patch_frames, config.patch_mels))
    shift = torch.einsum("dfm,bm->bd", weight, offset.unflatten(0, (config.n_bands, -1)))
    silence = torch.zeros(1, n_columns * config.patch_frames, config.frontend.n_mels)
    places = encoder.tokens(silence) - encoder.embed.bias
    positions = places + shift.repeat(n_columns, 1)
    return Patches(gain * weight[:, None], encoder.embed.bias, positions)


def fitted(frontend: FrontendSpec, bank: ClipBank) -> tuple[float, Tensor]:
    """gain and offset [n_mels]: our input is gain * theirs + offset. Both are affine in the
    logarithm of a band's power: the gain is known, the offsets are measured on noise."""
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(_NOISE_S * frontend.sample_rate_hz).astype(np.float32)
    theirs = (bank.bank(torch.from_numpy(noise)[None])[0] - bank.mean) / (2 * bank.std)
    gain = 2 * bank.std / frontend.log_scale
    return gain, torch.from_numpy(log_mel(frontend, noise)).mean(0) - gain * theirs.mean(0)


def recipe_of(encoder: PatchEncoder, kind: Kind, path: Path) -> str:
    """What a recipe says of such a file."""
    heads = f"{{ num_heads = {encoder.config.n_heads}, norm_eps = {NORM_EPS} }}"
    return f'[[teachers]]\nkind = "{kind}"\ncheckpoint = "{path}"\narchitecture = {heads}'


def main(checkpoint: str, kind: str, out: str) -> None:
    """Writes the file, and prints what a recipe says of it; EdgeAudioError if the checkpoint is
    none of `edge-audio pretrain`, UsageError if it does not fit."""
    if kind not in _POST_NORM:
        raise UsageError(f"{kind!r}: encoders are saved as {' or '.join(_POST_NORM)}")
    chosen = cast("Kind", kind)
    encoder, _ = load_encoder(Path(checkpoint))
    save_atomically(saved(encoder, chosen), Path(out))
    print(recipe_of(encoder, chosen, Path(out)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
