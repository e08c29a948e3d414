"""ExecuTorch without torch: its wheel's libraries behind a small shim of ours.

The official Python binding takes torch tensors and imports torch (1.2 GB, ten seconds). The shim,
`executorch_shim.cpp`, is compiled once per executorch release, by the machine's own C++ compiler
in a few seconds, into the user's cache folder.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import (
    GraphBackend,
    Signature,
    State,
    check_signature,
    input_names,
    output_names,
)
from edge_audio.backends.compiler import (
    CPP,
    cached_library,
    fingerprint,
    load_library,
)
from edge_audio.backends.registry import EXECUTORCH
from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BackendError

MAX_TENSORS = 1024
_ALIGNMENT = 64
_SHIM = Path(__file__).with_name("executorch_shim.cpp")
_LIBRARIES = ("backend_xnnpack", "kernels_optimized", "kernels_quantized", "threadpool")
_DTYPES = {1: "int8", 2: "int16", 6: "float32"}  # of c10::ScalarType


class _TensorFacts(ctypes.Structure):
    """The struct `TensorFacts` of executorch_shim.cpp."""

    _fields_ = (
        ("scalar_type", ctypes.c_int32),
        ("n_dims", ctypes.c_int32),
        ("sizes", ctypes.c_int64 * 8),
        ("offset", ctypes.c_int64),
        ("n_bytes", ctypes.c_int64),
    )


class ExecutorchBackend(GraphBackend):
    """Runs one step graph. See `Backend` for the contract."""

    name = EXECUTORCH.name

    def __init__(self, spec: ModelSpec, content: bytes, shim: ctypes.CDLL) -> None:
        """content: of model.pte. Raises BackendError if it is no program that this release runs,
        or if its tensors are not those of `spec`."""
        self.spec = spec
        self._content = content  # read in place as long as the model lives
        self._shim = shim
        self._handle = _open(shim, content)
        self._step = shim.ea_et_step
        self._lock = threading.Lock()  # the tensors are one set of buffers for all streams
        inputs, outputs = self._facts(0), self._facts(1)
        names = self._tensor_names(len(inputs) + len(outputs))
        check_signature(
            spec,
            _signature(names[: len(inputs)], inputs),
            _signature(names[len(inputs) :], outputs),
            EXECUTORCH.file,
        )
        self._input_buffer, self._output_buffer = _buffer(inputs), _buffer(outputs)
        in_order = dict(zip(names, [*inputs, *outputs], strict=True))
        self._inputs = [_view(self._input_buffer, in_order[name]) for name in input_names(spec)]
        self._outputs = [in_order[name] for name in output_names(spec)]
        addresses = self._input_buffer.ctypes.data, self._output_buffer.ctypes.data
        if code := shim.ea_et_bind(self._handle, *addresses):
            raise BackendError(
                f"ExecuTorch cannot bind the tensors of {EXECUTORCH.file}: error {code}"
            )
        self._begin()

    def __del__(self) -> None:
        if handle := getattr(self, "_handle", None):
            self._shim.ea_et_close(handle)

    def _run(self, frames: NDArray[np.float32], state: State) -> list[np.ndarray]:
        with self._lock:
            for view, value in zip(self._inputs, (frames, *state), strict=True):
                view[...] = value
            code = self._step(self._handle)
            outputs = self._output_buffer.copy()
        if code:
            raise BackendError(f"ExecuTorch failed in a step: error {code}")
        return [_view(outputs, facts) for facts in self._outputs]

    def _facts(self, side: int) -> list[_TensorFacts]:
        """Facts of the input tensors (side 0) or output tensors (side 1)."""
        facts = (_TensorFacts * MAX_TENSORS)()
        n_tensors = self._shim.ea_et_tensors(self._handle, side, facts, MAX_TENSORS)
        if not 0 <= n_tensors <= MAX_TENSORS:
            raise BackendError(f"{EXECUTORCH.file} has inputs or outputs that are no plain tensors")
        return list(facts[:n_tensors])

    def _tensor_names(self, n_tensors: int) -> list[str]:
        """Names of inputs and outputs, which our exporter stores as a constant method."""
        text = ctypes.create_string_buffer(1 << 16)
        code = self._shim.ea_et_text(self._handle, b"tensor_names", text, len(text))
        names = text.value.decode(errors="replace").split(",")
        if code or len(names) != n_tensors:
            raise BackendError(
                f"{EXECUTORCH.file} does not name its tensors: export the bundle again with this "
                "version"
            )
        return names


def open_executorch(bundle: Bundle, n_threads: int = 1) -> ExecutorchBackend:
    """Loads model.pte; one thread whatever n_threads says, since more are slower. BackendError if
    the runtime or a compiler for the shim is absent, or the file cannot be loaded."""
    shim = load_shim()
    try:
        return ExecutorchBackend(bundle.manifest.model, bundle.read(EXECUTORCH.file), shim)
    except BackendError as error:
        raise BackendError(f"{bundle.path / EXECUTORCH.file}: {error}") from error


def load_shim() -> ctypes.CDLL:
    """The shim for the installed executorch, compiled unless the cache has it."""
    spec = find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(EXECUTORCH.not_installed)
    wheel = Path(next(iter(spec.submodule_search_locations)))
    name = fingerprint(_SHIM.read_text(), version("executorch"), str(wheel), sys.platform)
    arguments = _flags(wheel)
    path = cached_library(f"executorch-{name}.so", CPP, arguments, "the ExecuTorch shim")
    return _declare(load_library(path, "pip install 'edge-audio[executorch]'"))


def _declare(shim: ctypes.CDLL) -> ctypes.CDLL:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    shim.ea_et_open.argtypes = (ctypes.c_char_p, size, ctypes.POINTER(ctypes.c_int32))
    shim.ea_et_open.restype = pointer
    shim.ea_et_close.argtypes = (pointer,)
    shim.ea_et_close.restype = None
    shim.ea_et_tensors.argtypes = (
        pointer,
        ctypes.c_int32,
        ctypes.POINTER(_TensorFacts),
        ctypes.c_int32,
    )
    shim.ea_et_bind.argtypes = (pointer, pointer, pointer)
    shim.ea_et_step.argtypes = (pointer,)
    shim.ea_et_text.argtypes = (pointer, ctypes.c_char_p, ctypes.c_char_p, size)
    return shim


def _flags(wheel: Path) -> list[str]:
    include, libraries = wheel / "include", wheel / "lib"
    return [
        *("-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"),
        *("-DC10_USING_CUSTOM_GENERATED_MACROS", "-DET_EVENT_TRACER_ENABLED"),
        f"-I{include}",
        f"-I{include / 'executorch/runtime/core/portable_type/c10'}",
        str(_SHIM),
        *(f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lexecutorch"),
        "-Wl,--no-as-needed",  # backends and kernels register themselves as they are loaded
        *(f"-lexecutorch_{name}" for name in _LIBRARIES),
    ]


def _open(shim: ctypes.CDLL, content: bytes) -> int:
    error = ctypes.c_int32()
    handle = shim.ea_et_open(content, len(content), ctypes.byref(error))
    if not handle:
        raise BackendError(
            f"ExecuTorch cannot load it: error {error.value}; export the bundle again for "
            f"executorch {version('executorch')}"
        )
    return int(handle)


def _signature(names: list[str], tensors: list[_TensorFacts]) -> Signature:
    return {
        name: TensorSpec(
            name=name,
            shape=tuple(facts.sizes[: facts.n_dims]),
            dtype=_DTYPES.get(facts.scalar_type, str(facts.scalar_type)),  # type: ignore[arg-type]
        )
        for name, facts in zip(names, tensors, strict=True)
    }


def _buffer(tensors: list[_TensorFacts]) -> NDArray[np.uint8]:
    """Zeros for all tensors of one side, aligned for vector instructions."""
    n_bytes = max((facts.offset + facts.n_bytes for facts in tensors), default=0) + _ALIGNMENT
    raw = np.zeros(n_bytes + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n_bytes]


def _view(buffer: NDArray[np.uint8], facts: _TensorFacts) -> np.ndarray:
    shape = tuple(facts.sizes[: facts.n_dims])
    view: np.ndarray = np.ndarray(shape, _DTYPES[facts.scalar_type], buffer, facts.offset)
    return view
