"""Intel Neural Compressor beside our own schemes: what int8 costs one student, which layers its
accuracy-driven search leaves float, and which runtimes take the result.

    pip install 'neural-compressor-pt==3.10.*'
    python benchmarks/experiments/compressor.py [--checkpoint classifier.pt] [--clips 100]

The student is a classifier of ESC-50 fold 1, scored on clips of that fold; nothing is trained.
Every row but float is compared with float over one long stream in PyTorch. All calibrate on the
same stream, which carries its state. A runtime's column holds the kilobytes of the exported step,
once it has run; for ExecuTorch also into how many XNNPACK delegates it is cut (ours: one, always).
"""

from __future__ import annotations

import copy
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from compressor_runtimes import Notes, attempt, lower
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.folds import log_mean_exp
from distill.evaluation.metrics import wilson
from distill.scoring.clips import SAMPLE_RATE_HZ, log_odds, whole_steps
from distill.students.student import Student
from distill.training.trainer import load_student
from edge_audio.backends.base import silence, step_blocks
from edge_audio.bundle.spec import ModelSpec
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from quantize.build import ranges_stream
from quantize.export import _quiet, export
from quantize.graph.layers import StaticConv, StaticLinear
from quantize.graph.prepare import fold_batch_norms, prepare, replace_modules
from quantize.graph.ranges import Ranges, measure_ranges
from quantize.graph.step import StepGraph, zero_inputs
from quantize.schemes import SCHEMES

sys.path.append(str(Path(__file__).resolve().parent.parent))
from long_stream import long_stream  # beside the benchmarks

Model = Callable[..., Sequence[Tensor]]
"""frames, states -> scores, next states."""

PACKAGE = "neural-compressor-pt==3.10.*"
FOLD = 1
DEFAULT_CHECKPOINT = Path("runs/micro-folds/fold-1/classifier.pt")
OUR_SCHEMES = ("float", "weight-only", "dynamic", "static")
RUNTIMES = ("executorch", "onnx", "litert")
N_LEFT_FLOAT = (0, 2, 4, 8)
"""Layers that the configurations of the search leave float, those first that cost most."""

INT8_HISTOGRAM = {"act_dtype": "int8", "act_algo": "kl"}
FLOAT = {"w_dtype": "fp32", "act_dtype": "fp32"}

WHOLE_STEP = "step"
PREFIX = "step.student."
"""Of the names of a student's modules in the exported graph."""


@dataclass
class Row:
    """errors: mean and largest difference of scores from float. lowered: by runtime, kB or a
    note's number."""

    name: str
    n_right: int
    mean_error: float
    max_error: float
    lowered: dict[str, str] = field(default_factory=dict)


class Positional(nn.Module):
    """A step graph without names, in the order of its spec; nor has it an embedding."""

    def __init__(self, graph: StepGraph) -> None:
        super().__init__()
        self.step, self.names = graph.eval(), [tensor.name for tensor in graph.spec.state]

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs = self.step(frames, **dict(zip(self.names, state, strict=True)))
        return outputs["scores"], *(outputs[f"{name}_next"] for name in self.names)


def in_sets(ranked: Sequence[str], n_float: int) -> tuple[list[str], list[str]]:
    """Layers, those first that cost most to round -> those left float, those made int8."""
    return list(ranked[:n_float]), list(ranked[n_float:])


def stream_scores(model: Model, spec: ModelSpec, rows: FloatArray) -> FloatArray:
    """Log-mel [T, n_mels] -> scores [n_steps, n_labels]; the model carries its state, and begins
    behind silence."""
    state, scores = list(zero_inputs(spec).values())[1:], []
    quiet = [silence(spec)] * spec.quiet_steps
    with torch.inference_mode():
        for block in (*quiet, *step_blocks(spec, rows)):
            first, *state = model(torch.from_numpy(block), *state)
            scores.append(first[0].numpy())
    return np.stack(scores[spec.quiet_steps :])


def run_stream(model: Model, spec: ModelSpec, rows: FloatArray) -> None:
    """Shows a model that watches its ranges a stream."""
    state = list(zero_inputs(spec).values())[1:]
    with torch.no_grad():
        for block in step_blocks(spec, rows):
            state = list(model(torch.from_numpy(block), *state))[1:]


def fold_clips(n_clips: int, spec: ModelSpec) -> list[tuple[str, FloatArray]]:
    """Class and log-mel frames of clips spread over the fold."""
    clip_list = named_clip_list()
    clips = [clip for clip in read_clip_list(clip_list) if clip.is_esc and clip.fold == FOLD]
    positions = np.linspace(0, len(clips) - 1, min(n_clips, len(clips))).astype(int)
    chosen = [clips[position] for position in positions]
    folder = clip_list.parent
    return [(clip.esc50_class, _clip_frames(folder / clip.path, spec)) for clip in chosen]


def _clip_frames(path: Path, spec: ModelSpec) -> FloatArray:
    return log_mel(spec.frontend, whole_steps(read_clip(path, SAMPLE_RATE_HZ), spec))


def is_right(scores: FloatArray, label: str, labels: Sequence[str]) -> bool:
    """Whether the clip gets its class, pooled as in training."""
    pooled = log_mean_exp(torch.from_numpy(log_odds(scores))[None])[0]
    return labels[int(pooled.argmax())] == label


class Bench:
    """One student, the audio that it is judged by, and float's scores on it."""

    def __init__(
        self,
        checkpoint: Path,
        n_clips: int,
        stream_s: float,
        tune_s: float,
        tolerated_error: float,
    ) -> None:
        self.student, recipe = load_student(checkpoint)
        self.labels, self.spec = recipe.labels, self.student.model_spec()
        self.calibration = ranges_stream(recipe)
        self.clips = fold_clips(n_clips, self.spec)
        blocks = list(long_stream(stream_s / 3600.0))
        self.stream = log_mel(self.spec.frontend, np.concatenate(blocks))
        n_tuned = round(tune_s * SAMPLE_RATE_HZ / self.spec.frontend.hop_samples)
        self.tuning = self.calibration[:n_tuned]  # not what the rows are judged by
        self.step = Positional(StepGraph(copy.deepcopy(self.student)))
        self.float_stream = stream_scores(self.step, self.spec, self.stream)
        self.float_tuning = stream_scores(self.step, self.spec, self.tuning)
        self.tolerated_error = tolerated_error
        self.inputs = tuple(zero_inputs(self.spec).values())

    def row(self, name: str, model: Model) -> Row:
        """All but the runtimes."""
        errors = np.abs(stream_scores(model, self.spec, self.stream) - self.float_stream)
        n_right = sum(
            is_right(stream_scores(model, self.spec, rows), label, self.labels)
            for label, rows in self.clips
        )
        return Row(name, n_right, float(errors.mean()), float(errors.max()))

    def tuning_error(self, model: Model) -> float:
        """Mean difference from float over what the search tunes on."""
        scores = stream_scores(model, self.spec, self.tuning)
        return float(np.abs(scores - self.float_tuning).mean())

    def calibrate(self, model: Model) -> None:
        """What Neural Compressor calls to have its observers see audio."""
        run_stream(model, self.spec, self.calibration)


def our_rows(bench: Bench, notes: Notes) -> Iterator[Row]:
    """Our schemes; dynamic with the rounding that otherwise only a runtime does."""
    from quantize.export.executorch import _with_int8_linears

    for name in OUR_SCHEMES:
        scheme = SCHEMES[name]
        graph = prepare(bench.student, scheme, [bench.calibration])
        is_dynamic = scheme.activations == "dynamic"
        heard = _with_int8_linears(graph, scheme) if is_dynamic else graph
        row = bench.row(f"ours, {name}", Positional(heard))
        for runtime in RUNTIMES:
            row.lowered[runtime] = attempt(partial(export, runtime, graph, scheme), notes)
        if row.lowered["executorch"].endswith("kB"):
            row.lowered["executorch"] += ", 1"
        yield row


@contextmanager
def without_qat_patterns() -> Iterator[None]:
    """Has torchao not look, for half a minute per graph, for batch norms that training has
    wrapped: there are none."""
    with patch("torchao.quantization.pt2e.quantize_pt2e._fold_conv_bn_qat", lambda graph: graph):
        yield


def quantized(bench: Bench, config: Any) -> Any:
    """The step as Neural Compressor's PT2E path makes it."""
    from neural_compressor.torch import export as graphs
    from neural_compressor.torch.quantization import convert
    from neural_compressor.torch.quantization import prepare as watch

    with _quiet(), without_qat_patterns():
        watched = watch(graphs.export(bench.step, bench.inputs), config)
        bench.calibrate(watched)
        return convert(watched)


def inc_rows(bench: Bench, notes: Notes) -> Iterator[Row]:
    """Its defaults; and signed int8, as runtimes have it, with ranges from histograms."""
    from neural_compressor.torch.quantization import DynamicQuantConfig, StaticQuantConfig

    configs = {
        "INC static": StaticQuantConfig(),
        "INC static, int8, histogram": StaticQuantConfig(**INT8_HISTOGRAM),
        "INC dynamic": DynamicQuantConfig(),
    }
    for name, config in configs.items():
        model = quantized(bench, config)
        row = bench.row(name, model)
        row.lowered = lower(model, bench.inputs, notes)
        yield row


def sensitive_first(bench: Bench) -> list[str]:
    """Layers by what rounding each alone to static int8 costs, dearest first."""
    folded = copy.deepcopy(bench.student)
    fold_batch_norms(folded)
    ranges = measure_ranges(folded, [bench.calibration])
    errors = {
        name: bench.tuning_error(Positional(StepGraph(_with_static(folded, name, ranges))))
        for name in ranges.inputs
    }
    return sorted(errors, key=lambda name: -errors[name])


def _with_static(folded: Student, name: str, ranges: Ranges) -> Student:
    student = copy.deepcopy(folded)
    layer = student.get_submodule(name)
    static: nn.Module
    if isinstance(layer, nn.Linear):
        static = StaticLinear(layer, ranges.inputs[name], ranges.outputs[name])
    else:
        assert isinstance(layer, nn.Conv2d)
        static = StaticConv(layer, ranges.inputs[name], ranges.outputs[name])
    replace_modules(student, name, static)
    return student


def layers_config(int8_layers: Sequence[str]) -> Any:
    """Static int8 of these layers. What a module name was set for first is not set again by
    that of a module around it, so that all else, the recurrence above all, stays float."""
    from neural_compressor.torch.quantization import StaticQuantConfig

    config = StaticQuantConfig(**INT8_HISTOGRAM)
    names = [PREFIX + name for name in int8_layers]
    config.set_local(names, StaticQuantConfig(**INT8_HISTOGRAM))
    config.set_local(WHOLE_STEP, StaticQuantConfig(**FLOAT))
    return config


def tuned_rows(bench: Bench, notes: Notes) -> Iterator[Row]:
    """Neural Compressor's accuracy-driven search: it stops at the first configuration whose mean
    score error is tolerated, and otherwise takes the best."""
    from neural_compressor.torch import export as graphs
    from neural_compressor.torch.quantization import TuningConfig, autotune

    ranked = sensitive_first(bench)
    configs = [layers_config(in_sets(ranked, n_float)[1]) for n_float in N_LEFT_FLOAT]
    errors: list[float] = []

    def closeness(model: Model) -> float:
        errors.append(bench.tuning_error(model))
        return 1.0 - errors[-1]

    with _quiet(), without_qat_patterns():
        model = autotune(
            graphs.export(bench.step, bench.inputs),
            TuningConfig(config_set=configs, tolerable_loss=bench.tolerated_error),
            eval_fn=closeness,
            run_fn=bench.calibrate,
        )
    (chosen,) = model.qconfig.values()
    left = [name for name in ranked if PREFIX + name not in chosen.local_config]
    trials = ", ".join(  # the first error is of float itself
        f"{n_float} float {error:.1e}"
        for n_float, error in zip(N_LEFT_FLOAT, errors[1:], strict=False)
    )
    notes.lines.append(
        f"autotune, tolerating {bench.tolerated_error:g}, on the calibration stream: {trials}; "
        f"chosen float: {', '.join(left) or 'none'}; dearest first: {', '.join(ranked)}"
    )
    row = bench.row(f"INC autotune, {len(left)} of {len(ranked)} float", model)
    row.lowered = lower(model, bench.inputs, notes)
    yield row


PARTS = {"ours": our_rows, "inc": inc_rows, "autotune": tuned_rows}


def table(rows: Sequence[Row], n_clips: int, stream_s: float) -> Table:
    """As printed."""
    stream = f"{stream_s / 60:.0f} min"
    result = Table(
        *("scheme", f"right of {n_clips}", "%", f"mean error, {stream}", "largest"),
        *("ExecuTorch, delegates", "ONNX", "LiteRT"),
        box=None,
    )
    for row in rows:
        right = wilson(row.n_right, n_clips)
        result.add_row(
            *(row.name, str(row.n_right)),
            f"{100 * right.value:.0f} ({100 * right.low:.0f}-{100 * right.high:.0f})",
            *(f"{row.mean_error:.1e}", f"{row.max_error:.2f}"),
            *(row.lowered[runtime].replace("[", r"\[") for runtime in RUNTIMES),
        )
    return result


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), default=DEFAULT_CHECKPOINT)
@click.option("--clips", "n_clips", type=click.IntRange(1), default=100, show_default=True)
@click.option("--stream-s", type=float, default=600.0, show_default=True)
@click.option("--tune-s", type=float, default=60.0, show_default=True)
@click.option(
    "--tolerated-error",
    type=float,
    default=3e-3,
    show_default=True,
    help="Mean score error at which the search stops.",
)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Of the rows.")
def main(
    checkpoint: Path,
    n_clips: int,
    stream_s: float,
    tune_s: float,
    tolerated_error: float,
    only: tuple[str, ...],
) -> None:
    """Prints one table and, numbered, what failed."""
    assert find_spec("neural_compressor"), f"not installed: pip install '{PACKAGE}'"
    assert checkpoint.is_file(), f"{checkpoint} is missing: benchmarks/schemes.py trains it"
    torch.set_num_threads(1)
    progress, notes, rows = Console(stderr=True), Notes(), []
    bench = Bench(checkpoint, n_clips, stream_s, tune_s, tolerated_error)
    for part in only or PARTS:
        for row in PARTS[part](bench, notes):
            rows.append(row)
            progress.print(row)
    console = Console(width=150)
    console.print(table(rows, len(bench.clips), stream_s))
    for index, line in enumerate(notes.lines, 1):
        console.print(f"[{index}] {line}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
