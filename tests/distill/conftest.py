"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.shared_folders import shared_folder

torch = pytest.importorskip("torch", reason="needs the train extra")

from distill.data.clip_list import CLIP_LIST_NAME, clip_list_rows  # noqa: E402
from distill.data.labels import LABELS_NAME, read_class_map  # noqa: E402
from distill.runs.checkpoints import CHECKPOINT_NAME  # noqa: E402
from distill.training.distill import distill  # noqa: E402
from distill.training.trainer import load_student  # noqa: E402
from edge_audio.bundle.manifest import Manifest, Tolerance  # noqa: E402
from edge_audio.bundle.spec import EventSpec  # noqa: E402
from edge_audio.bundle.store import Bundle, save_bundle  # noqa: E402
from tests.distill import workshop  # noqa: E402 - needs torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, so that runs can be compared bit by bit."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def workshop_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and peers/ of the miniature workshop, and runs/ with one run of TINY_RECIPE."""
    folder = tmp_path_factory.mktemp("workshop")
    workshop.make_data(folder / "data")
    workshop.make_peers(folder / "peers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AUDIO_DATA", str(folder / "data"))
        patch.setenv("EDGE_AUDIO_PEERS", str(folder / "peers"))
        torch.set_num_threads(1)
        distill(workshop.TINY_RECIPE, folder / "runs", n_processes=1)
    return folder


@pytest.fixture
def in_workshop(workshop_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workshop's folder, with the environment pointing to it."""
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(workshop_dir / "data"))
    monkeypatch.setenv("EDGE_AUDIO_PEERS", str(workshop_dir / "peers"))
    return workshop_dir


@pytest.fixture
def in_strange_workshop(in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workshop, where two folds of other clips are of STRANGE_SOURCES."""
    data = in_workshop / "data"
    rows: list[dict[str, Any]] = [{**row} for row in clip_list_rows(data / CLIP_LIST_NAME)]
    for row in rows:
        row["source_repo"] = ""
        if not row["esc50_class"]:
            row["source_repo"] = workshop.STRANGE_SOURCES.get(row["fold"], "")
    workshop.write_clip_list(tmp_path / "data", rows)
    for origin in ("esc", "other"):
        (tmp_path / "data" / origin).symlink_to(data / origin)
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="session")
def peers_dir() -> Path:
    """The folder with the published teacher."""
    return shared_folder("EDGE_AUDIO_PEERS", "mn04_as_mAP_432.pt")


@pytest.fixture(scope="session")
def float_bundle(workshop_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The trained miniature student as an unquantised ONNX bundle."""
    for module in ("onnxruntime", "onnxscript", "litert_torch"):
        pytest.importorskip(module, reason="needs the onnx and export extras")
    from quantize.export.onnx import export_onnx
    from quantize.graph.step import StepGraph
    from quantize.schemes import SCHEMES

    student, recipe = load_student(
        workshop_dir / "runs" / workshop.TINY_RECIPE.name / CHECKPOINT_NAME
    )
    graph = StepGraph(student)
    manifest = Manifest(
        name="miniature-float",
        description="for tests",
        labels=read_class_map(workshop_dir / "peers" / LABELS_NAME),
        model=graph.spec,
        events=EventSpec(),
        tolerance=Tolerance(frames=1e-4, scores=1e-4),
        provenance={"recipe": msgspec.to_builtins(recipe)},
    )
    folder = tmp_path_factory.mktemp("bundles") / "miniature-float"
    return save_bundle(folder, manifest, {"model.onnx": export_onnx(graph, SCHEMES["float"])})
