"""StepGraph -> ExecuTorch (.pte), all of it in one XNNPACK delegate.

Importing this module loads torch and ExecuTorch's exporter.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.gemm_configs import LinearConfig
from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.utils.quant_utils import is_dequant
from executorch.backends.xnnpack.utils.utils import get_input_node
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes.constant_prop_pass import constant_prop_pass
from executorch.exir.passes.memory_planning_pass import MemoryPlanningPass
from torch import Tensor, nn

from edge_audio.backends.base import input_names, output_names
from quantize.export.refusal import refuse, refusing
from quantize.graph.layers import QUANTIZED, DynamicLinear, WeightOnlyLinear
from quantize.graph.prepare import replace_modules
from quantize.graph.step import StepGraph, zero_inputs
from quantize.schemes import Scheme

ATEN = torch.ops.aten
TENSOR_NAMES_METHOD = "tensor_names"

_STAY_INT8 = {
    QUANTIZED.dequantize_per_channel.default,
    QUANTIZED.dequantize_per_tensor.default,
    QUANTIZED.quantize_per_tensor.default,
}


def export_executorch(graph: StepGraph, scheme: Scheme) -> bytes:
    """The .pte with one method "forward": frames and states in, scores and next states out, in
    the order of the spec; the method "tensor_names" returns their names.

    Raises EdgeAudioError, naming the operators, unless XNNPACK computes the whole step (with
    integer state: all but the operators that read and keep it).
    """
    inputs = zero_inputs(graph.spec)
    with refusing("ExecuTorch"), torch.no_grad(), _no_patterns():
        flat = _Positional(_with_int8_linears(graph, scheme), list(inputs)[1:])
        program = torch.export.export(flat, tuple(inputs.values()), strict=False)
        program = program.run_decompositions(_REWRITES)
        program = constant_prop_pass(program, custom_skip_targets=_STAY_INT8)
        lowered = _lower(program, _tensor_names(graph))
        if scheme.state == "float32":
            _require_one_delegate(lowered.exported_program())
        return bytes(lowered.to_executorch(_caller_owns_tensors()).buffer)


@contextmanager
def _no_patterns() -> Iterator[None]:
    """XNNPACK's exporter compiles six small models, to look for bilinear upsampling and PyTorch's
    attention in a step: a fifth of the time of an export. No student has either."""
    kept = bilinear_2d.get_graphs_dict, sdpa.get_graphs
    bilinear_2d.get_graphs_dict, sdpa.get_graphs = dict, list
    try:
        yield
    finally:
        bilinear_2d.get_graphs_dict, sdpa.get_graphs = kept


def _caller_owns_tensors() -> ExecutorchBackendConfig:
    """Inputs and outputs are the caller's buffers, so that a step copies none of them."""
    planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
    return ExecutorchBackendConfig(memory_planning_pass=planning)


def _tensor_names(graph: StepGraph) -> str:
    return ",".join([*input_names(graph.spec), *output_names(graph.spec)])


class _Positional(nn.Module):
    """A step without names, which ExecuTorch does not keep."""

    def __init__(self, graph: StepGraph, state_names: Sequence[str]) -> None:
        super().__init__()
        self.step, self.state_names = graph.eval(), state_names

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs = self.step(frames, **dict(zip(self.state_names, state, strict=True))).values()
        given = {id(tensor) for tensor in (frames, *state)}
        # An output that is an input would share its memory, which belongs to the caller.
        return tuple(1.0 * x if id(x) in given else x for x in outputs)


def _with_int8_linears(graph: StepGraph, scheme: Scheme) -> StepGraph:
    """A copy whose plain Linears, rounded already, are stored as int8."""
    if scheme.weights == "float32":
        return graph
    graph = copy.deepcopy(graph)
    kind = DynamicLinear if scheme.activations == "dynamic" else WeightOnlyLinear
    for name, module in list(graph.named_modules()):
        if isinstance(module, nn.Linear):
            replace_modules(graph, name, kind(module))
    return graph


class _WeightOnlyLinear(LinearConfig):  # type: ignore[misc] # of no known type
    """XNNPACK multiplies float32 by int8 weights as they are, but ExecuTorch's partitioner
    takes an int8 weight only beside an int8 input."""

    def _get_act_deps(self, node: Any, program: Any, precision: Any) -> tuple[bool, list[Any]]:
        if self._has_float_input(node):
            return True, []
        deps: tuple[bool, list[Any]] = super()._get_act_deps(node, program, precision)
        return deps

    def _get_output_deps(self, node: Any, program: Any, precision: Any) -> tuple[bool, list[Any]]:
        if self._has_float_input(node):
            return True, []
        deps: tuple[bool, list[Any]] = super()._get_output_deps(node, program, precision)
        return deps

    def _has_float_input(self, node: Any) -> bool:
        return is_dequant(get_input_node(node, 1)) and not is_dequant(get_input_node(node, 0))


def _lower(program: Any, tensor_names: str) -> Any:
    configs = [_WeightOnlyLinear if c is LinearConfig else c for c in ALL_PARTITIONER_CONFIGS]
    logging.getLogger("executorch").setLevel(logging.ERROR)
    return to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner(configs=configs)],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods={TENSOR_NAMES_METHOD: tensor_names},
    )


def _require_one_delegate(program: Any) -> None:
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    n_delegates = sum("call_delegate" in call for call in calls)
    outside = {call for call in calls if "getitem" not in call and "call_delegate" not in call}
    if outside or n_delegates != 1:
        raise refuse("ExecuTorch", outside or {f"{n_delegates} delegates"})


def _sum(x: Tensor, axes: Sequence[int], keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A sum over one axis as a product with ones: XNNPACK, as ExecuTorch calls it, sums images
    alone. The axis is the last, or the middle one of [1, T, D]."""
    axis = axes[0] % x.dim()
    width = x.shape[axis]
    if axis == x.dim() - 1:
        total = torch.bmm(x.reshape(1, -1, width), torch.ones(1, width, 1))
    else:
        total = torch.bmm(torch.ones(1, 1, width), x.reshape(1, width, -1))
    kept = [1] if keepdim else []
    return total.reshape([*x.shape[:axis], *kept, *x.shape[axis + 1 :]])


def _split(x: Tensor, sizes: Iterable[int], dim: int = 0) -> list[Tensor]:
    """XNNPACK splits in equal parts alone, but slices anywhere."""
    parts, start = [], 0
    for size in sizes:
        parts.append(ATEN.slice.Tensor(x, dim, start, start + size))
        start += size
    return parts


def _split_evenly(x: Tensor, size: int, dim: int = 0) -> list[Tensor]:
    width = x.shape[dim]
    return _split(x, (min(size, width - start) for start in range(0, width, size)), dim)


def _itself(x: Tensor) -> Tensor:
    """Takes the place of operators that change nothing, such as a slice of everything."""
    return x


_REWRITES = {
    ATEN.alias.default: _itself,
    ATEN.sum.dim_IntList: _sum,
    ATEN.split_with_sizes.default: _split,
    ATEN.split.Tensor: _split_evenly,
}
