"""Recipes of `edge-audio pretrain`: TOML files that say everything about one run."""

from __future__ import annotations

from typing import Literal

from distill.data.split import Split
from distill.mixing.mixtures import MixtureConfig
from edge_audio.bundle.spec import FrontendSpec, Spec
from edge_audio.features.frontend import n_frames


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
    """Patchout, and inverse block masks over what it leaves (see `masking`).

    ratio: share of the patches that the student does not see.
    block_bands, block_positions: size of the blocks that it sees, in patches.
    n_clones: masks per clip; the teacher encodes the clip once for all of them.
    patchout_positions, patchout_bands: how many positions and bands of the grid are left out,
        for teacher and student alike, drawn anew for every batch.
    """

    ratio: float = 0.8
    block_bands: int = 4
    block_positions: int = 5
    n_clones: int = 8
    patchout_positions: int = 0
    patchout_bands: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < 1.0:
            raise ValueError("need 0 < ratio < 1")

    def n_kept(self, n_patches: int) -> int:
        """Patches that a mask leaves visible, at least 1."""
        return max(1, round((1.0 - self.ratio) * n_patches))


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
        if min(self.n_steps, self.log_every_steps, self.checkpoint_every_steps) < 1:
            raise ValueError(
                "n_steps, log_every_steps and checkpoint_every_steps must be at least 1"
            )


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
        self._require_patches()

    def _require_patches(self) -> None:
        n_positions, n_bands, mask = self.n_positions, self.encoder.n_bands, self.mask
        if not n_positions:
            raise ValueError("mixture.duration_s must hold encoder.patch_frames frames")
        if not 0 <= mask.patchout_positions < n_positions:
            raise ValueError(f"mask.patchout_positions must be from 0 to {n_positions - 1}")
        if not 0 <= mask.patchout_bands < n_bands:
            raise ValueError(f"mask.patchout_bands must be from 0 to {n_bands - 1}")
        n_left = (n_positions - mask.patchout_positions) * (n_bands - mask.patchout_bands)
        if mask.n_kept(n_left) == n_left:
            raise ValueError(f"mask.ratio must hide at least one of {n_left} patches")

    @property
    def n_samples(self) -> int:
        """Samples of a mixture."""
        frontend = self.encoder.frontend
        n_samples = round(self.mixture.duration_s * frontend.sample_rate_hz)
        return n_samples + frontend.overlap_samples

    @property
    def n_positions(self) -> int:
        """Patches of time that a mixture has."""
        return n_frames(self.encoder.frontend, self.n_samples) // self.encoder.patch_frames
