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
from distill.teachers.published.config import PublishedConfig


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
    if isinstance(config, PublishedConfig):
        return _open_published(config, peers)
    from distill.teachers.yamnet import YamnetTeacher

    return YamnetTeacher.load(peers)


def _open_published(config: PublishedConfig, peers: Path) -> Teacher:
    from distill.teachers.published.registry import system_of
    from distill.teachers.published.system import check_given
    from distill.teachers.published.teacher import PublishedTeacher

    check_given(config.kind, system_of(config.kind), config.architecture)
    path = published_path(config, peers)
    teacher = PublishedTeacher.load(config.kind, path, config.layers, config.architecture)
    teacher.bf16 = config.precision == "bf16"
    return teacher


def published_path(config: PublishedConfig, peers: Path) -> Path:
    """The file as it is named, or in the peers folder where only that has it."""
    path = Path(config.checkpoint)
    return peers / path if not path.is_file() and (peers / path).is_file() else path


def teacher_fingerprint(config: TeacherConfig, peers: Path) -> str:
    """Stands for the teacher's files as they are now (see `fingerprint`); for none, where a model
    comes from a hub: what was downloaded once is not fetched again."""
    if isinstance(config, EfficientATConfig):
        return fingerprint(peers, [config.checkpoint, LABELS_NAME])
    if isinstance(config, TransformersConfig):
        folder = Path(config.model)
        files = (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
        return fingerprint(folder, [path.relative_to(folder).as_posix() for path in files])
    if isinstance(config, (SelfSupervisedConfig, PublishedConfig)):
        checkpoint = Path(config.checkpoint)
        if isinstance(config, PublishedConfig):
            checkpoint = published_path(config, peers)
        return fingerprint(checkpoint.parent, [checkpoint.name])
    from distill.teachers.yamnet import CLASS_MAP_NAME, MODEL_NAME

    return fingerprint(peers, [MODEL_NAME, CLASS_MAP_NAME])
