"""Recipes of `edge-audio pretrain`: TOML files that say everything about one run."""

from __future__ import annotations

from typing import Literal

from distill.data.split import Split
from distill.mixing.mixtures import MixtureConfig
from edge_audio.bundle.spec import FrontendSpec, Spec


class EncoderConfig(Spec, frozen=True):
    """Vision transformer over rectangular patches of the log-mel picture.

    patch_mels, patch_frames: size of a patch; the bands must divide the front end's n_mels.
    dim, n_blocks, n_heads, mlp_ratio: width of the tokens, number of blocks, attention heads in
        each, and hidden width of their MLPs over `dim`.
    n_positions: patches of time that training starts clips within, so that the encoder knows
        positions up to there, however short its training clips are.
    post_norm: norms stand behind the sums of a block, and one before the first, as in EAT (Chen
        et al. 2024), instead of before its parts.
    """

    frontend: FrontendSpec = FrontendSpec()
    patch_mels: int = 16
    patch_frames: int = 16
    dim: int = 192
    n_blocks: int = 6
    n_heads: int = 3
    mlp_ratio: float = 4.0
    n_positions: int = 128
    post_norm: bool = False

    def __post_init__(self) -> None:
        if self.frontend.n_mels % self.patch_mels:
            raise ValueError("patch_mels must divide frontend.n_mels")
        if self.dim % (2 * self.n_heads):
            raise ValueError("dim must be a multiple of 2 * n_heads")

    @property
    def n_bands(self) -> int:
        """Patches that one step of time consists of."""
        return self.frontend.n_mels // self.patch_mels


class MaskConfig(Spec, frozen=True):
    """Inverse block masks (see `masking.inverse_block_mask`).

    ratio: share of the patches that the student does not see.
    block_bands, block_positions: size of the blocks that it sees, in patches.
    n_clones: masks per clip; the teacher encodes the clip once for all of them.
    """

    ratio: float = 0.8
    block_bands: int = 4
    block_positions: int = 5
    n_clones: int = 8

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < 1.0:
            raise ValueError("need 0 < ratio < 1")


class ObjectiveConfig(Spec, frozen=True):
    """What the student predicts, and how the teacher follows it.

    n_target_blocks: the teacher's last blocks that are averaged into the target.
    utterance_weight: weight of the clip-level loss beside the patch-level one.
    ema_start, ema_end: decay of the teacher's moving average, linear over the run.
    decoder_dim, decoder_layers: width and 3x3 convolutions of the decoder.
    """

    n_target_blocks: int = 6
    utterance_weight: float = 1.0
    ema_start: float = 0.99
    ema_end: float = 0.9995
    decoder_dim: int = 96
    decoder_layers: int = 4


class TrainingConfig(Spec, frozen=True):
    """Learning rate: linear warm-up, then half a cosine down to zero.

    precision: "bf16" autocasts where the device does so. compile: torch.compile both networks.
    recompute: keep no activations of the student's blocks, compute them again for the gradient.
    """

    n_steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    n_warmup_steps: int = 200
    max_gradient_norm: float = 3.0
    log_every_steps: int = 25
    checkpoint_every_steps: int = 250
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: clip targets compare the clips")


class CollapseFloor(Spec, frozen=True):
    """Below either of these the teacher counts as collapsed (see `watch.Health`)."""

    rank: float = 4.0
    variation: float = 0.02


class PretrainRecipe(Spec, frozen=True):
    """One run: same recipe, data and seed, same encoder."""

    name: str
    seed: int
    split: Split
    training: TrainingConfig
    mixture: MixtureConfig = MixtureConfig()
    encoder: EncoderConfig = EncoderConfig()
    mask: MaskConfig = MaskConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    collapse: CollapseFloor = CollapseFloor()

    def __post_init__(self) -> None:
        if not 1 <= self.objective.n_target_blocks <= self.encoder.n_blocks:
            raise ValueError("objective.n_target_blocks must be within 1 and encoder.n_blocks")
