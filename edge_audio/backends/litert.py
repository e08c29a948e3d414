"""LiteRT (formerly TensorFlow Lite) through its interpreter.

The interpreter is used because it is the quickest way from Python: its signature runner and its
CompiledModel API take 1.4 and 1.9 times as long per step.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import (
    Backend,
    GraphBackend,
    Signature,
    State,
    check_signature,
    input_names,
    output_names,
)
from edge_audio.backends.golden import replay
from edge_audio.backends.registry import INSTALL_HINT, LITERT
from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BackendError
from edge_audio.support.info_lines import without_info_lines

SIGNATURE_NAME = "step"


class LitertBackend(GraphBackend):
    """Runs one step graph. See `Backend` for the contract."""

    name = LITERT.name

    def __init__(self, spec: ModelSpec, interpreter: Any) -> None:
        """interpreter: an `Interpreter` of ai_edge_litert or tflite_runtime, not yet allocated.

        Raises BackendError if the graph's tensors are not those of `spec`.
        """
        self.spec = spec
        interpreter.allocate_tensors()
        self._interpreter = interpreter  # owns the memory that the views look at
        self._inputs, self._outputs = _views(interpreter, spec)
        self._lock = threading.Lock()  # the tensors are one set of buffers for all streams
        self._begin()

    def _run(self, frames: NDArray[np.float32], state: State) -> list[np.ndarray]:
        with self._lock:
            for view, value in zip(self._inputs, (frames, *state), strict=True):
                view[...] = value
            self._interpreter.invoke()
            return [view.copy() for view in self._outputs]


def open_litert(bundle: Bundle, n_threads: int = 1) -> Backend:
    """Loads model.tflite with ai-edge-litert, or with tflite-runtime if that replays the
    bundle's golden correctly (it is known to misread some int8 files without an error)."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _open_tflite_runtime(bundle, n_threads)
    return _load(bundle, Interpreter, n_threads)


def _open_tflite_runtime(bundle: Bundle, n_threads: int) -> Backend:
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise BackendError(LITERT.not_installed) from error
    return require_golden(bundle, _load(bundle, Interpreter, n_threads))


def require_golden(bundle: Bundle, backend: Backend) -> Backend:
    """The backend, if it replays the bundle's golden; otherwise BackendError says so."""
    report = replay(bundle, backend)
    if not report.ok:
        raise BackendError(
            f"tflite-runtime computes {bundle.manifest.name} wrongly ({report.failure}): "
            f"{INSTALL_HINT}"
        )
    return backend


def _load(bundle: Bundle, interpreter_class: Any, n_threads: int) -> LitertBackend:
    content = bundle.read(LITERT.file)
    try:
        with without_info_lines():  # on its delegate
            interpreter = interpreter_class(model_content=content, num_threads=n_threads)
            interpreter.allocate_tensors()
        return LitertBackend(bundle.manifest.model, interpreter)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BackendError(
            f"{LITERT.title} cannot load {bundle.path / LITERT.file}: {reason}"
        ) from error


def _views(interpreter: Any, spec: ModelSpec) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of the inputs and of the outputs. Raises BackendError where they are not those of `spec`. The
    runner is gone afterwards: as long as there is one, the interpreter refuses to run."""
    runner = interpreter.get_signature_runner(_signature_name(interpreter))
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    check_signature(spec, _signature(inputs), _signature(outputs), LITERT.file)
    return (
        [_view(interpreter, inputs[name]["index"]) for name in input_names(spec)],
        [_view(interpreter, outputs[name]["index"]) for name in output_names(spec)],
    )


def _view(interpreter: Any, tensor_id: int) -> np.ndarray:
    """The runtime's own memory of a tensor, which stays where it is while shapes are static: two
    thirds of the time of `set_tensor` and `get_tensor`. Its address is taken because the
    interpreter refuses to run while somebody holds one of the arrays that it hands out."""
    array = interpreter.tensor(tensor_id)()
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    view: np.ndarray = np.frombuffer(memory, array.dtype).reshape(array.shape)
    return view


def _signature_name(interpreter: Any) -> str:
    names = list(interpreter.get_signature_list())
    if SIGNATURE_NAME in names or len(names) != 1:
        return SIGNATURE_NAME  # where it is absent, LiteRT says so
    return str(names[0])


def _signature(details: dict[str, Any]) -> Signature:
    return {
        name: TensorSpec(
            name=name,
            shape=tuple(int(size) for size in tensor["shape"]),
            dtype=np.dtype(tensor["dtype"]).name,
        )
        for name, tensor in details.items()
    }
