"""StepGraph -> model.h: a student's numbers as C99 constants.

It is data alone, with its meaning in comments. Constants are derived here, in Python: a program
that uses them needs exp, log and sqrt of what it hears, but of nothing that is fixed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.students.blocks import BOUND, Block
from distill.students.conv import CausalTCN, DilatedConv
from distill.students.lti import DiagonalSSM
from distill.students.mixer import Mixer
from distill.students.mlstm import MAX_LOGIT as MLSTM_MAX_LOGIT
from distill.students.mlstm import MLSTM, ExponentialMLSTM
from distill.students.selective import SelectiveSSM
from distill.students.slstm import MAX_LOGIT as SLSTM_MAX_LOGIT
from distill.students.slstm import OUTPUT_SCALE, SLSTM
from distill.students.stem import CausalConv
from distill.students.tagger import Student
from edge_audio.errors import EdgeAudioError
from edge_audio.frontend import hann_window, mel_weights
from edge_audio.spec import FrontendSpec, ModelSpec
from quantize.export.c_text import ABOUT, TYPES
from quantize.int8 import quantize_weight
from quantize.prepare import fold_batch_norms
from quantize.schemes import Scheme
from quantize.step import StepGraph

Numbers = NDArray[np.float32] | NDArray[np.int8] | NDArray[np.uint16]

_C_TYPES = {"float32": "float", "int8": "int8_t", "uint16": "uint16_t"}
_PER_LINE = {"float32": 6, "int8": 20, "uint16": 16}


def export_c(graph: StepGraph, scheme: Scheme) -> bytes:
    """The text of model.h. Raises EdgeAudioError for rounded activations or state, for a front
    end inside the graph, and for a mixer that the header has no type for."""
    _check(graph, scheme)
    student = copy.deepcopy(graph.student)
    fold_batch_norms(student)
    header = _Header(graph.spec, int8=scheme.weights == "int8")
    header.front_end(graph.spec.frontend)
    header.stem(student)
    header.blocks(student)
    header.head(student)
    text = "\n".join(
        (ABOUT, _opening(header, student), TYPES.rstrip(), *header.lines, "\n#endif\n")
    )
    return text.encode("ascii")


def _check(graph: StepGraph, scheme: Scheme) -> None:
    if scheme.activations == "static" or scheme.state != "float32":
        raise EdgeAudioError(
            f"C has no exporter for {scheme.description}: choose the scheme float, weight-only or "
            "dynamic, or export this one for LiteRT, ONNX or ExecuTorch"
        )
    if graph.spec.input != "frames":
        raise EdgeAudioError(
            "C has no exporter for a graph that is fed samples: export the one that is fed "
            "frames, the header has the constants of the front end all the same"
        )


def _opening(header: _Header, student: Student) -> str:
    """Include guard, sizes, and the type of weights."""
    lines = ["#ifndef EDGE_AUDIO_MODEL_H", "#define EDGE_AUDIO_MODEL_H", "", "#include <stdint.h>"]
    sizes = {**_front_end_sizes(header.spec), **_sizes(header, student)}
    lines += ["", *(f"#define EA_{name} {value}" for name, value in sizes.items())]
    lines += ["", f"typedef {'int8_t' if header.int8 else 'float'} ea_weight;", ""]
    return "\n".join(lines)


def _front_end_sizes(spec: ModelSpec) -> dict[str, str]:
    front = spec.frontend
    # As in `edge_audio.frontend`: a product is quicker than a quotient.
    logarithm = {"FLOOR": front.log_floor, "MEAN": front.log_mean, "GAIN": 1.0 / front.log_scale}
    return {
        "SAMPLE_RATE_HZ": str(front.sample_rate_hz),
        "WINDOW_SAMPLES": str(front.window_samples),
        "HOP_SAMPLES": str(front.hop_samples),
        "OVERLAP_SAMPLES": str(front.overlap_samples),
        "STEP_SAMPLES": str(spec.step_samples),
        "FFT_SIZE": str(front.fft_size),
        "N_MELS": str(front.n_mels),
        **{f"LOG_{name}": _parenthesised(value) for name, value in logarithm.items()},
        "LATENCY_MS": f"{_hex(spec.latency_ms)} /* window, stacking and trained delay */",
    }


def _sizes(header: _Header, student: Student) -> dict[str, str]:
    n_state = sum(math.prod(tensor.shape) for tensor in header.spec.state)
    return {
        "FRAMES_PER_STEP": str(header.spec.frames_per_step),
        "N_CONVS": str(len(student.stem.convs)),
        "CHANNELS": str(student.stem.project.out_features),
        "N_BLOCKS": str(len(student.blocks)),
        "EMBEDDING_DIM": str(student.embed.out_features),
        "N_LABELS": str(student.head.out_features),
        "BOUND": _hex(BOUND),
        "STATE_ELEMENTS": str(n_state),
        "STATE_BYTES": f"{4 * n_state} /* as float */",
        "SCRATCH_ELEMENTS": f"{header.n_scratch} /* the most of any array on the way to scores */",
        "INT8_WEIGHTS": f"{int(header.int8)} /* of ea_linear; all others are float */",
    }


class _Header:
    """Collects the arrays and tables; a method for each part of the student."""

    def __init__(self, spec: ModelSpec, int8: bool) -> None:
        self.spec, self.int8 = spec, int8
        self.lines: list[str] = []
        self.n_scratch = 0
        self._offsets: dict[str, int] = {}
        end = 0
        for tensor in spec.state:
            self._offsets[tensor.name] = end
            end += math.prod(tensor.shape)

    def front_end(self, front: FrontendSpec) -> None:
        turns = 2.0 * np.pi * np.arange(front.fft_size // 2) / front.fft_size
        weights = mel_weights(front)
        heard = [np.flatnonzero(band) for band in weights.T]  # bins, in one piece
        self._array("window", hann_window(front.window_samples))
        self._array("fft_cos", np.cos(turns).astype(np.float32))
        self._array("fft_sin", np.sin(turns).astype(np.float32))
        first = [bins[0] if len(bins) else 0 for bins in heard]
        self._array("mel_first", np.array(first, np.uint16))
        self._array("mel_count", np.array([len(bins) for bins in heard], np.uint16))
        self._array("mel_weight", weights.T[weights.T > 0.0])

    def stem(self, student: Student) -> None:
        n_times = self.spec.frames_per_step
        rows = []
        for index, conv in enumerate(student.stem.convs):
            rows.append(self._conv(index, cast("CausalConv", conv), n_times))
            n_times //= _convs(conv)[0].stride[0]
        self._table("ea_conv", "stem", rows)
        project = self._linear("stem_project", student.stem.project)
        self._constant("ea_linear", "stem_project", project)

    def _conv(self, index: int, conv: CausalConv, n_times: int) -> str:
        """n_times: frames of its input in a step."""
        kernel, *mix = _convs(conv)
        n_in, context, n_bands = self.spec.state[index].shape[1:]
        stride = kernel.stride[0]
        n_out = (mix[0] if mix else kernel).out_channels
        outputs = max(n_out, kernel.out_channels) * (n_times // stride) * (n_bands // stride)
        self._needs(n_in * (context + n_times) * n_bands, outputs)
        name = f"stem_{index}"
        arrays = {
            "kernel": self._tensor(f"{name}_kernel", kernel.weight[:, 0]),
            "kernel_bias": self._tensor(f"{name}_kernel_bias", _bias(kernel)),
        }
        for pointwise in mix:
            arrays["mix"] = self._tensor(f"{name}_mix", pointwise.weight[:, :, 0, 0])
            arrays["mix_bias"] = self._tensor(f"{name}_mix_bias", _bias(pointwise))
        numbers = {"n_in": n_in, "n_filters": kernel.out_channels, "n_out": n_out}
        numbers |= {"stride": stride, "context": context, "n_bands": n_bands}
        numbers |= {"residual": int(conv.residual), "state": self._offsets[name]}
        return _fields({**numbers, **arrays})

    def blocks(self, student: Student) -> None:
        rows = []
        for index, block in enumerate(cast("Sequence[Block]", student.blocks)):
            name = f"block_{index}"
            norm = self._norm(f"{name}_norm", block.norm)
            c_type, kind, fields = self._mixer(name, block.mixer)
            self._constant(c_type, f"{name}_mixer", fields)
            mixer = {"kind": kind, "mixer": f"&ea_{name}_mixer"}
            mix = {"mix": self._linear(f"{name}_mix", block.mix)}
            rows.append(_fields({**norm, **mixer, **mix}))
        self._table("ea_block", "blocks", rows)

    def head(self, student: Student) -> None:
        self._norm("norm", student.norm)
        for name, linear in (("embed", student.embed), ("head", student.head)):
            self._constant("ea_linear", name, self._linear(name, linear))

    def _mixer(self, name: str, mixer: Mixer) -> tuple[str, str, str]:
        """C type, kind, initialiser."""
        if isinstance(mixer, DiagonalSSM):
            return "ea_lti", "EA_LTI", self._lti(name, mixer)
        if isinstance(mixer, SelectiveSSM):
            return "ea_selective", "EA_SELECTIVE", self._selective(name, mixer)
        if isinstance(mixer, MLSTM):
            gate = "EXPONENTIAL" if isinstance(mixer, ExponentialMLSTM) else "SIGMOID"
            return "ea_mlstm", f"EA_MLSTM_{gate}", self._mlstm(name, mixer)
        if isinstance(mixer, SLSTM):
            return "ea_slstm", "EA_SLSTM", self._slstm(name, mixer)
        if isinstance(mixer, CausalTCN):
            return "ea_tcn", "EA_TCN", self._tcn(name, mixer)
        kind = type(mixer).__name__
        raise EdgeAudioError(f"C has no type for the mixer {kind}: add one to quantize/export/c.py")

    def _lti(self, name: str, mixer: DiagonalSSM) -> str:
        names = ("cos", "sin", "gain", "real", "imag")
        modes = dict(zip(names, (*mixer.rotation(), *mixer.readout), strict=True))
        numbers = {"n_modes": mixer.readout.shape[2], "state": self._offsets[f"{name}_h"]}
        return _fields({**numbers, **self._tensors(name, {**modes, "skip": mixer.skip})})

    def _selective(self, name: str, mixer: SelectiveSSM) -> str:
        numbers = {
            "n_heads": mixer.value_shape[0],
            "n_keys": mixer.widths[0],
            "state": self._offsets[f"{name}_h"],
            "max_decay": _hex(mixer.max_decay),
            "project": self._linear(f"{name}_project", mixer.project),
        }
        tensors = {"decay_bias": -mixer.log_decay, "skip": mixer.skip}
        return _fields({**numbers, **self._tensors(name, tensors)})

    def _mlstm(self, name: str, mixer: MLSTM) -> str:
        numbers = {
            "n_heads": mixer.value_shape[0],
            "n_keys": mixer.widths[0],
            **{f"state_{part}": self._offsets.get(f"{name}_{part}", 0) for part in "cnm"},
            "max_decay": _hex(mixer.max_decay),
            "key_scale": _hex(mixer.key_scale),
            "max_logit": _hex(MLSTM_MAX_LOGIT),
            "project": self._linear(f"{name}_project", mixer.project),
        }
        tensors = {"forget_bias": -mixer.log_decay, "skip": mixer.skip}
        return _fields({**numbers, **self._tensors(name, tensors)})

    def _slstm(self, name: str, mixer: SLSTM) -> str:
        self._needs(4 * mixer.head_shape[1])
        numbers = {
            "n_heads": mixer.head_shape[0],
            **{f"state_{part}": self._offsets[f"{name}_{part}"] for part in "cnh"},
            "max_decay": _hex(mixer.max_decay),
            "max_logit": _hex(SLSTM_MAX_LOGIT),
            "output_scale": _hex(OUTPUT_SCALE),
        }
        tensors = {"weight": mixer.weight, "forget_bias": -mixer.log_decay, "skip": mixer.skip}
        return _fields({**numbers, **self._tensors(name, tensors)})

    def _tcn(self, name: str, mixer: CausalTCN) -> str:
        rows = []
        for index, conv in enumerate(cast("Sequence[DilatedConv]", mixer.convs)):
            numbers = {"n_taps": len(conv.weight), "dilation": conv.dilation}
            numbers["state"] = self._offsets[f"{name}_context_{index}"]
            tensors = {"weight": conv.weight, "bias": conv.bias}
            rows.append(_fields({**numbers, **self._tensors(f"{name}_layer_{index}", tensors)}))
        self._table("ea_dilated", f"{name}_layers", rows)
        table = {"n_layers": len(rows), "layers": f"ea_{name}_layers"}
        return _fields({**table, "skip": self._tensor(f"{name}_skip", mixer.skip)})

    def _linear(self, name: str, linear: nn.Linear) -> str:
        weight = linear.weight.detach().numpy()
        ones = np.ones(len(weight), np.float32)
        numbers, scale = _exact_int8(name, weight) if self.int8 else (weight, ones)
        self._needs(len(weight))
        return _fields(
            {
                "n_in": linear.in_features,
                "n_out": linear.out_features,
                "weight": self._array(f"{name}_weight", numbers),
                "scale": self._array(f"{name}_scale", scale),
                "bias": self._tensor(f"{name}_bias", _bias(linear)),
            }
        )

    def _norm(self, name: str, norm: nn.BatchNorm1d) -> dict[str, str]:
        """A batch norm as scale and shift per channel."""
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        shift = norm.bias.double() - mean.double() * scale
        return {
            "norm_scale": self._tensor(f"{name}_scale", scale.float()),
            "norm_shift": self._tensor(f"{name}_shift", shift.float()),
        }

    def _tensors(self, name: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        return {key: self._tensor(f"{name}_{key}", value) for key, value in tensors.items()}

    def _tensor(self, name: str, values: Tensor) -> str:
        return self._array(name, values.detach().numpy())

    def _array(self, name: str, values: Numbers) -> str:
        """Adds `values`, flat, shapes of several sizes as a comment; returns the name in C."""
        if not np.isfinite(values).all():
            raise EdgeAudioError(f"{name} of this student is not finite: train it again")
        shape = "".join(f"[{size}]" for size in values.shape)
        comment = f"/* {shape} */\n" if values.ndim > 1 else ""
        head = f"static const {_C_TYPES[values.dtype.name]} ea_{name}[{values.size}] = {{"
        self.lines += [f"\n{comment}{head}", *_rows(values), "};"]
        return f"ea_{name}"

    def _constant(self, c_type: str, name: str, initialiser: str) -> None:
        self.lines.append(f"\nstatic const {c_type} ea_{name} = {initialiser};")

    def _table(self, c_type: str, name: str, rows: Sequence[str]) -> None:
        inside = ",\n".join(rows)
        self.lines.append(f"\nstatic const {c_type} ea_{name}[{len(rows)}] = {{\n{inside}\n}};")

    def _needs(self, *n_elements: int) -> None:
        self.n_scratch = max(self.n_scratch, *n_elements)


def _convs(conv: nn.Module) -> list[nn.Conv2d]:
    """Of a CausalConv, folded: the 3x3 one, and the 1x1 one if it has one."""
    return [module for module in conv.modules() if isinstance(module, nn.Conv2d)]


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias


def _exact_int8(
    name: str, weight: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 [n_out, n_in] and scale [n_out] whose products are `weight`, which `prepare` rounded.
    Their scale, found again as maximum / 127, may be off by the last bit."""
    integers, found = quantize_weight(weight)
    scale = found.copy()
    for limit in (np.float32(0.0), np.float32(np.inf)):
        near = np.nextafter(found, limit)
        scale = np.where(_is_exact(integers, scale, weight), scale, near)
    if not _is_exact(integers, scale, weight).all():
        raise EdgeAudioError(f"{name} is not rounded to int8: prepare it with the same scheme")
    return integers, scale


def _is_exact(
    integers: NDArray[np.int8], scale: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Per row."""
    return cast("NDArray[np.bool_]", (integers * scale[:, None] == weight).all(1))


def _fields(values: Mapping[str, Any]) -> str:
    """A designated initialiser."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in values.items()) + "}"


def _rows(values: Numbers) -> Iterator[str]:
    """Lines of numbers, each followed by a comma."""
    items = values.ravel().tolist()
    words = [_hex(item) for item in items] if values.dtype == np.float32 else list(map(str, items))
    step = _PER_LINE[values.dtype.name]
    for start in range(0, len(words), step):
        yield ", ".join(words[start : start + step]) + ","


def _hex(value: float) -> str:
    """The float32 nearest to `value` as a C99 hexadecimal constant, which is exact."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"


def _parenthesised(value: float) -> str:
    return f"({_hex(value)})" if value < 0 else _hex(value)
