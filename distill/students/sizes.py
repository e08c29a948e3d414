"""Named shapes: three sizes of each family, with the same stem, width, depth and head, and
mixers of equal cost, so that a comparison of families is one of their mixers alone. `micro` itself
has half the oscillators, so that it fits into 60 KiB of flash with ten labels.

| size | parameters | million multiply-accumulates per second |
|---|---|---|
| micro | <= 40 k | <= 1.5 |
| tiny | <= 150 k | <= 5 |
| small | <= 1 M | <= 16 |

Both without the head. What keeps `small` at half of its parameters is that a bundle with the
weights of two runtimes shall stay below 2 MB.
"""

from __future__ import annotations

import msgspec

from distill.students.attention import AttentionConfig
from distill.students.blocks import MixerConfig
from distill.students.conv_mixer import ConvConfig
from distill.students.lti import LTIConfig
from distill.students.mlstm import MLSTMConfig
from distill.students.selective import SelectiveSSMConfig
from distill.students.slstm import SLSTMConfig
from distill.students.student import StudentConfig
from edge_audio.errors import UsageError

SIZES: dict[str, StudentConfig] = {
    "micro": StudentConfig(
        stem=((8, 2), (16, 2), (16, 1), (20, 2), (20, 1)),
        channels=48,
        embedding_dim=72,
        mixer=LTIConfig(n_modes=4),
    ),
    "tiny": StudentConfig(),
    "small": StudentConfig(
        stem=((24, 2), (48, 2), (48, 1), (64, 2), (64, 1)), channels=192, embedding_dim=256
    ),
}
MIXERS: dict[str, MixerConfig] = {
    "ssm-lti": LTIConfig(),
    "ssm-selective": SelectiveSSMConfig(),
    "mlstm": MLSTMConfig(),
    "slstm": SLSTMConfig(),
    "conv": ConvConfig(),
    "attention": AttentionConfig(),
}

PRESETS = (*SIZES, *(f"{size}-{family}" for size in SIZES for family in MIXERS))


def student_config(preset: str) -> StudentConfig:
    """The shape called SIZE-FAMILY, such as "micro-mlstm"; a size alone is its own ssm-lti.

    Raises UsageError for any other name.
    """
    size, _, family = preset.partition("-")
    if preset not in PRESETS:
        raise UsageError(f"no student preset {preset!r}: choose one of {', '.join(PRESETS)}")
    config = SIZES[size]
    return msgspec.structs.replace(config, mixer=MIXERS[family]) if family else config
