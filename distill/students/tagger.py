"""The student: convolutional stem, state-space blocks, and a frame-wise multi-label head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from distill.students.ssm import SSMBlock
from distill.students.stem import ConvStem
from edge_audio.spec import FrontendSpec, ModelSpec, Spec, TensorSpec

State = tuple[Tensor, ...]


class StudentConfig(Spec, frozen=True):
    """Shape of a student.

    stem: (channels, stride) of each causal convolution; the strides multiply to 8.
    channels: width D of tokens and blocks.
    n_blocks, n_modes: state-space blocks, and oscillators per channel in each.
    max_time_constant_s: longest memory of the blocks.
    embedding_dim: width of the last hidden layer, which the head reads.
    n_classes: labels.
    delay_ms: the student at time t predicts the teacher at t - delay_ms.
    """

    frontend: FrontendSpec = FrontendSpec()
    stem: tuple[tuple[int, int], ...] = ((16, 2), (32, 2), (32, 1), (48, 2), (48, 1))
    channels: int = 96
    n_blocks: int = 4
    n_modes: int = 8
    max_time_constant_s: float = 8.0
    embedding_dim: int = 176
    n_classes: int = 527
    delay_ms: float = 40.0


class StudentOutput(NamedTuple):
    """logits [B, T, n_classes] and embedding [B, T, embedding_dim], one per 80 ms token."""

    logits: Tensor
    embedding: Tensor


class Student(nn.Module):
    """Log-mel [B, T, n_mels] -> StudentOutput; `step` gives the same numbers token by token."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvStem(config.frontend.n_mels, config.stem, config.channels)
        time_constant = config.max_time_constant_s / self.token_s
        self.blocks = nn.ModuleList(
            SSMBlock(config.channels, config.n_modes, time_constant) for _ in range(config.n_blocks)
        )
        self.norm = nn.BatchNorm1d(config.channels)
        self.embed = nn.Linear(config.channels, config.embedding_dim)
        self.activation = nn.Hardswish()
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

    def forward(self, frames: Tensor) -> StudentOutput:
        """[B, T, n_mels]; T must be a multiple of frames_per_step."""
        x = self.stem(frames)
        for block in self.blocks:
            x = block(x)
        normed = self.norm(x.flatten(0, 1)).view_as(x)
        embedding = self.activation(self.embed(normed))
        return StudentOutput(self.head(embedding), embedding)

    def state_specs(self) -> tuple[TensorSpec, ...]:
        """Name and shape of every state tensor, for a batch of one."""
        config = self.config
        stem = [
            TensorSpec(name=f"stem_{index}", shape=(1, *shape))
            for index, shape in enumerate(self.stem.state_shapes)
        ]
        ssm = (1, config.channels, 2 * config.n_modes)
        blocks = [TensorSpec(name=f"ssm_{index}", shape=ssm) for index in range(config.n_blocks)]
        return (*stem, *blocks)

    def initial_state(self, batch_size: int = 1) -> State:
        """All zeros."""
        device = self.head.weight.device
        return tuple(
            torch.zeros(batch_size, *spec.shape[1:], device=device) for spec in self.state_specs()
        )

    def step(self, frames: Tensor, state: Sequence[Tensor]) -> tuple[StudentOutput, State]:
        """[B, frames_per_step, n_mels] and state -> logits [B, n], embedding [B, E], state."""
        n_stem = len(self.stem.convs)
        tokens, next_state = self.stem.step(frames, state[:n_stem])
        x = tokens.reshape(tokens.shape[0], self.config.channels)
        blocks = cast("Sequence[SSMBlock]", self.blocks)
        for block, block_state in zip(blocks, state[n_stem:], strict=True):
            x, block_next = block.step(x, block_state)
            next_state.append(block_next)
        embedding = self.activation(self.embed(self.norm(x)))
        return StudentOutput(self.head(embedding), embedding), tuple(next_state)

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
        )
