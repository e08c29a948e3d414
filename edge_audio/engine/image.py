"""The engine image, all that the C engine runs: a model's weights, labels and thresholds as one
block of memory.

A bundle keeps its largest part, the weights, in `engine.bin`; pieces of it that are also in the
bundle's `model.tflite` are references to those. `build_image` puts the whole image together, for
chosen labels; its layout is in docs/engine.md.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import FrontendSpec, Spec
from edge_audio.bundle.store import Bundle
from edge_audio.engine.relations import relations
from edge_audio.engine.rows import numbers, padded, with_chosen_rows, with_more_rows
from edge_audio.errors import BundleError, UsageError
from edge_audio.events.detector import smoothing_factor
from edge_audio.events.policy import Related
from edge_audio.features.frontend import hann_window, hz_to_mel, mel_weights

IMAGE_MAGIC = b"EAI1"
IMAGE_VERSION = 4
WEIGHTS_VERSION = 1  # of engine.bin
ENGINE_FILE = "engine.bin"
SHARED_FILE = "model.tflite"

StateType = Literal["float", "int16"]

_EPSILON_S = 1e-6  # durations are sums of floats, as in edge_audio.events.detector
_MAX_SIZE = 8192  # as in the engine
_MIN_SHARED_BYTES = 256  # shorter pieces are not worth a reference


Reference = tuple[int, int]
"""First byte and number of bytes of a stretch of the bundle's model.tflite."""
Piece = bytes | Reference


class Weights(Spec, frozen=True):
    """The content of engine.bin: sizes, and all arrays in the order of the image.

    pieces: what the arrays are put together from, one after the other. The last pieces are the
    head's weights, scales and biases.
    """

    version: int
    channels: int
    n_convs: int
    n_blocks: int
    embedding_dim: int
    bound: float
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        sizes = (self.channels, self.n_convs, self.n_blocks, self.embedding_dim)
        if not all(0 <= size <= _MAX_SIZE for size in sizes) or not 0.0 <= self.bound < math.inf:
            raise ValueError(f"sizes must be within 0 and {_MAX_SIZE}, the bound finite")

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Weights:
        """Raises BundleError for anything but what `to_bytes` gives."""
        try:
            weights = msgspec.msgpack.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(
                f"{ENGINE_FILE} is damaged: {error}; restore the original bundle"
            ) from error
        if weights.version != WEIGHTS_VERSION:
            raise BundleError(
                f"{ENGINE_FILE} is of version {weights.version}, this is {WEIGHTS_VERSION}: export "
                "the bundle again with this version of edge-audio"
            )
        return weights

    @property
    def has_references(self) -> bool:
        return not all(isinstance(piece, bytes) for piece in self.pieces)

    def with_references(self, tflite: bytes) -> Weights:
        """The same weights, with references in place of the pieces that are in `tflite` too."""
        pieces = tuple(_as_reference(piece, tflite) for piece in self.pieces)
        return msgspec.structs.replace(self, pieces=pieces)

    def arrays(self, tflite: bytes) -> bytes:
        """All arrays, one after the other. Raises BundleError if a reference leads out of
        `tflite`, which may be empty where there is none."""
        return b"".join(_as_bytes(piece, tflite) for piece in self.pieces)


def _as_reference(piece: Piece, tflite: bytes) -> Piece:
    """The piece itself where it is too short for a reference to save anything, or not there."""
    if not isinstance(piece, bytes) or len(piece) < _MIN_SHARED_BYTES:
        return piece
    start = tflite.find(piece)
    return (start, len(piece)) if start >= 0 else piece


def _as_bytes(piece: Piece, tflite: bytes) -> bytes:
    if isinstance(piece, bytes):
        return piece
    start, n_bytes = piece
    if not 0 <= start <= start + n_bytes <= len(tflite):
        raise BundleError(f"{ENGINE_FILE} refers beyond {SHARED_FILE}: restore the original bundle")
    return tflite[start : start + n_bytes]


def build_image(
    bundle: Bundle,
    labels: Sequence[str] = (),
    state: StateType = "float",
    related: Related = "most-specific",
) -> bytes:
    """The engine image of a bundle, with the thresholds of its manifest.

    labels: those to keep, in the order of the scores; () = all. state: how the recurrent state
    is kept in memory. related: as in `PolicySpec`, for the events that the engine itself reports.

    Raises UsageError for an unknown label or one that is given twice, BundleError if the bundle has
    no weights for the engine or they do not fit its manifest.
    """
    if bundle.whole is not None:
        return build_image(bundle.whole, labels or bundle.manifest.labels, state, related)
    manifest = bundle.manifest
    weights = Weights.from_bytes(bundle.read(ENGINE_FILE))
    arrays = weights.arrays(bundle.read(SHARED_FILE) if weights.has_references else b"")
    if bundle.rows is not None:
        n_own = len(manifest.labels) - len(bundle.rows.labels)
        arrays = with_more_rows(arrays, weights.embedding_dim, n_own, bundle.rows)
    kept = _indices(manifest.labels, labels)
    names = [manifest.labels[i] for i in kept]
    body = b"".join(
        (
            _sizes(manifest, weights, len(names), state),
            _labels(names),
            _thresholds(manifest, names),
            relations(names, bundle.parents, related, manifest.model.step_s),
            _front_end(manifest.model.frontend),
            with_chosen_rows(arrays, weights.embedding_dim, len(manifest.labels), kept),
        )
    )
    n_bytes = 16 + len(body)
    return IMAGE_MAGIC + _words(IMAGE_VERSION, n_bytes, zlib.crc32(body)) + body


def _indices(labels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    if not wanted:
        return list(range(len(labels)))
    if unknown := [label for label in wanted if label not in labels]:
        raise UsageError(f"unknown label {unknown[0]!r}: see edge-audio inspect")
    if len(set(wanted)) != len(wanted):
        raise UsageError("a label is named twice: name each once")
    return [labels.index(label) for label in wanted]


def _words(*values: int) -> bytes:
    return np.array(values, "<u4").tobytes()


def _floats(values: Sequence[float] | np.ndarray) -> bytes:
    return np.array(values, "<f4").tobytes()


def _sizes(manifest: Manifest, weights: Weights, n_labels: int, state: StateType) -> bytes:
    model, events, front = manifest.model, manifest.events, manifest.model.frontend
    waits = (
        math.ceil((s - _EPSILON_S) / model.step_s) for s in (events.min_on_s, events.min_off_s)
    )
    return _words(
        front.sample_rate_hz,
        front.window_samples,
        front.hop_samples,
        front.fft_size,
        front.n_mels,
        model.frames_per_step,
        n_labels,
        weights.channels,
        weights.n_convs,
        weights.n_blocks,
        weights.embedding_dim,
        int(state == "int16"),
        *(max(0, wait) for wait in waits),
        model.quiet_steps,
    ) + _floats(
        (
            smoothing_factor(events.smoothing_s, model.step_s),
            weights.bound,
            front.log_floor,
            front.log_mean,
            1.0 / front.log_scale,
            smoothing_factor(events.rising_s, model.step_s),
        )
    )


def _labels(names: Sequence[str]) -> bytes:
    text = b"".join(name.encode() + b"\0" for name in names)
    return _words(len(text)) + padded(text)


def _thresholds(manifest: Manifest, names: Sequence[str]) -> bytes:
    """`on` of all labels, then `off`; zeros for labels that are off."""
    chosen = [manifest.events.thresholds.get(name) for name in names]
    on = [threshold.on if threshold else 0.0 for threshold in chosen]
    off = [threshold.off if threshold else 0.0 for threshold in chosen]
    return _floats(on) + _floats(off)


def _front_end(front: FrontendSpec) -> bytes:
    quarter = np.sin(2.0 * np.pi * np.arange(front.fft_size // 4 + 1) / front.fft_size)
    band, weight = _mel_bands(front)
    return b"".join(
        (
            _floats(hann_window(front.window_samples)[: front.window_samples // 2 + 1]),
            _floats(quarter),
            padded(band.astype("u1").tobytes()),
            numbers(weight),
        )
    )


def _mel_bands(front: FrontendSpec) -> tuple[np.ndarray, np.ndarray]:
    """For each bin [fft_size / 2 + 1] the band below it, counted from 1 (0: below the first
    peak), and the weight that it has in the next one; the rest of 1 goes to the band below."""
    weights = np.pad(mel_weights(front), ((0, 0), (1, 1)))  # with one band below, one above
    bins = np.arange(len(weights))
    hz = bins * front.sample_rate_hz / front.fft_size
    low, high = hz_to_mel(np.array([front.min_hz, front.max_hz]))
    edges = np.linspace(low, high, front.n_mels + 2)
    band = np.searchsorted(edges, hz_to_mel(hz), side="right") - 1
    is_above = band > front.n_mels
    band = band.clip(0, front.n_mels)
    # Below the first band all goes to what is below it, above the last to what is above.
    weight = np.where(band == front.n_mels, 1.0 - weights[bins, band], weights[bins, band + 1])
    return band, np.where(is_above, 1.0, weight)
