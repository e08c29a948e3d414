"""The project's own C engine: front end and step in one small library without dependencies."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import State, copy_state
from edge_audio.backends.engine_library import WatchedLabels, load_engine
from edge_audio.backends.registry import NATIVE
from edge_audio.backends.stream import ScoredBatch
from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import ENGINE_FILE, build_image
from edge_audio.errors import BackendError
from edge_audio.events.detector import Watch, Watched
from edge_audio.features.frontend import n_frames

ENGINE_SHARE = 0.99
"""Of the steps of a recording, those that have to keep ENGINE_TOLERANCE: at single ones, where what
is recalled nearly cancels, exponential gates make a thousand times more of a difference. Of 1,499
of tiny-xlstm four exceed it, one of them by 0.1; PyTorch and ONNX Runtime are apart by 1e-4
there. `quantize` allows other runtimes as much with such gates."""
ENGINE_EVENT_SHARE = 0.02
"""Of the events of a recording, those that may be of the engine or of another runtime alone."""

_STATUS = {
    2: "the image is inconsistent: export the bundle again",
    3: "the image is of another version: reinstall edge-audio",
    4: "the image was altered on its way",
    7: "the model is larger than the engine's limits: use another runtime",
}
_ALIGNMENT = 64


def open_native(bundle: Bundle, n_threads: int = 1) -> NativeBackend:
    """Loads the engine, which is compiled unless it came with the package or the cache has it, and
    the bundle's weights; one thread whatever n_threads says. BackendError where it is not compiled
    and there is no C compiler, BundleError if the bundle has no engine.bin."""
    image = build_image(bundle, related="all")  # of its scores events are made in Python
    return NativeBackend(bundle.manifest.model, image, load_engine())


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    """Zeros that begin at a multiple of _ALIGNMENT."""
    raw = np.zeros(n_bytes + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n_bytes]


class NativeBackend:
    """One loaded model. The state of a stream is a single array of bytes.

    The engine works in buffers of this object, one call at a time: passing addresses that never
    change costs a fraction of passing those of new arrays.
    """

    name = NATIVE.name

    def __init__(self, spec: ModelSpec, image: bytes, library: ctypes.CDLL) -> None:
        self.library = library
        self.lock = threading.Lock()  # of the scratch memory
        self._image = _aligned(len(image))
        self._image[:] = np.frombuffer(image, np.uint8)
        self._model = _aligned(library.ea_model_size())
        address = self._model.ctypes.data
        status = library.ea_open(address, self._image.ctypes.data, len(image))
        if status:
            reason = _STATUS.get(status, f"status {status}")
            raise BackendError(f"the engine cannot run {ENGINE_FILE}: {reason}")
        self._packed = _aligned(library.ea_pack_size(address))
        library.ea_pack(address, self._packed.ctypes.data)
        n_bytes = library.ea_network_size(address)
        state = TensorSpec(name="network", shape=(n_bytes,), dtype="int8")
        embedding = TensorSpec(name="embedding", shape=(1, library.ea_embedding_dim(address)))
        self.spec = msgspec.structs.replace(spec, state=(state,), embedding=embedding)
        self._network = _aligned(n_bytes).view(np.int8)
        self._frames = np.zeros(spec.frames.shape, np.float32)
        self._scores = np.zeros(spec.scores.shape[1], np.float32)
        self._scratch = _aligned(library.ea_scratch_size(address))
        buffers = (self._network, self._frames, self._scores, self._scratch)
        self._step_arguments = _addresses(self._model, *buffers)
        scratch = self._scratch.ctypes.data
        start = library.ea_step_embedding(address, scratch) - scratch
        self._embedding = self._scratch[start:][: 4 * embedding.shape[1]].view(np.float32)
        library.ea_begin(*_addresses(self._model, self._network, self._scores, self._scratch))
        self._quiet = _aligned(n_bytes).view(np.int8)
        self._quiet[:] = self._network
        # What a stream needs: addresses that do not change.
        self.embedding_dim = embedding.shape[1]
        self.model, *_, self.scratch = self._step_arguments
        (self.quiet,) = _addresses(self._quiet)

    def initial_state(self) -> State:
        return copy_state((self._quiet,))

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        with self.lock:
            self._run(frames, state)
            return self._scores.copy(), (self._network.copy(),)

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        with self.lock:
            self._run(frames, state)
            return self._scores.copy(), self._embedding.copy(), (self._network.copy(),)

    def _run(self, frames: NDArray[np.float32], state: State) -> None:
        np.copyto(self._frames, frames)
        np.copyto(self._network, state[0])
        self.library.ea_step(*self._step_arguments)

    def log_mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """f32[n] in [-1, 1] -> f32[n_frames(n), n_mels]: the frames of `frontend.log_mel` within
        rounding, sooner."""
        samples = np.ascontiguousarray(samples)
        frontend = self.spec.frontend
        frames = np.empty((n_frames(frontend, len(samples)), frontend.n_mels), np.float32)
        audio, result = _addresses(samples, frames)
        with self.lock:
            self.library.ea_log_mel(self.model, audio, len(frames), result, self.scratch)
        return frames

    def open_stream(self) -> NativeStream:
        return NativeStream(self)

    def open_watch(self, labels: Watched) -> Watch:
        return NativeWatch(self.library, labels)

    def open_batch(self, n_streams: int) -> NativeBatch:
        return NativeBatch(self, n_streams)


class NativeStream:
    """One stream of a NativeBackend: a block is one call. See `ScoreStream`."""

    max_steps = 32  # more save hardly any calls, and their scores leave the CPU's cache

    def __init__(self, backend: NativeBackend) -> None:
        self._backend = backend
        spec = backend.spec
        self._n_labels, self._step_samples = spec.scores.shape[1], spec.step_samples
        self._embedding_dim = backend.embedding_dim
        self.memory = _aligned(backend.library.ea_block_stream_size(backend.model))
        (self._address,) = _addresses(self.memory)
        self._alone = (ctypes.c_void_p * 1)(self._address)  # a batch of one
        self._watched, self._counts = (ctypes.c_void_p * 1)(), (ctypes.c_uint32 * 2)()
        self._count_addresses = ctypes.addressof(self._counts), ctypes.addressof(self._counts) + 4
        self.reset()

    def embed(
        self, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        embeddings = np.empty((self._most_steps(samples), self._embedding_dim), np.float32)
        scores = self.push(samples, embeddings)
        return scores, embeddings[: len(scores)]

    def _most_steps(self, samples: NDArray[np.float32]) -> int:
        return len(samples) // self._step_samples + 1  # some samples may wait

    def push(
        self, samples: NDArray[np.float32], embeddings: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """f32[n] -> f32[n_steps, n_labels]. embeddings: where those of the steps go."""
        samples = np.ascontiguousarray(samples, np.float32)
        n_samples, n_most = len(samples), self._most_steps(samples)
        scores = np.empty((n_most, self._n_labels), np.float32)
        if not n_samples:
            return scores[:0]
        found = (_address(scores), None if embeddings is None else _address(embeddings))
        backend = self._backend
        with backend.lock:
            n_steps = backend.library.ea_block_push(
                self._address, _address(samples), n_samples, *found, n_most, backend.scratch
            )
        return scores[:n_steps]

    def follow(self, samples: NDArray[np.float32], watch: Watch) -> tuple[NDArray[np.float32], int]:
        """In one call where the watch is the engine's."""
        if not (len(samples) and isinstance(watch, NativeWatch)):
            scores = self.push(samples)
            return scores, watch(scores)
        samples = np.ascontiguousarray(samples, np.float32)
        n_samples, n_most = len(samples), self._most_steps(samples)
        scores = np.empty((n_most, self._n_labels), np.float32)
        self._watched[0] = watch.address
        arguments = self._alone, self._watched, 1, _address(samples), n_samples, _address(scores)
        backend = self._backend
        with backend.lock:
            backend.library.ea_batch_push(
                *arguments, n_most, *self._count_addresses, backend.scratch
            )
        n_steps, n_watched = self._counts
        return scores[:n_steps], n_watched

    def forget_samples(self) -> None:
        self._backend.library.ea_block_forget(self._address)

    def reset(self) -> None:
        backend = self._backend
        backend.library.ea_block_begin(backend.model, backend.quiet, self._address)


class NativeWatch:
    """`watch_in_numpy` in C, with the same bits. Scores must be contiguous, as those of a stream
    are.

    address: of the labels, for calls that follow them beside other work; as long as this lives.
    """

    def __init__(self, library: ctypes.CDLL, labels: Watched) -> None:
        index = labels.index.astype(np.uint32)
        arrays = (index, labels.smoothed, labels.peak, labels.limit, labels.is_active)
        addresses = [array.ctypes.data for array in arrays]
        watched = WatchedLabels(len(index), float(labels.rise), float(labels.fall), *addresses)
        self.address = ctypes.addressof(watched)
        self._kept = watched, arrays
        self._follow = library.ea_watch

    def __call__(self, scores: NDArray[np.float32]) -> int:
        if not scores.size:
            return 0
        return int(self._follow(self.address, _address(scores), *scores.shape))


class NativeBatch:
    """Many streams of a NativeBackend: a block of each is one call. See `ScoreBatch`."""

    def __init__(self, backend: NativeBackend, n_streams: int) -> None:
        self._backend, spec = backend, backend.spec
        self._n_labels, self._step_samples = spec.scores.shape[1], spec.step_samples
        n_bytes = -(-backend.library.ea_block_stream_size(backend.model) // _ALIGNMENT) * _ALIGNMENT
        self._memory = _aligned(n_streams * n_bytes)  # all states side by side
        first = self._memory.ctypes.data
        self._streams = np.arange(n_streams, dtype=np.uintp) * np.uintp(n_bytes) + np.uintp(first)
        self._watched = np.zeros(n_streams, np.uintp)
        self._watches: list[Watch | None] = [None] * n_streams
        for stream in range(n_streams):
            self.reset(stream)

    def push(self, streams: NDArray[np.intp], samples: NDArray[np.float32]) -> ScoredBatch:
        n, n_samples = samples.shape
        n_most = n_samples // self._step_samples + 1  # some samples may wait
        scores = np.empty((n, n_most, self._n_labels), np.float32)
        n_steps, n_watched = np.zeros((2, n), np.uint32)
        if samples.size:
            places = self._streams[streams], self._watched[streams]
            samples = np.ascontiguousarray(samples, np.float32)
            addresses = (*map(_address, places), n, _address(samples), n_samples)
            counts = map(_address, (n_steps, n_watched))
            found = (_address(scores), n_most, *counts)
            backend = self._backend
            with backend.lock:
                backend.library.ea_batch_push(*addresses, *found, backend.scratch)
        return ScoredBatch(scores, n_steps, n_watched)

    def watch(self, stream: int, watch: Watch | None) -> None:
        self._watches[stream] = watch  # so that it lives
        self._watched[stream] = watch.address if isinstance(watch, NativeWatch) else 0

    def reset(self, stream: int) -> None:
        backend = self._backend
        memory = int(self._streams[stream])
        backend.library.ea_block_begin(backend.model, backend.quiet, memory)


def _address(array: Any) -> int:
    """Of a contiguous array with items, at a fraction of the cost of `array.ctypes.data` where it
    may be written to."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except TypeError:  # is read-only
        return int(array.ctypes.data)


def _addresses(*arrays: np.ndarray) -> tuple[ctypes.c_void_p, ...]:
    """Addresses of arrays, which must outlive the call that they are passed to."""
    return tuple(ctypes.c_void_p(array.ctypes.data) for array in arrays)
