"""The project's own C engine: front end and step in one small library without dependencies.

The library is compiled once for the CPU it runs on, from the sources that come with the package
`firmware_bridge`, and kept in the cache.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import State, copy_state
from edge_audio.backends.compiler import (
    C,
    cached_library,
    find_compiler,
    fingerprint,
    load_library,
)
from edge_audio.backends.registry import NATIVE
from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import ENGINE_FILE, build_image
from edge_audio.errors import BackendError
from edge_audio.features.frontend import n_frames

_STATUS = {
    2: "the image is inconsistent: export the bundle again",
    3: "the image is of another version: reinstall edge-audio",
    4: "the image was altered on its way",
    7: "the model is larger than the engine's limits: use another runtime",
}
_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=default")
_ALIGNMENT = 64


def is_available() -> bool:
    """Whether the sources and a C compiler are here."""
    return _engine_dir() is not None and find_compiler(C) is not None


def open_native(bundle: Bundle, n_threads: int = 1) -> NativeBackend:
    """Compiles the engine unless the cache has it, and loads the bundle's weights; one thread
    whatever n_threads says. BackendError without a C compiler, BundleError if the bundle has no
    engine.bin."""
    return NativeBackend(bundle.manifest.model, build_image(bundle), load_engine())


def load_engine() -> ctypes.CDLL:
    """The engine as compiled for this CPU."""
    folder = _engine_dir()
    if folder is None:
        raise BackendError(
            "the engine's sources are missing: reinstall edge-audio, or use --backend litert"
        )
    sources = sorted(folder.glob("src/*.c"))
    files = sorted([*sources, *folder.glob("src/*.h"), *folder.glob("include/*.h")])
    flags = (*_FLAGS, *_cpu_flags(), f"-I{folder / 'include'}")
    parts = (*(file.read_text() for file in files), *flags, _cpu_name())
    path = cached_library(
        f"engine-{fingerprint(*parts)}.so", C, [*flags, *map(str, sources)], "the engine"
    )
    return _declare(load_library(path, "use --backend litert"))


def _engine_dir() -> Path | None:
    """Folder of the engine's sources, which are read as files: firmware_bridge is never
    imported."""
    spec = find_spec("firmware_bridge")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "engine"
        if (folder / "include" / "edge_audio.h").is_file():
            return folder
    return None


def _cpu_flags() -> tuple[str, ...]:
    return ("-march=native",) if sys.platform == "linux" else ()


def _cpu_name() -> str:
    """A text that differs between kinds of CPU: a cache may be on a disk that machines share."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return sys.platform
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features"))}))


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name in ("ea_model_size", "ea_network_size", "ea_scratch_size"):
        getattr(library, name).restype = size
    library.ea_network_size.argtypes = library.ea_scratch_size.argtypes = (pointer,)
    library.ea_embedding_dim.argtypes = (pointer,)
    library.ea_step_embedding.argtypes = (pointer, pointer)
    library.ea_step_embedding.restype = pointer
    library.ea_open.argtypes = (pointer, pointer, size)
    library.ea_log_mel.argtypes = (pointer, pointer, size, pointer, pointer)
    library.ea_begin.argtypes = (pointer, pointer, pointer, pointer)
    library.ea_step.argtypes = (pointer, pointer, pointer, pointer, pointer)
    for name in ("ea_log_mel", "ea_begin", "ea_step"):
        getattr(library, name).restype = None
    return library


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
        self._library = library
        self._lock = threading.Lock()
        self._image = _aligned(len(image))
        self._image[:] = np.frombuffer(image, np.uint8)
        self._model = _aligned(library.ea_model_size())
        address = self._model.ctypes.data
        status = library.ea_open(address, self._image.ctypes.data, len(image))
        if status:
            reason = _STATUS.get(status, f"status {status}")
            raise BackendError(f"the engine cannot run {ENGINE_FILE}: {reason}")
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
        self._initial_state = (self._network.copy(),)

    def initial_state(self) -> State:
        return copy_state(self._initial_state)

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        with self._lock:
            self._run(frames, state)
            return self._scores.copy(), (self._network.copy(),)

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        with self._lock:
            self._run(frames, state)
            return self._scores.copy(), self._embedding.copy(), (self._network.copy(),)

    def _run(self, frames: NDArray[np.float32], state: State) -> None:
        np.copyto(self._frames, frames)
        np.copyto(self._network, state[0])
        self._library.ea_step(*self._step_arguments)

    def log_mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """f32[n] in [-1, 1] -> f32[n_frames(n), n_mels]: the frames of `frontend.log_mel` within
        rounding, sooner."""
        samples = np.ascontiguousarray(samples)
        frontend = self.spec.frontend
        frames = np.empty((n_frames(frontend, len(samples)), frontend.n_mels), np.float32)
        model, *_, scratch = self._step_arguments
        audio, result = _addresses(samples, frames)
        with self._lock:
            self._library.ea_log_mel(model, audio, len(frames), result, scratch)
        return frames


def _addresses(*arrays: np.ndarray) -> tuple[ctypes.c_void_p, ...]:
    """Addresses of arrays, which must outlive the call that they are passed to."""
    return tuple(ctypes.c_void_p(array.ctypes.data) for array in arrays)
