"""StepGraph -> LiteRT (.tflite)."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from quantize.step import StepGraph, zero_inputs

SIGNATURE_NAME = "step"


def export_litert(graph: StepGraph, int8: bool) -> bytes:
    """The .tflite with one signature "step". int8: dynamic-range fully connected layers, that
    is int8 weights and activations quantized on the fly; state and the rest stay float32."""
    import litert_torch

    inputs = zero_inputs(graph.spec)
    converted = litert_torch.signature(SIGNATURE_NAME, graph, sample_kwargs=inputs).convert()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        converted.export(str(path))
        content = path.read_bytes()
    return _quantize(content) if int8 else content


def _quantize(content: bytes) -> bytes:
    from ai_edge_quantizer import quantizer

    result = quantizer.Quantizer(content, _fully_connected_recipe()).quantize()
    return bytes(result.quantized_model)


def _fully_connected_recipe() -> list[dict[str, Any]]:
    from ai_edge_quantizer import recipe

    rules = copy.deepcopy(recipe.dynamic_wi8_afp32())
    for rule in rules:
        rule["operation"] = "FULLY_CONNECTED"
    return rules
