"""What is measured: models of this package, model files of others, and taggers of plugins."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from edge_audio.backends import (
    BACKEND_NAMES,
    RUNTIMES,
    backends_for,
    installed_backends,
    open_backend,
)
from edge_audio.backends.registry import NATIVE
from edge_audio.bench.neighbours import NEIGHBOURS
from edge_audio.bench.windows import WindowModel, WindowStream, open_file
from edge_audio.bundle.spec import Sensitivity, Spec
from edge_audio.bundle.store import DEFAULT_MODEL, Bundle, load_bundle, shipped_bundles
from edge_audio.engine.image import build_image
from edge_audio.errors import UsageError
from edge_audio.events.detector import EventDetector
from edge_audio.features.frontend import open_frontend
from edge_audio.support.arrays import FloatArray
from edge_audio.support.folders import PEERS_ENV, peers_dir
from edge_audio.tagging.tagger import Tagger

PLUGIN_GROUP = "edge_audio.bench_peers"
"""Entry points, each a function without arguments that returns a WindowModel."""

YAMNET_FILE, YAMNET_HOP_S = "yamnet.tflite", 0.4875  # 50 % of 15,600 samples


class Facts(Spec, frozen=True, tag="facts"):
    """What is known of a candidate without measuring.

    step_ms: audio between two scores. latency_ms: algorithmic, the longest time from a sound to
        the score that speaks of it: as a bundle declares it; one hop and half a window for a
        model of windows.
    n_model_bytes: of the file that the runtime loads.
    """

    step_ms: float
    latency_ms: float
    n_model_bytes: int


class OpenCandidate(Protocol):
    """An open candidate, at one stream. n_steps: scores so far."""

    sample_rate_hz: int
    facts: Facts

    @property
    def n_steps(self) -> int: ...

    def push(self, samples: FloatArray) -> Any:
        """f32[n] in [-1, 1] at sample_rate_hz, any n."""

    def parts(self, blocks: Sequence[FloatArray]) -> dict[str, float]:
        """CPU seconds of every part over these blocks of one stream, each part alone."""


class OpenBundle:
    """A bundle through the Tagger, events included."""

    def __init__(self, bundle: Bundle, backend_name: str) -> None:
        self._backend = open_backend(bundle, backend_name)
        self._tagger = Tagger(bundle, self._backend)
        self._manifest = bundle.manifest
        self.sample_rate_hz = self._tagger.sample_rate_hz
        self.push = self._tagger.push
        model = bundle.manifest.model
        self.facts = Facts(
            step_ms=1e3 * model.step_s,
            latency_ms=model.latency_ms,
            n_model_bytes=_n_model_bytes(bundle, backend_name),
        )

    @property
    def n_steps(self) -> int:
        return self._tagger.n_steps

    def parts(self, blocks: Sequence[FloatArray]) -> dict[str, float]:
        model = self._manifest.model
        frontend = open_frontend(model, self._backend.log_mel)
        frontend.push(np.zeros(model.overlap_samples, np.float32))
        detector = EventDetector(self._manifest.labels, self._manifest.events, model.step_s)
        frames: list[FloatArray] = []
        scores: list[FloatArray] = []

        def hear() -> None:
            frames.extend(frontend.push(samples)[None] for samples in steps)

        def run() -> None:
            state = self._backend.initial_state()
            for block in frames:
                row, state = self._backend.step(block, state)
                scores.append(row)

        def detect() -> None:
            for number, row in enumerate(scores):
                detector.push(row, number * model.step_s)

        samples = np.concatenate(blocks)
        steps = samples[: len(samples) // model.step_samples * model.step_samples]
        steps = steps.reshape(-1, model.step_samples)
        work = {"front end": hear, "model": run, "events": detect}
        return {name: _cpu_s(do) for name, do in work.items()}


class OpenWindows:
    """A model of windows."""

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self._stream = WindowStream(model)
        self.sample_rate_hz = model.sample_rate_hz
        self.push = self._stream.push
        hop_ms = 1e3 * model.hop_samples / model.sample_rate_hz
        window_ms = 1e3 * model.window_samples / model.sample_rate_hz
        self.facts = Facts(
            step_ms=hop_ms,
            latency_ms=hop_ms + window_ms / 2.0,
            n_model_bytes=model.n_model_bytes,
        )

    @property
    def n_steps(self) -> int:
        return self._stream.n_steps

    def parts(self, blocks: Sequence[FloatArray]) -> dict[str, float]:
        """Only the model: its front end is within."""
        n_windows = sum(map(len, blocks)) // self._model.hop_samples
        window = np.resize(np.concatenate(blocks), self._model.window_samples)

        def run() -> None:
            for _ in range(n_windows):
                self._model(window)

        return {"model": _cpu_s(run)}


def _cpu_s(work: Callable[[], None]) -> float:
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def _n_model_bytes(bundle: Bundle, backend_name: str) -> int:
    if backend_name == NATIVE.name:  # engine.bin shares weights with model.tflite
        return len(build_image(bundle, related="all"))
    return bundle.manifest.files[RUNTIMES[backend_name].file].n_bytes


class BundleCandidate(Spec, frozen=True, tag="bundle"):
    """A shipped model or the folder of a bundle, on one backend. sensitivity: at which its labels
    are watched; None = normal."""

    model: str
    backend: str
    sensitivity: Sensitivity | None = None

    @property
    def name(self) -> str:
        """As shown."""
        return f"{self.family}, {RUNTIMES[self.backend].title}"

    @property
    def family(self) -> str:
        """The name under which quality was measured, which does not depend on the backend."""
        return Path(self.model).name

    def open(self) -> OpenCandidate:
        """Raises BundleError or BackendError."""
        return OpenBundle(self.bundle(), self.backend)

    def bundle(self) -> Bundle:
        """With the thresholds of the sensitivity. Raises BundleError."""
        return load_bundle(self.model).at_sensitivity(self.sensitivity)


class PeerFile(Spec, frozen=True, tag="file"):
    """A model file that scores windows of samples; hop_s as in `open_file`."""

    name: str
    path: str
    hop_s: float = 0.0

    @property
    def family(self) -> str:
        return self.name

    def open(self) -> OpenCandidate:
        """Raises UsageError or BackendError."""
        return OpenWindows(open_file(Path(self.path), self.hop_s))


class PeerPlugin(Spec, frozen=True, tag="plugin"):
    """An entry point of PLUGIN_GROUP, "module:function"; loaded by the measuring process alone,
    since it may bring anything."""

    name: str
    target: str

    @property
    def family(self) -> str:
        return self.name.partition("-")[0]

    def open(self) -> OpenCandidate:
        """Raises whatever the plugin raises."""
        return OpenWindows(pkgutil.resolve_name(self.target)())


Candidate = BundleCandidate | PeerFile | PeerPlugin


class Candidates(NamedTuple):
    """present: those that take part. missing: one line for each that cannot, and what to do."""

    present: list[Candidate]
    missing: list[str]


def own_candidates(
    models: Sequence[str], backends: Sequence[str], sensitivity: Sensitivity | None = None
) -> Candidates:
    """Every model on every installed backend; all int8 models that ship, and all backends,
    unless some are named; the default model first. Raises BundleError, or UsageError if none is
    left."""
    shipped = [name for name in shipped_bundles() if "int8" in name]
    names = models or sorted(shipped, key=lambda name: name != DEFAULT_MODEL)
    chosen = backends or BACKEND_NAMES
    found: list[Candidate] = [
        BundleCandidate(model=name, backend=backend, sensitivity=sensitivity)
        for name in names
        for backend in backends_for(load_bundle(name))
        if backend in chosen
    ]
    missing = [RUNTIMES[name].not_installed for name in chosen if name not in installed_backends()]
    if not found:
        raise UsageError("; ".join(["no model to measure", *missing]))
    return Candidates(found, missing)


def known_peers() -> Candidates:
    """YAMNet, where its file is there, what plugins bring, and neighbours, of which those that are
    not installed are found missing when they are opened."""
    path = peers_dir() / YAMNET_FILE
    neighbours = [PeerPlugin(name=name, target=target) for name, target in NEIGHBOURS.items()]
    plugins = [*_plugins(), *neighbours]
    if not path.is_file():
        missing = f"YAMNet: no {YAMNET_FILE}; set {PEERS_ENV} to the folder that holds it"
        return Candidates(plugins, [missing])
    return Candidates([PeerFile(name="YAMNet", path=str(path), hop_s=YAMNET_HOP_S), *plugins], [])


def _plugins() -> Iterator[Candidate]:
    entries = sorted(entry_points(group=PLUGIN_GROUP), key=lambda entry: entry.name)
    return (PeerPlugin(name=entry.name, target=entry.value) for entry in entries)


def peer_file(text: str, hop_s: float) -> PeerFile:
    """'NAME=model.onnx' -> a candidate. Raises UsageError for anything else, or a file that is
    not there."""
    name, equals, target = text.partition("=")
    path = Path(target)
    if not (name and equals and path.suffix in (".tflite", ".onnx")):
        raise UsageError(f"--peer {text!r}: expected NAME=FILE.tflite or NAME=FILE.onnx")
    if not path.is_file():
        raise UsageError(f"--peer {name}: no such file: {path}")
    return PeerFile(name=name, path=str(path), hop_s=hop_s)
