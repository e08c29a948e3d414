"""What a recipe says of a teacher, told apart by its `kind`."""

from __future__ import annotations

from distill.teachers.published.config import AnyPublished
from edge_audio.bundle.spec import Spec


class EfficientATConfig(Spec, frozen=True, tag_field="kind", tag="efficientat"):
    """A published EfficientAT checkpoint.

    checkpoint: file name in the peers folder. width: channel factor of its graph. layers:
    indices into `features`, of which the student regresses the maps.
    """

    checkpoint: str
    width: float
    layers: tuple[int, ...] = (6, 11, 15, 16)


class TransformersConfig(Spec, frozen=True, tag_field="kind", tag="transformers"):
    """A Hugging Face audio encoder.

    model: local folder or hub id. layers: indices into its hidden states (0: the embeddings).
    trust_remote_code: run the Python code that comes with the model.
    """

    model: str
    layers: tuple[int, ...]
    trust_remote_code: bool = False


class SelfSupervisedConfig(Spec, frozen=True, tag_field="kind", tag="ssl"):
    """An encoder that `edge-audio pretrain` made. checkpoint: path; layers: block numbers, 1
    for the first."""

    checkpoint: str
    layers: tuple[int, ...]


class YamnetConfig(Spec, frozen=True, tag_field="kind", tag="yamnet"):
    """YAMNet's scores, from the peers folder: labels only, no layers."""


TeacherConfig = (
    EfficientATConfig | TransformersConfig | SelfSupervisedConfig | YamnetConfig | AnyPublished
)
