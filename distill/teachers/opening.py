"""Teachers opened by what a recipe says of them, and what their files are now."""

from __future__ import annotations

from pathlib import Path

from distill.data.fingerprint import fingerprint
from distill.data.labels import LABELS_NAME
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


def teacher_fingerprint(config: TeacherConfig, peers: Path) -> str:
    """Stands for the teacher's files as they are now (see `fingerprint`); for none, where a model
    comes from a hub: what was downloaded once is not fetched again."""
    if isinstance(config, EfficientATConfig):
        return fingerprint(peers, [config.checkpoint, LABELS_NAME])
    if isinstance(config, TransformersConfig):
        folder = Path(config.model)
        files = (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
        return fingerprint(folder, [path.relative_to(folder).as_posix() for path in files])
    if isinstance(config, SelfSupervisedConfig):
        checkpoint = Path(config.checkpoint)
        return fingerprint(checkpoint.parent, [checkpoint.name])
    from distill.teachers.yamnet import CLASS_MAP_NAME, MODEL_NAME

    return fingerprint(peers, [MODEL_NAME, CLASS_MAP_NAME])
