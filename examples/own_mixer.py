"""A student with a sequence mixer of one's own: a leaky average per channel."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.students.sequence_mixer import SequenceMixer
from distill.students.student import Student, StudentConfig


class LeakyState(NamedTuple):
    h: Tensor  # [B, D]


class LeakyAverage(SequenceMixer[LeakyState]):
    """h[t] = decay * h[t - 1] + (1 - decay) * u[t], and y = h. `forward` equals repeated `step`."""

    def __init__(self, channels: int, token_s: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.linspace(0.0, 4.0, channels))

    def forward(self, u: Tensor) -> Tensor:
        state = self.initial_state(len(u))
        return torch.stack([(state := self.step(token, state)[1]).h for token in u.unbind(1)], 1)

    def step(self, u: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        return (h := torch.lerp(u, state.h, self.logit.sigmoid())), LeakyState(h)

    def initial_state(self, batch_size: int) -> LeakyState:
        return LeakyState(self.logit.new_zeros(batch_size, len(self.logit)))


config: Any = type("LeakyConfig", (), {"build": staticmethod(LeakyAverage)})()  # as in a recipe
student = Student(StudentConfig(mixer=config)).eval().requires_grad_(False)
frames, state = torch.randn(1, 80, 64), student.initial_state()  # 0.8 s of log-mel bands
for token, step_frames in zip(student(frames).logits[0], frames.split(8, dim=1), strict=True):
    output, state = student.step(step_frames, state)
    torch.testing.assert_close(output.logits[0], token)
print(f"10 steps as in training, {len(state.block)} blocks of state")
