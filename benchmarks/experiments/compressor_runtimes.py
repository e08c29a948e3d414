"""Exported graphs in each runtime, and what went wrong where there are none: for compressor.py."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quantize.export import _quiet

LITERT_PROCESS = """
import sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.invoke()
"""
"""Of its own, since LiteRT dies of a graph that it cannot run."""


class Notes:
    """Failures, each kept once and numbered."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def number(self, line: str) -> str:
        """How a cell refers to the line."""
        if line not in self.lines:
            self.lines.append(line)
        return f"no [{self.lines.index(line) + 1}]"


def first_line(error: BaseException) -> str:
    """What went wrong, as one line: of exporters that explain themselves at length, the line
    that names the cause."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    causes = [line for line in lines if "DispatchError" in line]
    line = re.sub(r"^<class '[\w.]*'>: ", "", (causes or lines)[0])
    names = re.search(r"\{('[^{}]*')\}", line)  # a set, in any order
    if names:
        line = line.replace(names[1], ", ".join(sorted(names[1].split(", "))))
    return f"{type(error).__name__}: {line}"


def attempt(make: Callable[[], bytes], notes: Notes) -> str:
    """Kilobytes, or where the notes say why not."""
    try:
        with _quiet():
            return f"{len(make()) / 1e3:.0f} kB"
    except Exception as error:  # exporters raise whatever their passes raise
        return notes.number(first_line(error))


def lower(model: Any, inputs: tuple[Tensor, ...], notes: Notes) -> dict[str, str]:
    """An exported graph in each runtime."""
    for module in model.modules():
        module.training = False  # a graph of evaluation, whose flag nobody has set
    n_delegates: list[int] = []
    makers = {
        "executorch": lambda: executorch_file(model, inputs, n_delegates),
        "onnx": lambda: onnx_file(model, inputs),
        "litert": lambda: litert_file(model, inputs),
    }
    cells = {runtime: attempt(make, notes) for runtime, make in makers.items()}
    if cells["executorch"].endswith("kB"):
        cells["executorch"] += f", {n_delegates[0]}"
    return cells


def executorch_file(model: Any, inputs: tuple[Tensor, ...], n_delegates: list[int]) -> bytes:
    """As we export our own, but whatever XNNPACK leaves out stays outside its delegates."""
    import executorch.kernels.quantized  # noqa: F401  what is left out has no kernels otherwise
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass
    from executorch.runtime import Runtime

    from quantize.export import executorch as ours

    with torch.no_grad():
        program = torch.export.export(model, inputs, strict=True)
        program = program.run_decompositions(ours._REWRITES)
        program = constant_prop_pass(program, custom_skip_targets=ours._STAY_INT8)
        lowered = ours._lower(program, "")
        content = bytes(lowered.to_executorch().buffer)
    calls = [str(node.target) for node in lowered.exported_program().graph.nodes]
    n_delegates.append(sum("call_delegate" in call for call in calls))
    Runtime.get().load_program(content).load_method("forward").execute(list(inputs))
    return content


def onnx_file(model: Any, inputs: tuple[Tensor, ...]) -> bytes:
    """Of the opset of ours, and like them without the exporter's stack traces."""
    import onnxruntime

    from quantize.export.onnx import OPSET, _strip

    program = torch.onnx.export(model, inputs, opset_version=OPSET, dynamo=True, verbose=False)
    assert program is not None
    program.optimize()
    proto = program.model_proto
    _strip(proto)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    return bytes(content)


def litert_file(model: Any, inputs: tuple[Tensor, ...]) -> bytes:
    """Its pairs of quantize and dequantize fused by the converter, as ours are."""
    import litert_torch

    from quantize.export.litert import _static_rounding

    converted = litert_torch.convert(model, inputs, quant_config=_static_rounding())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        converted.export(str(path))
        command = [sys.executable, "-c", LITERT_PROCESS, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode < 0:
            raise RuntimeError(f"converted, but its first step is {_signal(done.returncode)}")
        if done.returncode > 0:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return path.read_bytes()


def _signal(returncode: int) -> str:
    return f"the end of the process: {signal.Signals(-returncode).name}"
