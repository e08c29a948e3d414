"""Students of the zoo as engine.bin."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.engine.image import ENGINE_FILE
from quantize.export.native import export_native
from quantize.graph.prepare import prepare
from quantize.graph.step import StepGraph
from quantize.schemes import SCHEMES
from tests.support.student_zoo import CONFIGS, make_mixed_student, make_student

HELD = ("weight-only", "dynamic")
MIXED = "mixed"
Save = Callable[..., Bundle]


@lru_cache(maxsize=8)
def graph_of(family: str, scheme: str = "weight-only") -> StepGraph:
    student = make_mixed_student() if family == MIXED else make_student(CONFIGS[family])
    return prepare(student, SCHEMES[scheme])


def exported(graph: StepGraph, scheme: str = "weight-only") -> bytes:
    return export_native(graph, SCHEMES[scheme])


@lru_cache(maxsize=8)
def content_of(family: str) -> bytes:
    return exported(graph_of(family))


def fresh_graph() -> StepGraph:
    """The mixed one, to be changed."""
    return prepare(make_mixed_student(), SCHEMES["weight-only"])


def save_family(folder: Path, family: str, files: dict[str, bytes] | None = None) -> Bundle:
    """A bundle whose labels are L0, L1, ...; files: other than engine.bin alone."""
    spec = graph_of(family).spec
    manifest = Manifest(
        name="zoo",
        description="A student of the zoo",
        labels=tuple(f"L{index}" for index in range(spec.scores.shape[1])),
        model=spec,
        events=EventSpec(),
        tolerance=SCHEMES["weight-only"].tolerance,
    )
    return save_bundle(folder, manifest, files or {ENGINE_FILE: content_of(family)})
