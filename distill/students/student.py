"""The student: convolutional stem, sequence blocks, and a frame-wise multi-label head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from distill.students.blocks import BOUND, MixerConfig, ResidualBlock, bounded_hardswish
from distill.students.lti import LTIConfig
from distill.students.norms import bounded_norm
from distill.students.state import State, flatten, names
from distill.students.stem import ConvStem
from edge_audio.bundle.spec import FrontendSpec, ModelSpec, Spec, TensorSpec

QUIET_S = 2.0
"""Of silence, which a stream begins behind. From zeros, students name music in whatever they hear
first; behind much more than they are trained on without a sound in it, they say "Silence" for too
long (benchmarks/first_second.py)."""


class StudentConfig(Spec, frozen=True):
    """Shape of a student.

    stem: (channels, stride) of each causal convolution; the strides, 1 or 2, multiply to 8.
    channels: width D of tokens and blocks.
    n_blocks: residual blocks, each with a sequence mixer of its own.
    mixer: the family; in a recipe told apart by its `kind`.
    embedding_dim: width of the last hidden layer, which the head reads.
    n_classes: labels.
    delay_ms: the student at time t predicts the teacher at t - delay_ms.
    """

    frontend: FrontendSpec = FrontendSpec()
    stem: tuple[tuple[int, int], ...] = ((16, 2), (32, 2), (32, 1), (48, 2), (48, 1))
    channels: int = 96
    n_blocks: int = 4
    mixer: MixerConfig = LTIConfig()
    embedding_dim: int = 176
    n_classes: int = 527
    delay_ms: float = 40.0

    def __post_init__(self) -> None:
        strides = [stride for _, stride in self.stem]
        if not set(strides) <= {1, 2} or math.prod(strides) != 8:
            raise ValueError("the strides of the stem must be 1 or 2 and multiply to 8")


class StudentOutput(NamedTuple):
    """logits [B, T, n_classes] and embedding [B, T, embedding_dim], one per 80 ms token.
    hidden: [B, T, D] after each block; () from a step, which has no T either."""

    logits: Tensor
    embedding: Tensor
    hidden: tuple[Tensor, ...] = ()


class StudentState(NamedTuple):
    """What a student remembers of the tokens before: the stem's contexts, and of each residual
    block the state of its sequence mixer. Exported graphs name the tensors after the fields, as
    `stem_0` and `block_0_h`."""

    stem: tuple[Tensor, ...]
    block: tuple[State, ...]


class Student(nn.Module):
    """Log-mel [B, T, n_mels] -> StudentOutput. In eval(), `step` gives the same numbers token by
    token; in train(), batch norms take their statistics from what they are given."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvStem(config.frontend.n_mels, config.stem, config.channels)
        self.blocks = nn.ModuleList(
            ResidualBlock(config.channels, config.mixer.build(config.channels, self.token_s))
            for _ in range(config.n_blocks)
        )
        self.norm = nn.BatchNorm1d(config.channels)
        self.embed = nn.Linear(config.channels, config.embedding_dim)
        self.head = nn.Linear(config.embedding_dim, config.n_classes)
        nn.init.constant_(self.head.bias, -5.0)  # most labels are absent most of the time

    @property
    def frames_per_step(self) -> int:
        """Log-mel frames that one step consumes."""
        return self.stem.frames_per_token

    @property
    def token_s(self) -> float:
        """Seconds of audio per token."""
        frontend = self.config.frontend
        return self.frames_per_step * frontend.hop_samples / frontend.sample_rate_hz

    @property
    def latency_ms(self) -> float:
        """Window, stacking and trained delay: see ModelSpec.latency_ms."""
        frontend = self.config.frontend
        window_ms = 1e3 * frontend.window_samples / frontend.sample_rate_hz
        hop_ms = 1e3 * frontend.hop_samples / frontend.sample_rate_hz
        return window_ms + (self.frames_per_step - 1) * hop_ms + self.config.delay_ms

    def forward(self, frames: Tensor, tokens: slice = slice(None)) -> StudentOutput:
        """[B, T, n_mels]; T must be a multiple of frames_per_step. Logits and embedding are those
        of `tokens` alone."""
        x = self.stem(frames)
        hidden = []
        for block in self.blocks:
            x = block(x)
            hidden.append(x)
        return self.read(x[:, tokens], self.norm)._replace(hidden=tuple(hidden))

    def read(self, x: Tensor, norm: nn.Module) -> StudentOutput:
        """What embedding and head make of a block's output [..., D], normed by `norm`."""
        embedding = bounded_hardswish(self.embed(bounded_norm(norm, x, -BOUND, BOUND)))
        return StudentOutput(self.head(embedding), embedding)

    def state_specs(self) -> tuple[TensorSpec, ...]:
        """Name and shape of every state tensor, for a batch of one, in the order of `flatten`."""
        state = self.initial_state(1)
        return tuple(
            TensorSpec(name=name, shape=tuple(tensor.shape))
            for name, tensor in zip(names(state), flatten(state), strict=True)
        )

    def initial_state(self, batch_size: int = 1) -> StudentState:
        """Zeros for all of `state_specs`."""
        return StudentState(
            stem=self.stem.initial_state(batch_size, next(self.parameters())),
            block=tuple(block.mixer.initial_state(batch_size) for block in self._blocks()),
        )

    def step(self, frames: Tensor, state: StudentState) -> tuple[StudentOutput, StudentState]:
        """[B, frames_per_step, n_mels] and state -> logits [B, n], embedding [B, E], state."""
        tokens, stem_next = self.stem.step(frames, state.stem)
        x = tokens.reshape(tokens.shape[0], self.config.channels)
        blocks_next = []
        for block, before in zip(self._blocks(), state.block, strict=True):
            x, after = block.step(x, before)
            blocks_next.append(after)
        return self.read(x, self.norm), StudentState(stem_next, tuple(blocks_next))

    def _blocks(self) -> Sequence[ResidualBlock]:
        return cast("Sequence[ResidualBlock]", self.blocks)

    def model_spec(self) -> ModelSpec:
        """What the exported step looks like from outside."""
        n_mels = self.config.frontend.n_mels
        return ModelSpec(
            frontend=self.config.frontend,
            frames_per_step=self.frames_per_step,
            latency_ms=self.latency_ms,
            frames=TensorSpec(name="frames", shape=(1, self.frames_per_step, n_mels)),
            scores=TensorSpec(name="scores", shape=(1, self.config.n_classes)),
            state=self.state_specs(),
            embedding=TensorSpec(name="embedding", shape=(1, self.config.embedding_dim)),
            quiet_steps=round(QUIET_S / self.token_s),
        )
