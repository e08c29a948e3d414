"""Miniature students of every family, as lively as trained ones."""

from __future__ import annotations

import torch
from torch import nn

from distill.students.attention import AttentionConfig
from distill.students.blocks import MixerConfig, ResidualBlock
from distill.students.conv_mixer import ConvConfig
from distill.students.lti import LTIConfig
from distill.students.mlstm import MLSTMConfig
from distill.students.selective import SelectiveSSMConfig
from distill.students.slstm import SLSTMConfig
from distill.students.student import Student, StudentConfig

MIXERS: dict[str, MixerConfig] = {
    "ssm-lti": LTIConfig(n_modes=2),
    "ssm-selective": SelectiveSSMConfig(n_heads=4, state_dim=3),
    "mlstm": MLSTMConfig(n_heads=2, key_dim=3),
    "mlstm-sigmoid": MLSTMConfig(n_heads=2, key_dim=3, gate="sigmoid"),
    "slstm": SLSTMConfig(head_dim=4),
    "conv": ConvConfig(layers=((3, 1), (2, 4))),
    "attention": AttentionConfig(n_heads=2, key_dim=3, window_s=0.4),
}
CONFIGS = {
    family: StudentConfig(
        stem=((4, 2), (8, 2), (8, 1), (8, 2)),
        channels=16,
        n_blocks=2,
        mixer=mixer,
        embedding_dim=12,
        n_classes=20,
    )
    for family, mixer in MIXERS.items()
}
ENGINE_FAMILIES = tuple(family for family in CONFIGS if family != "attention")
"""Those that the C engine has code for."""
N_TOKENS = 40


def random_frames(n_frames: int, seed: int = 0, batch_size: int = 1) -> torch.Tensor:
    """Standard normal [batch_size, n_frames, 64]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, n_frames, 64, generator=generator)


def make_student(config: StudentConfig, seed: int = 0) -> Student:
    """A random student as `enliven` leaves it."""
    torch.manual_seed(seed)
    return enliven(Student(config))


def make_mixed_student() -> Student:
    """One block of each family that the engine has code for, in a single student."""
    torch.manual_seed(0)
    student = Student(CONFIGS["ssm-lti"])
    width = student.config.channels
    mixers = [MIXERS[family].build(width, student.token_s) for family in ENGINE_FAMILIES]
    student.blocks = nn.ModuleList(ResidualBlock(width, mixer) for mixer in mixers)
    return enliven(student)


def enliven(student: Student) -> Student:
    """In eval mode, with uneven norms that fit its activations and scores of all sizes."""
    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch below
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    nn.init.normal_(student.head.weight, 0.0, 0.5)
    nn.init.normal_(student.head.bias, -1.0, 1.0)
    with torch.no_grad():
        student.train()(random_frames(8 * N_TOKENS, seed=99, batch_size=4))
    return student.eval().requires_grad_(False)
