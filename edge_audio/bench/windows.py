"""Models that score one window of samples after the other, heard as a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edge_audio.backends.registry import LITERT, ONNX
from edge_audio.errors import BackendError, UsageError
from edge_audio.support.arrays import FloatArray

SAMPLE_RATE_HZ = 16_000
"""Of the samples that a model file is given."""


class WindowModel(Protocol):
    """Scores f32[window_samples] within [-1, 1] at sample_rate_hz, every hop_samples."""

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    n_model_bytes: int

    def __call__(self, window: FloatArray) -> FloatArray: ...


class WindowStream:
    """One stream through a WindowModel; silence came before it.

    n_steps: windows scored so far.
    """

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self._window = np.zeros(model.window_samples, np.float32)
        self._new = np.zeros(0, np.float32)
        self.n_steps = 0

    def push(self, samples: FloatArray) -> None:
        """f32[n], any n >= 0."""
        hop = self._model.hop_samples
        self._new = np.concatenate([self._new, samples])
        while len(self._new) >= hop:
            self._window = np.concatenate([self._window[hop:], self._new[:hop]])
            self._new = self._new[hop:]
            self._model(self._window)
            self.n_steps += 1


class FileModel:
    """A WindowModel in a runtime: `run` turns f32[input_shape] into its first output."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, path: Path, run: Any, input_shape: tuple[int, ...], hop_s: float) -> None:
        """hop_s: between two windows; 0 = half a window. Raises UsageError if it does not fit."""
        self._run, self._input_shape = run, input_shape
        self.n_model_bytes = path.stat().st_size
        self.window_samples = input_shape[-1]
        self.hop_samples = round(hop_s * SAMPLE_RATE_HZ) or self.window_samples // 2
        if not 1 <= self.hop_samples <= self.window_samples:
            window_s = self.window_samples / SAMPLE_RATE_HZ
            raise UsageError(
                f"{path.name} hears {window_s:g} s at a time: --peer-hop must be within 0 and that"
            )

    def __call__(self, window: FloatArray) -> FloatArray:
        return np.asarray(self._run(window.reshape(self._input_shape)))


def open_file(path: Path, hop_s: float) -> FileModel:
    """Loads a .tflite or .onnx file whose input is samples, f32[n] or f32[1, n].

    Raises UsageError for any other input, BackendError if the runtime is not installed or
    cannot load the file.
    """
    opened = _open_tflite(path) if path.suffix == ".tflite" else _open_onnx(path)
    return FileModel(path, *opened, hop_s)


def _open_tflite(path: Path) -> tuple[Any, tuple[int, ...]]:
    interpreter_class = _interpreter_class()
    try:
        interpreter = interpreter_class(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BackendError(f"{LITERT.title} cannot load {path}: {_one_line(error)}") from error
    inputs, output = interpreter.get_input_details(), interpreter.get_output_details()[0]["index"]
    sizes = [tuple(int(size) for size in tensor["shape_signature"]) for tensor in inputs]
    shape = _samples_shape(path, sizes, [np.dtype(tensor["dtype"]).name for tensor in inputs])

    def run(samples: FloatArray) -> FloatArray:
        interpreter.set_tensor(inputs[0]["index"], samples)
        interpreter.invoke()
        scores: FloatArray = interpreter.get_tensor(output)
        return scores

    return run, shape


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise BackendError(LITERT.not_installed) from error
    return Interpreter


def open_session(path: Path) -> Any:
    """Of ONNX Runtime, on one thread. Raises BackendError."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(ONNX.not_installed) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no other base
        raise BackendError(f"ONNX Runtime cannot load {path}: {_one_line(error)}") from error


def _open_onnx(path: Path) -> tuple[Any, tuple[int, ...]]:
    session = open_session(path)
    inputs, output = session.get_inputs(), session.get_outputs()[0].name
    sizes = [tuple(n if isinstance(n, int) else -1 for n in node.shape) for node in inputs]
    dtypes = ["float32" if node.type == "tensor(float)" else node.type for node in inputs]
    shape = _samples_shape(path, sizes, dtypes)
    return lambda samples: session.run([output], {inputs[0].name: samples})[0], shape


def _samples_shape(path: Path, shapes: list[tuple[int, ...]], dtypes: list[str]) -> tuple[int, ...]:
    """The shape of the one input, which must be a window of samples."""
    is_window = len(shapes) == 1 and dtypes[0] == "float32" and len(shapes[0]) in (1, 2)
    if is_window and shapes[0][:-1] in ((), (1,), (-1,)) and shapes[0][-1] > 1:
        return (*(1 for _ in shapes[0][:-1]), shapes[0][-1])
    found = ", ".join(f"{dtype}{list(shape)}" for shape, dtype in zip(shapes, dtypes, strict=True))
    raise UsageError(
        f"{path.name} takes {found or 'nothing'}: a peer takes float32[n] or float32[1, n] alone, "
        f"n samples at {SAMPLE_RATE_HZ} Hz with n fixed; export it with such an input"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
