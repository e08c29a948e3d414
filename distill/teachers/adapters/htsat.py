"""HTS-AT (Chen et al. 2022): a Swin transformer over a log-mel image that is cut into pieces of
time, one below the other, and a convolution over its last grid as classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import images
from distill.teachers.bricks.swin import SwinStage
from distill.teachers.published.network import Encoded, Golden, Network, states
from distill.teachers.published.system import Architecture, Card, State, System
from edge_audio.errors import UsageError

FFT_SIZE, HOP_SAMPLES = 1024, 320


class PatchEmbed(nn.Module):
    """Image [B, 1, S, S] -> tokens [B, (S / patch)^2, D], row-major."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(image).flatten(2).transpose(1, 2))
        return out


class HTSAT(Network):
    """features [B, 1, T, F]; hidden: the tokens [B, N, D] of patches and of each stage, behind
    its merging.

    A spectrogram of any length up to that of 10 s is stretched to fill the image; so that time
    is what it was in training, shorter clips are padded to 10 s.
    """

    sample_rate_hz = 32_000

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        spec_size, n_mels = architecture["spec_size"], architecture["mel_bins"]
        dim, depths = architecture["embed_dim"], architecture["depths"]
        patch, self.n_labels = architecture["patch_size"], architecture["num_classes"]
        self.mel = images.LibrosaMel(
            self.sample_rate_hz, FFT_SIZE, HOP_SAMPLES, n_mels, 50.0, 14_000.0
        )
        self.bn0 = nn.BatchNorm1d(n_mels)
        self.n_pieces, self.patch = spec_size // n_mels, patch
        self.n_columns = spec_size * self.n_pieces
        self.n_frames = self.n_columns * 1000 // 1024  # of 10 s, of which training clips were
        self.min_samples = self.max_samples = self.n_frames * HOP_SAMPLES
        self.patch_embed = PatchEmbed(patch, dim)
        side, last = spec_size // patch, len(depths) - 1
        common = architecture["window_size"], architecture["mlp_ratio"]
        self.layers = nn.ModuleList(
            SwinStage(dim << i, side >> i, depth, n_heads, *common, merges=i < last)
            for i, (depth, n_heads) in enumerate(
                zip(depths, architecture["num_heads"], strict=True)
            )
        )
        self.norm = nn.LayerNorm(dim << last)
        kernel = ((side >> last) // self.n_pieces, 3)
        self.tscam_conv = nn.Conv2d(dim << last, self.n_labels, kernel, padding=(0, 1))

    def features(self, waveform: Tensor) -> Tensor:
        return images.normed_bands(self.bn0, self.mel(waveform))

    def image(self, features: Tensor) -> Tensor:
        """[B, 1, S, S]. UsageError if there are more frames than columns."""
        if features.shape[2] > self.n_columns:
            raise UsageError(f"HTS-AT hears at most {self.n_columns} frames: shorten the clips")
        size = (self.n_columns, features.shape[3])
        stretched = functional.interpolate(features, size, mode="bicubic", align_corners=True)
        pieces = stretched.transpose(2, 3).unflatten(3, (self.n_pieces, -1))
        out: Tensor = pieces.movedim(3, 2).flatten(2, 3)
        return out

    def encode(self, features: Tensor) -> Encoded:
        tokens = self.patch_embed(self.image(features))
        hidden = (tokens, *states(self.layers, tokens))
        output = self.norm(hidden[-1])
        grid = self._grid(output)
        frame_logits = self.tscam_conv(grid).flatten(2)  # [B, C, T]
        logits = frame_logits.mean(2)
        return Encoded(
            hidden,
            output,
            logits,
            lambda: {
                "latent_output": grid.mean((2, 3)),
                "framewise_output": torch.sigmoid(frame_logits).transpose(1, 2),
                "probabilities": torch.sigmoid(logits),
            },
        )

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        made = super().recompute(golden)
        features = golden.get("features", made["features"])
        repeated = features.repeat(1, 1, self.n_columns // features.shape[2], 1)
        return made | {
            "log_mel_db": self.mel(golden["waveform"]),
            "image_every_8th": self.image(features)[:, :, ::8, ::8],
            "probabilities_infer_mode": self.encode(repeated).others()["probabilities"],
        }

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        out: Tensor = self._grid(hidden).mean(2).transpose(1, 2)
        return out

    def timing(self, index: int) -> Timing:
        """The first and the last frame keep their places when the spectrogram is stretched."""
        column_s = self.n_frames / (self.n_columns - 1) * HOP_SAMPLES / self.sample_rate_hz
        stride = self.patch << min(index, len(self.layers) - 1)
        return Timing(stride * column_s, (stride - 1) / 2 * column_s)

    def _grid(self, tokens: Tensor) -> Tensor:
        """[B, N, D] of any stage -> [B, D, rows, time]: the pieces behind each other."""
        side = round(tokens.shape[1] ** 0.5)
        pieces = tokens.transpose(1, 2).unflatten(2, (self.n_pieces, -1, side))
        out: Tensor = pieces.movedim(2, 3).flatten(3)
        return out


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    depths: dict[str, int] = {}
    heads: dict[str, int] = {}
    for key, value in state.items():
        if key.endswith("relative_position_bias_table"):
            stage = key.split(".")[1]
            depths[stage], heads[stage] = depths.get(stage, 0) + 1, value.shape[1]
    return {
        "embed_dim": len(state["patch_embed.norm.weight"]),
        "mel_bins": len(state["bn0.weight"]),
        "depths": list(depths.values()),
        "num_heads": list(heads.values()),
        "num_classes": len(state["tscam_conv.weight"]),
    }


SYSTEM = System(
    card=Card(
        title="HTS-AT",
        paper="Chen et al. 2022, HTS-AT: A Hierarchical Token-Semantic Audio Transformer",
        code_licence="MIT",
        weights_licence="not stated: linked from the MIT repository",
        checkpoints=(
            "HTSAT_AudioSet_Saved_1.ckpt",
            "HTSAT_ESC_exp=1_fold=1_acc=0.985.ckpt",
            "HTSAT_SCV2_Saved_1.ckpt",
        ),
        sizes={"tiny": {}},
    ),
    build=HTSAT,
    defaults={
        "spec_size": 256,
        "patch_size": 4,
        "embed_dim": 96,
        "depths": [2, 2, 6, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 8,
        "mlp_ratio": 4,
        "mel_bins": 64,
        "num_classes": 527,
    },
    infer=_infer,
    heads=("num_classes",),
    anchor="patch_embed.proj.weight",
    prefixes=("sed_model.", "module."),
    ignored=(*images.EXTRACTORS, r"head\.", r".*\.attn_mask$", r".*relative_position_index$"),
)
