"""ONNX Runtime on the CPU.

Plain `run` is used because it measured fastest: IO binding and OrtValues take 1.5 and 2.5
times as long for tensors this small.
"""

from __future__ import annotations

from typing import Any

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
from edge_audio.backends.registry import ONNX
from edge_audio.bundle.spec import ModelSpec, TensorSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BackendError

_DTYPES = {"tensor(float)": "float32", "tensor(int16)": "int16", "tensor(int8)": "int8"}


class OnnxBackend(GraphBackend):
    """Runs one step graph. See `Backend` for the contract."""

    name = ONNX.name

    def __init__(self, spec: ModelSpec, session: Any) -> None:
        """session: an `onnxruntime.InferenceSession`.

        Raises BackendError if the graph's tensors are not those of `spec`.
        """
        self.spec = spec
        inputs, outputs = _signature(session.get_inputs()), _signature(session.get_outputs())
        check_signature(spec, inputs, outputs, ONNX.file)
        self._input_names = input_names(spec)
        self._output_names = output_names(spec)
        self._session = session
        self._begin()

    def _run(self, frames: NDArray[np.float32], state: State) -> list[np.ndarray]:
        feeds = dict(zip(self._input_names, (frames, *state), strict=True))
        outputs: list[np.ndarray] = self._session.run(self._output_names, feeds)
        return outputs


def open_onnx(bundle: Bundle, n_threads: int = 1) -> OnnxBackend:
    """Loads model.onnx. BackendError if the runtime is absent or cannot load the file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(ONNX.not_installed) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only: they come as exceptions too
    # Unpack int8 weights once at load; by default they are kept for int8 kernels and, where
    # activations are float, unpacked again in every step.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    content = bundle.read(ONNX.file)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no other base
        reason = " ".join(str(error).split())
        raise BackendError(
            f"ONNX Runtime cannot load {bundle.path / ONNX.file}: {reason}"
        ) from error
    return OnnxBackend(bundle.manifest.model, session)


def _signature(nodes: Any) -> Signature:
    return {
        node.name: TensorSpec(
            name=node.name,
            shape=tuple(size if isinstance(size, int) else -1 for size in node.shape),
            dtype=_DTYPES.get(node.type, node.type),
        )
        for node in nodes
    }
