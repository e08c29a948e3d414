"""StepGraph -> ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edge_audio.backends.base import output_names
from edge_audio.errors import EdgeAudioError
from quantize.export.refusal import refusing
from quantize.graph.int8 import MAX_INT8, quantize_weight
from quantize.graph.step import StepGraph, zero_inputs
from quantize.schemes import Scheme

OPSET = 18


def export_onnx(graph: StepGraph, scheme: Scheme) -> bytes:
    """The .onnx of the step, static shapes, opset 18. Weights of fully connected layers are
    stored as int8 behind DequantizeLinear where the scheme has int8 weights; arithmetic is
    float32, with QuantizeLinear and DequantizeLinear around it where activations are static.

    Raises EdgeAudioError, naming the operator, if ONNX cannot express the graph.
    """
    inputs = zero_inputs(graph.spec)
    frames = inputs.pop(graph.spec.frames.name)
    with refusing("ONNX"):
        program = torch.onnx.export(
            graph,
            (frames,),
            kwargs=inputs,
            input_names=[graph.spec.frames.name, *inputs],
            output_names=output_names(graph.spec),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise EdgeAudioError("torch.onnx returned no program: install torch 2.13")
    program.optimize()
    model = program.model_proto
    _strip(model)
    if scheme.activations == "static":
        _fold_rounded(model.graph)
    if scheme.weights == "int8":
        _store_int8(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:
    """Drops the exporter's stack traces: half of the file, and paths of the exporting machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del item.metadata_props[:]
    for tensor in (*model.graph.input, *model.graph.output):
        del tensor.metadata_props[:]


def _fold_rounded(graph: Any) -> None:
    """Stores weights as int8 that the graph rounds from float32 in every step: an initializer
    behind QuantizeLinear, and the Clip to -127 that follows it."""
    from onnx import numpy_helper

    floats = {tensor.name: tensor for tensor in graph.initializer}
    clips = {node.input[0]: node for node in graph.node if node.op_type == "Clip"}
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] in floats]:
        weight, scale = (numpy_helper.to_array(floats[name]) for name in node.input[:2])
        levels = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
        integers = np.clip(levels, -MAX_INT8, MAX_INT8).astype(np.int8)
        clip = clips[node.output[0]]
        graph.initializer.remove(floats[node.input[0]])
        graph.initializer.append(numpy_helper.from_array(integers, clip.output[0]))
        graph.node.remove(node)
        graph.node.remove(clip)


def _store_int8(graph: Any) -> None:
    """Replaces the weight of every fully connected node by int8 -> DequantizeLinear. Batched
    products, such as the sLSTM's blocks, are none."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    dequantizers = []
    for node in graph.node:
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in weights:
            continue
        name = node.input[1]
        axis = 0 if _is_transposed(node) else 1  # of the output channels
        weight = numpy_helper.to_array(weights[name])
        integers, scale = quantize_weight(weight if axis == 0 else weight.T)
        stored = integers if axis == 0 else np.ascontiguousarray(integers.T)
        graph.initializer.remove(weights[name])
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        names = [f"{name}_int8", f"{name}_scale"]
        dequantizers.append(helper.make_node("DequantizeLinear", names, [name], axis=axis))
    for position, node in enumerate(dequantizers):
        graph.node.insert(position, node)


def _is_transposed(node: Any) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
