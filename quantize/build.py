"""Checkpoint -> bundle: prepare, export, compare, choose thresholds, describe, replay, save."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from distill.calibration.thresholds import CalibrationConfig
from distill.data.audio import read_clip
from distill.data.clip_list import clip_list_at, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.labels import audioset_labels
from distill.evaluation.lineage import lineage_of
from distill.students.cost import count_mmac_per_s, count_parameters
from distill.students.mlstm import ExponentialMLSTM
from distill.students.student import Student
from distill.training.recipe import Recipe
from distill.training.trainer import load_student
from edge_audio.backends.golden import tolerance_of
from edge_audio.backends.native import ENGINE_SHARE
from edge_audio.backends.registry import (
    RUNTIMES,
    backends_for,
    installed_backends,
    open_backend,
)
from edge_audio.bundle.golden import GOLDEN_NAME, Golden
from edge_audio.bundle.manifest import Manifest, Tolerance
from edge_audio.bundle.spec import EventSpec, FrontendSpec
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.engine.image import ENGINE_FILE, SHARED_FILE, Weights
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.features.frontend import log_mel
from edge_audio.sources.demo import DemoScene
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.verify import verify_bundle
from quantize.export import export
from quantize.export.runtimes import runtimes_for
from quantize.graph.keep_labels import keep_labels
from quantize.graph.parity import (
    Outputs,
    backend_outputs,
    eager_outputs,
    errors_by_step,
    input_rows,
)
from quantize.graph.prepare import prepare
from quantize.graph.step import SampleStepGraph, StepGraph
from quantize.publish.card import with_card
from quantize.publish.related import RELATED_NAME, related_labels
from quantize.publish.thresholds import choose_thresholds, facts_of
from quantize.schemes import DEFAULT_SCHEME, find_scheme

GOLDEN_S = (5.7, 8.3)
"""Of the demo scene: barks, quiet room, birds."""
_PARITY_S = 120.0  # 1,500 steps
_RANGE_CLIPS = 60  # about five minutes in one stream


Report = Callable[[str], None]


@dataclass(frozen=True)
class BuildConfig:
    """What to make of a checkpoint.

    runtimes: a model file for each; () = all that can express scheme and input. labels: those to
    keep, in the order of the scores; () = all. model_input: "samples" puts the front end into the
    graph. ranges_path: a clip list, or its folder, of the clips that activation ranges are measured
    on, for schemes that need them; None = that of $EDGE_AUDIO_DATA.
    thresholds: how to choose them on held-out clips; None takes those of the bundle `like`, and
    without it leaves all labels off by default. metrics: figures to quote. tolerance: that of the
    scheme, unless a benchmark wants to see what it would refuse.
    """

    name: str
    scheme: str = DEFAULT_SCHEME
    runtimes: Sequence[str] = ()
    labels: Sequence[str] = ()
    model_input: Literal["frames", "samples"] = "frames"
    ranges_path: Path | None = None
    thresholds: CalibrationConfig | None = None
    like: str = ""
    metrics: list[dict[str, str]] = field(default_factory=list)
    tolerance: Tolerance | None = None


def build_bundle(
    checkpoint: Path, config: BuildConfig, out_dir: Path, report: Report = print
) -> Bundle:
    """Writes `out_dir / config.name`, once every installed runtime has replayed its golden.
    report: told what is being done and the size of every file.

    Raises EdgeAudioError, and writes nothing, if an exported model strays from PyTorch by more
    than the scheme's tolerance, or if a runtime cannot express it or fails the golden.
    """
    student, recipe = load_student(checkpoint)
    labels = recipe.labels or audioset_labels()
    if config.labels:
        student, labels = keep_labels(student, labels, config.labels)
    graph = _graph(student, recipe, config)
    files = _model_files(graph, config, report)
    _report_sizes(student, files, report)
    files[GOLDEN_NAME] = make_golden(graph).to_bytes()
    if config.model_input == "samples":  # as apps take it that have no other part of this package
        files[RELATED_NAME] = related_labels(labels).to_bytes()
    manifest = _manifest(graph, recipe, labels, config)
    with tempfile.TemporaryDirectory() as scratch:
        draft = save_bundle(Path(scratch) / config.name, manifest, files)
        report("comparing 1,500 steps with PyTorch")
        parity = check_parity(graph, draft)
        manifest = _with_thresholds(draft, recipe, config, report)
        manifest.provenance["max_error_to_pytorch"] = parity
        files = with_card(manifest, files)
        _verify(save_bundle(draft.path, manifest, files))
    return save_bundle(out_dir / config.name, manifest, files)


def _graph(student: Student, recipe: Recipe, config: BuildConfig) -> StepGraph:
    scheme = find_scheme(config.scheme)
    streams = [ranges_stream(recipe, config.ranges_path)] if scheme.needs_ranges else []
    graph = prepare(student, scheme, streams)
    return SampleStepGraph(graph) if config.model_input == "samples" else graph


def _model_files(graph: StepGraph, config: BuildConfig, report: Report) -> dict[str, bytes]:
    """File name -> content, for each runtime."""
    scheme = find_scheme(config.scheme)
    files = {}
    for name in config.runtimes or runtimes_for(scheme, config.model_input):
        file = RUNTIMES[name].file
        report(f"exporting {file}, {scheme.description}")
        files[file] = export(name, graph, scheme)
    share_weights(files)
    return files


def _manifest(
    graph: StepGraph, recipe: Recipe, labels: Sequence[str], config: BuildConfig
) -> Manifest:
    """With the thresholds of the bundle `like`, if there is one."""
    scheme = find_scheme(config.scheme)
    facts, events = provenance(graph, recipe, config), EventSpec()
    if config.like:
        like = load_bundle(config.like).manifest
        events = like.events.of_labels(labels)
        if config.thresholds is None and "calibration" in like.provenance:
            facts["calibration"] = like.provenance["calibration"]
    return Manifest(
        name=config.name,
        description=f"Streaming AudioSet tagger: {scheme.description}",
        labels=tuple(labels),
        model=graph.spec,
        events=events,
        tolerance=config.tolerance or scheme.tolerance,
        provenance=facts,
    )


def _with_thresholds(
    draft: Bundle, recipe: Recipe, config: BuildConfig, report: Report
) -> Manifest:
    """The draft's manifest, with thresholds of its own if they are to be chosen."""
    if config.thresholds is None:
        return draft.manifest
    found = choose_thresholds(config.thresholds, draft, recipe, report)
    facts = {**draft.manifest.provenance, **facts_of(config.thresholds, found)}
    return msgspec.structs.replace(draft.manifest, events=found.events, provenance=facts)


def share_weights(files: dict[str, bytes]) -> None:
    """Lets engine.bin refer to the weights of model.tflite, where a bundle has both."""
    if {ENGINE_FILE, SHARED_FILE} <= files.keys():
        weights = Weights.from_bytes(files[ENGINE_FILE])
        files[ENGINE_FILE] = weights.with_references(files[SHARED_FILE]).to_bytes()


def _report_sizes(student: Student, files: dict[str, bytes], report: Report) -> None:
    n_bytes = 4 * sum(parameter.numel() for parameter in student.parameters())
    sizes = ", ".join(f"{name} {len(content) / 1000:.0f} kB" for name, content in files.items())
    report(f"float32 weights {n_bytes / 1000:.0f} kB -> {sizes}")


def ranges_stream(recipe: Recipe, place: Path | None = None) -> FloatArray:
    """f32[T, n_mels], one long stream that ranges are measured on: clips that the student was
    trained on, evenly spread over the clip list, one after the other. place: the list or its
    folder; None = that of $EDGE_AUDIO_DATA."""
    clip_list = clip_list_at(place) if place else named_clip_list()
    clips = recipe.split.divide(read_clip_list(clip_list))[0]
    chosen = clips[:: max(1, len(clips) // _RANGE_CLIPS)]
    frontend = recipe.student.frontend
    samples = [read_clip(clip_list.parent / clip.path, frontend.sample_rate_hz) for clip in chosen]
    return log_mel(frontend, np.concatenate(samples))


def demo_samples(frontend: FrontendSpec, start_s: float, end_s: float) -> FloatArray:
    """That stretch of the synthesised demo scene, rounded to int16 as a microphone gives it."""
    rate_hz = frontend.sample_rate_hz
    samples = DemoScene(rate_hz).first(end_s)[round(start_s * rate_hz) :]
    steps = np.round(samples * 32767.0)
    rounded: FloatArray = steps.astype(np.float32) / np.float32(32768.0)
    return rounded


def make_golden(graph: StepGraph) -> Golden:
    """Synthesised audio and what PyTorch says about it, rounded well below the tolerances so
    that it packs small."""
    frontend = graph.spec.frontend
    samples = demo_samples(frontend, *GOLDEN_S)
    outputs = eager_outputs(graph, input_rows(graph.spec, samples))
    return Golden(
        samples=np.round(samples * 32768.0).astype(np.int16),
        frames=np.round(log_mel(frontend, samples), 3),
        scores=np.round(outputs.scores, 5),
        embedding=np.round(outputs.embedding, 4),
    )


def check_parity(graph: StepGraph, bundle: Bundle) -> dict[str, float]:
    """Backend name -> largest score difference from PyTorch over two minutes in one stream.

    Raises EdgeAudioError where scores or the embedding differ by more than the tolerance.
    """
    rows = input_rows(graph.spec, demo_samples(graph.spec.frontend, 0.0, _PARITY_S))
    expected = eager_outputs(graph, rows)
    errors = {}
    for name in backends_for(bundle):
        found = backend_outputs(open_backend(bundle, name), rows)
        errors[name] = float(np.abs(found.scores - expected.scores).max())
        tolerance = tolerance_of(name, bundle.manifest.tolerance)
        _require_near(graph.student, name, found, expected, tolerance)
    return errors


def _require_near(
    student: Student, name: str, found: Outputs, expected: Outputs, tolerance: Tolerance
) -> None:
    for part, by_step in errors_by_step(found, expected)._asdict().items():
        error = limited_error(student, by_step)
        allowed = getattr(tolerance, part)
        if not error <= allowed:
            message = f"{name} strays from PyTorch by {error:.3g} > {allowed:g}"
            raise EdgeAudioError(message if part == "scores" else f"{message} in its {part}")


def limited_error(student: Student, by_step: FloatArray) -> float:
    """The error that a tolerance limits: the largest of all steps or, with exponential gates, the
    quantile ENGINE_SHARE of them, for where what is recalled nearly cancels they multiply any
    rounding, of every runtime. by_step f32[n_steps]: largest error of each."""
    is_exponential = any(isinstance(module, ExponentialMLSTM) for module in student.modules())
    return float(np.quantile(by_step, ENGINE_SHARE) if is_exponential else by_step.max())


def provenance(graph: StepGraph, recipe: Recipe, config: BuildConfig) -> dict[str, Any]:
    """Where the weights come from and how big they are. EdgeAudioError if a checkpoint that they
    went on from does not tell."""
    student = graph.student
    earlier = lineage_of(config.name, recipe).earlier_teachers
    n_embedding = student.config.embedding_dim
    n_head = n_embedding * student.config.n_classes
    plain = Student(student.config)  # whose layers are those that are counted
    return {
        "edge_audio_version": version("edge-audio"),
        "scheme": config.scheme,
        "n_parameters": sum(p.numel() for p in plain.parameters()),
        "n_parameters_without_head": count_parameters(plain),
        "mmac_per_s": round(count_mmac_per_s(plain) + n_head / student.token_s / 1e6, 3),
        "recipe": msgspec.json.decode(msgspec.json.encode(recipe)),
        "metrics": config.metrics,
    } | ({"earlier_teachers": msgspec.to_builtins(earlier)} if earlier else {})


def _verify(bundle: Bundle) -> None:
    names = backends_for(bundle)
    if not names and any(runtime.file in bundle.manifest.files for runtime in RUNTIMES.values()):
        raise UsageError(
            f"no runtime installed here ({', '.join(installed_backends()) or 'none'}) runs "
            f"{bundle.manifest.name}, so that nothing can be proven: install one that it is for"
        )
    for name in names:
        results = verify_bundle(bundle, name)
        if not results.ok:
            raise EdgeAudioError(f"{bundle.manifest.name} fails on {name}: {results.failure}")
