"""Checkpoint -> bundle: export, prove, calibrate, describe, save."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from distill.data import ClipStore, data_dir, read_manifest
from distill.evaluate import calibration_clips
from distill.labels import audioset_labels
from distill.listeners import open_listener
from distill.recipe import Recipe
from distill.scorers import SAMPLE_RATE_HZ, BundleScorer
from distill.students.cost import count_mmac_per_s, count_parameters
from distill.thresholds import CalibrationConfig, calibrate
from distill.train import load_student
from edge_audio.backends import installed_backends, open_backend
from edge_audio.bundle import GOLDEN_NAME, Bundle, Golden, Manifest, Tolerance, save_bundle
from edge_audio.demo import DemoScene
from edge_audio.errors import EdgeAudioError
from edge_audio.frontend import log_mel
from edge_audio.spec import EventSpec, FrontendSpec
from edge_audio.verify import verify_bundle
from quantize.card import CARD_NAME, model_card
from quantize.export.litert import export_litert
from quantize.export.onnx import export_onnx
from quantize.int8 import round_linear_weights
from quantize.parity import eager_scores, max_error
from quantize.step import StepGraph

Scheme = Literal["float", "dynamic"]

DESCRIPTIONS = {
    "float": "float32 weights and state",
    "dynamic": "int8 weights, activations quantized on the fly, float32 state",
}

TOLERANCES = {
    "float": Tolerance(frames=2e-3, scores=1e-4),
    "dynamic": Tolerance(frames=2e-3, scores=0.05),
}
"""What a runtime may differ from PyTorch with the same weights. Dynamic-range int8 also rounds
activations, each runtime in its own way."""

_GOLDEN_S = (11.0, 15.0)  # of the demo scene: end of the smoke alarm, quiet room, siren
_PARITY_S = 120.0  # 1,500 steps


def build_bundle(
    checkpoint: Path,
    name: str,
    scheme: Scheme,
    out_dir: Path,
    runs_dir: Path,
    metrics: list[dict[str, str]],
    calibration: CalibrationConfig | None = None,
) -> Bundle:
    """Writes `out_dir / name`; returns it once every installed runtime has replayed its golden.

    calibration None leaves all labels off by default. Raises EdgeAudioError if an exported
    model strays from PyTorch by more than the scheme's tolerance.
    """
    student, recipe = load_student(checkpoint)
    graph = StepGraph(round_linear_weights(student) if scheme == "dynamic" else student)
    is_int8 = scheme == "dynamic"
    files = {
        "model.tflite": export_litert(graph, is_int8),
        "model.onnx": export_onnx(graph, is_int8),
    }
    files[GOLDEN_NAME] = make_golden(graph).to_bytes()
    manifest = Manifest(
        name=name,
        description=f"Streaming AudioSet tagger: {DESCRIPTIONS[scheme]}",
        labels=recipe.labels or audioset_labels(),
        model=graph.spec,
        events=EventSpec(),
        tolerance=TOLERANCES[scheme],
        provenance=provenance(graph, recipe, scheme, metrics),
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = save_bundle(Path(folder) / name, manifest, files)
        parity = check_parity(graph, draft)
        if calibration is not None:
            events = _calibrate(calibration, draft, recipe, runs_dir)
            manifest = msgspec.structs.replace(manifest, events=events)
            manifest.provenance["calibration"] = msgspec.to_builtins(calibration)
    manifest.provenance["max_error_to_pytorch"] = parity
    files[CARD_NAME] = model_card(manifest, files).encode()
    bundle = save_bundle(out_dir / name, manifest, files)
    _verify(bundle)
    return bundle


def demo_samples(frontend: FrontendSpec, start_s: float, end_s: float) -> NDArray[np.float32]:
    """That stretch of the synthesised demo scene, rounded to int16 as a microphone gives it."""
    rate_hz = frontend.sample_rate_hz
    blocks = DemoScene(rate_hz).blocks()
    pieces: list[NDArray[np.float32]] = []
    while sum(map(len, pieces)) < end_s * rate_hz:
        pieces.append(next(blocks).samples)
    samples = np.concatenate(pieces)[int(start_s * rate_hz) : int(end_s * rate_hz)]
    return np.round(samples * 32767.0).astype(np.float32) / np.float32(32768.0)


def make_golden(graph: StepGraph) -> Golden:
    """Synthesised audio and what PyTorch says about it, rounded well below the tolerances so
    that it packs small."""
    frontend = graph.spec.frontend
    samples = demo_samples(frontend, *_GOLDEN_S)
    frames = log_mel(frontend, samples)
    return Golden(
        samples=np.round(samples * 32768.0).astype(np.int16),
        frames=np.round(frames, 3),
        scores=np.round(eager_scores(graph, frames), 5),
    )


def check_parity(graph: StepGraph, bundle: Bundle) -> dict[str, float]:
    """Backend name -> largest score difference from PyTorch over two minutes in one stream."""
    frontend = graph.spec.frontend
    frames = log_mel(frontend, demo_samples(frontend, 0.0, _PARITY_S))
    expected = eager_scores(graph, frames)
    errors = {}
    for name in installed_backends():
        errors[name] = max_error(expected, open_backend(bundle, name), frames)
        if not errors[name] <= bundle.manifest.tolerance.scores:
            allowed = bundle.manifest.tolerance.scores
            raise EdgeAudioError(f"{name} strays from PyTorch by {errors[name]:.3g} > {allowed:g}")
    return errors


def provenance(
    graph: StepGraph, recipe: Recipe, scheme: str, metrics: list[dict[str, str]]
) -> dict[str, Any]:
    """Where the weights come from and how big they are."""
    student = graph.student
    head_mmac_per_s = student.head.weight.numel() / student.token_s / 1e6
    return {
        "edge_audio_version": version("edge-audio"),
        "scheme": scheme,
        "n_parameters": sum(p.numel() for p in student.parameters()),
        "n_parameters_without_head": count_parameters(student),
        "mmac_per_s": round(count_mmac_per_s(student) + head_mmac_per_s, 3),
        "recipe": msgspec.json.decode(msgspec.json.encode(recipe)),
        "metrics": metrics,
    }


def _calibrate(
    config: CalibrationConfig, bundle: Bundle, recipe: Recipe, runs_dir: Path
) -> EventSpec:
    folder = data_dir()
    clips = read_manifest(folder)
    store = ClipStore.open(folder, clips, SAMPLE_RATE_HZ, runs_dir / "cache")
    position = {clip.path: index for index, clip in enumerate(clips)}
    chosen = calibration_clips(recipe, clips)
    samples = (store[position[clip.path]] for clip in chosen)
    return calibrate(config, open_listener(BundleScorer(bundle)), samples, chosen)


def _verify(bundle: Bundle) -> None:
    for name in installed_backends():
        report = verify_bundle(bundle, name)
        if not report.ok:
            raise EdgeAudioError(f"{bundle.path} fails on {name}: {report.failure}")
