"""StepGraph -> LiteRT (.tflite)."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantize.export.refusal import refusing
from quantize.graph.step import StepGraph, zero_inputs
from quantize.schemes import Scheme

SIGNATURE_NAME = "step"


def export_litert(graph: StepGraph, scheme: Scheme) -> bytes:
    """The .tflite with one signature "step".

    Raises EdgeAudioError, naming the operator, if LiteRT cannot express the graph.
    """
    import litert_torch

    inputs = zero_inputs(graph.spec)
    is_static = scheme.activations == "static"
    with refusing("LiteRT"), tempfile.TemporaryDirectory() as folder:
        module = _FloatTensors(graph) if is_static else graph
        signature = litert_torch.signature(SIGNATURE_NAME, module, sample_kwargs=inputs)
        converted = signature.convert(quant_config=_static_rounding() if is_static else None)
        path = Path(folder) / "model.tflite"
        converted.export(str(path))
        content = path.read_bytes()
    return _quantize(content, scheme) if scheme.weights == "int8" else content


class _FloatTensors(nn.Module):
    """The graph with something between its tensors and their rounding: the converter would make
    inputs and outputs int8 as well, where they are rounded at once."""

    def __init__(self, graph: StepGraph) -> None:
        super().__init__()
        self.step = graph.eval()

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        outputs = self.step(**{name: _apart(tensor) for name, tensor in inputs.items()})
        return {name: _apart(tensor) for name, tensor in outputs.items()}


def _apart(tensor: Tensor) -> Tensor:
    """x plus a number that is too small to change a float32 near 1, but not a zero that would be
    optimised away."""
    return tensor + 1e-30 if tensor.dtype == torch.float32 else tensor


def _static_rounding() -> Any:
    """Has the converter fuse the pairs of quantize and dequantize that the graph contains."""
    from litert_torch.quantize.pt2e_quantizer import (
        PT2EQuantizer,
        get_symmetric_quantization_config,
    )
    from litert_torch.quantize.quant_config import QuantConfig

    config = get_symmetric_quantization_config(is_per_channel=True)
    return QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(config))


def _quantize(content: bytes, scheme: Scheme) -> bytes:
    """int8 weights in every fully connected layer that has none yet: unpacked once at load, or
    multiplied with activations that are rounded on the fly ("dynamic")."""
    from ai_edge_quantizer import quantizer, recipe

    is_dynamic = scheme.activations == "dynamic"
    rules = recipe.dynamic_wi8_afp32() if is_dynamic else recipe.weight_only_wi8_afp32()
    rules = copy.deepcopy(rules)
    for rule in rules:
        rule["operation"] = "FULLY_CONNECTED"
    return bytes(quantizer.Quantizer(content, rules).quantize().quantized_model)
