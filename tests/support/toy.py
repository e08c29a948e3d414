"""A small streaming model with known maths, in numpy and as exported files.

It is a real model of the contract (frames and named state in, scores and next state out), with
states of different shapes and one that is passed straight through, so that a runtime that mixes
tensors up or hands out its own buffers gives itself away. Scores are band energies with memory.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import State, require_embedding, zero_state
from edge_audio.bundle.golden import Golden
from edge_audio.bundle.manifest import Manifest, Tolerance
from edge_audio.bundle.spec import EventSpec, FrontendSpec, ModelSpec, TensorSpec, Threshold
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.features.frontend import log_mel
from tests.support.paths import REPOSITORY

EXPORTED_DIR = REPOSITORY / "tests" / "data" / "toy"

N_LABELS = 12
LABELS = tuple(f"Band {i}" for i in range(N_LABELS))
FRONTEND = FrontendSpec()
SPEC = ModelSpec(
    frontend=FRONTEND,
    frames_per_step=8,
    latency_ms=95.0,
    frames=TensorSpec(name="frames", shape=(1, 8, 64)),
    scores=TensorSpec(name="scores", shape=(1, N_LABELS)),
    state=(
        TensorSpec(name="fast", shape=(1, N_LABELS)),
        TensorSpec(name="slow", shape=(1, 3, 4)),
        TensorSpec(name="previous", shape=(1, 64)),
        TensorSpec(name="older", shape=(1, 64)),
    ),
)
EVENTS = EventSpec(
    smoothing_s=0.2,
    min_on_s=0.16,
    min_off_s=0.24,
    thresholds={
        label: Threshold(on=0.5, off=0.3)
        for label in LABELS[:10]  # the last two are off by default
    },
)
MANIFEST = Manifest(
    name="toy",
    description="Band energies with memory",
    labels=LABELS,
    model=SPEC,
    events=EVENTS,
    tolerance=Tolerance(frames=1e-4, scores=1e-4),
)


@lru_cache(maxsize=1)
def band_weights() -> np.ndarray:
    """f32[64, n_labels]: means of neighbouring bands."""
    weights = np.zeros((64, N_LABELS), np.float32)
    for band in range(60):
        weights[band, band // 5] = 0.2
    return weights


class NumpyBackend:
    """The model's definition; runs without any runtime."""

    name = "numpy"
    log_mel = None
    spec = SPEC

    def initial_state(self) -> State:
        return zero_state(SPEC)

    def step(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        fast, slow, previous, older = state
        energy = frames.mean(axis=1) @ band_weights()
        fast = np.float32(0.5) * fast + np.float32(0.5) * energy
        slow = np.float32(0.9) * slow + np.float32(0.1) * fast.reshape(1, 3, 4)
        motion = (previous - older).mean(axis=1, keepdims=True)
        logits = 4.0 * fast + 2.0 * slow.reshape(1, N_LABELS) + 0.5 * motion + 2.0
        scores = 1.0 / (1.0 + np.exp(-logits))
        return scores[0].astype(np.float32), (fast, slow, frames[:, -1, :].copy(), previous.copy())

    def embed(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        require_embedding(self.spec)  # there is no hidden layer
        raise AssertionError


class EmbeddingBackend(NumpyBackend):
    """The toy, as if its head read what it keeps as `fast`."""

    spec = msgspec.structs.replace(
        SPEC, embedding=TensorSpec(name="embedding", shape=(1, N_LABELS))
    )

    def embed(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        scores, state = self.step(frames, state)
        return scores, state[0][0].copy(), state


def noise(n_samples: int, seed: int = 0) -> NDArray[np.int16]:
    """int16[n_samples]: bursts of noise with pauses, loud enough to raise events."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.choice([0.0, 0.02, 0.5], size=n_samples // 6_000 + 1), 6_000)
    samples = rng.standard_normal(n_samples) * envelope[:n_samples]
    pcm: NDArray[np.int16] = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return pcm


def run_steps(backend: Any, frames: np.ndarray) -> np.ndarray:
    """frames f32[n, n_mels] from a fresh state -> scores f32[n // frames_per_step, n_labels]."""
    n = backend.spec.frames_per_step
    state, rows = backend.initial_state(), []
    for start in range(0, len(frames) - n + 1, n):
        scores, state = backend.step(frames[None, start : start + n], state)
        rows.append(scores)
    return np.stack(rows)


def golden(n_samples: int = 80_000) -> Golden:
    samples = noise(n_samples, seed=1)
    frames = log_mel(FRONTEND, samples.astype(np.float32) / np.float32(32768))
    return Golden(samples, frames, run_steps(NumpyBackend(), frames))


def save_toy(path: Path, manifest: Manifest = MANIFEST, /, **files: bytes) -> Bundle:
    """The toy as a bundle; model files only if given as `tflite`, `onnx`, `pte` or `native`."""
    engine = {"engine.bin": files.pop("native")} if "native" in files else {}
    models = {f"model.{suffix}": content for suffix, content in files.items()} | engine
    card = {"CARD.md": b"# Toy\n", "golden.npz": golden().to_bytes()}
    return save_bundle(path, manifest, {**card, **models})


@lru_cache(maxsize=1)
def exported() -> dict[str, bytes]:
    """The same model as `tflite`, `onnx` and `pte` bytes: the files that toy_export.py writes."""
    return {path.suffix[1:]: path.read_bytes() for path in sorted(EXPORTED_DIR.glob("model.*"))}
