"""A student with a sequence mixer of one's own: a leaky average per channel.

What makes it a student is that `forward`, over a whole sequence, equals repeated `step`."""

import torch
from torch import Tensor, nn

from distill.students.sequence_mixer import SequenceMixer
from distill.students.student import Student, StudentConfig


class LeakyConfig:
    """What a recipe would say of it."""

    def build(self, channels: int, token_s: float) -> "LeakyAverage":
        return LeakyAverage(channels)


class LeakyAverage(SequenceMixer):
    """y[t] = h[t] = decay * h[t - 1] + (1 - decay) * u[t], state h [D]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.linspace(0.0, 4.0, channels))
        self.state_shapes = {"h": (channels,)}

    def forward(self, u: Tensor) -> Tensor:
        h = (torch.zeros_like(u[:, 0]),)
        return torch.stack([(h := self.step(token, h)[1])[0] for token in u.unbind(1)], dim=1)

    def step(self, u: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        h = torch.lerp(u, state[0], self.logit.sigmoid())
        return h, (h,)


if __name__ == "__main__":
    student = Student(StudentConfig(mixer=LeakyConfig())).eval()
    frames = torch.randn(1, 80, 64)  # 0.8 s of log-mel bands
    with torch.no_grad():
        scores = student(frames).logits.sigmoid()
    print(f"{sum(p.numel() for p in student.parameters()):,} parameters, scores {scores.shape}")
