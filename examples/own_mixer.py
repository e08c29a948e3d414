"""A student with a sequence mixer of one's own: a leaky average per channel.

What makes it a student is that `forward`, over a whole sequence, equals repeated `step`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.students.sequence_mixer import SequenceMixer
from distill.students.student import Student, StudentConfig


class LeakyConfig:
    """What a recipe would say of it, if `distill/students/blocks.py` knew it."""

    def build(self, channels: int, token_s: float) -> "LeakyAverage":
        return LeakyAverage(channels)


class LeakyAverage(SequenceMixer):
    """y[t] = h[t] = decay * h[t - 1] + (1 - decay) * u[t], state h [D]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.linspace(0.0, 4.0, channels))
        self.state_shapes = {"h": (channels,)}

    def forward(self, u: Tensor) -> Tensor:
        h = [torch.zeros_like(u[:, 0])]
        for token in u.unbind(1):
            h.append(self.step(token, h[-1:])[0])
        return torch.stack(h[1:], dim=1)

    def step(self, u: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        h = torch.lerp(u, state[0], self.logit.sigmoid())
        return h, (h,)


if __name__ == "__main__":
    config: Any = LeakyConfig()
    student = Student(StudentConfig(mixer=config)).eval()
    frames, state = torch.randn(1, 80, 64), student.initial_state()  # 0.8 s of log-mel bands
    with torch.no_grad():
        expected = student(frames).logits[0]
        for token, step_frames in zip(expected, frames.split(8, dim=1), strict=True):
            output, state = student.step(step_frames, state)
            torch.testing.assert_close(output.logits[0], token)
    print(f"{len(expected)} steps as in training, {len(state)} tensors of state")
