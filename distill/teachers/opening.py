"""Teachers opened by what a recipe says of them."""

from __future__ import annotations

from pathlib import Path

from distill.teachers.base import Teacher
from distill.teachers.config import (
    EfficientATConfig,
    SelfSupervisedConfig,
    TeacherConfig,
    TransformersConfig,
)


def open_teacher(config: TeacherConfig, peers: Path) -> Teacher:
    """Loads the teacher; UsageError, saying what to do, if it is missing or does not fit."""
    if isinstance(config, EfficientATConfig):
        from distill.teachers.efficientat import EfficientATTeacher

        return EfficientATTeacher.load(peers / config.checkpoint, config.width, config.layers)
    if isinstance(config, TransformersConfig):
        from distill.teachers.huggingface import TransformersTeacher

        return TransformersTeacher.load(config.model, config.layers, config.trust_remote_code)
    if isinstance(config, SelfSupervisedConfig):
        from distill.teachers.pretrained import SelfSupervisedTeacher

        return SelfSupervisedTeacher.load(Path(config.checkpoint), config.layers)
    from distill.teachers.yamnet import YamnetTeacher

    return YamnetTeacher.load(peers)
