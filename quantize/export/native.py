"""StepGraph -> engine.bin: a student's numbers as the C engine reads them.

Constants are derived here, in Python: convolutions and norms are folded, and convolutions become
integers whose sums fit 32 bits. The layout is in docs/engine.md, with what is computed from it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.students.blocks import BOUND, ResidualBlock
from distill.students.conv_mixer import CausalTCN, DilatedConv
from distill.students.lti import DiagonalSSM
from distill.students.mlstm import MAX_LOGIT as MLSTM_MAX_LOGIT
from distill.students.mlstm import MLSTM, ExponentialMLSTM
from distill.students.selective import SelectiveSSM
from distill.students.sequence_mixer import SequenceMixer
from distill.students.slstm import MAX_LOGIT as SLSTM_MAX_LOGIT
from distill.students.slstm import OUTPUT_SCALE, SLSTM
from distill.students.stem import CausalConv
from distill.students.student import Student
from edge_audio.backends.registry import NATIVE
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.engine.image import WEIGHTS_VERSION, Weights
from edge_audio.engine.rows import numbers, padded
from edge_audio.errors import EdgeAudioError
from edge_audio.features.frontend import hann_window
from edge_audio.support.arrays import FloatArray
from quantize.export.runtimes import runtimes_for
from quantize.graph.int8 import quantize_weight
from quantize.graph.prepare import fold_batch_norms
from quantize.graph.step import StepGraph
from quantize.schemes import Scheme

KINDS = ("lti", "selective", "mlstm-sigmoid", "mlstm-exponential", "slstm", "tcn")
"""Mixers in the order of their numbers in the image."""

_RELU6 = 6.0
_RELU6_BITS = 12  # after the binary point of a map: 6 * 2^12 fits an int16
_N_SCALES = 1_000
_MAX_ROW_SUM = 65_535  # of |weights|: times 32768 it fits an int32


def export_native(graph: StepGraph, scheme: Scheme) -> bytes:
    """The content of engine.bin. Raises EdgeAudioError for a scheme that is not int8 weights
    with float activations and state, and for a student whose sizes the engine has no code for."""
    _check(graph, scheme)
    student = copy.deepcopy(graph.student)
    fold_batch_norms(student)
    writer = _Writer()
    writer.stem(student, graph.spec.frontend)
    for index, block in enumerate(cast("Sequence[ResidualBlock]", student.blocks)):
        writer.block(f"block {index}", block)
    writer.norm(student.norm)
    writer.linear("embed", student.embed)
    writer.linear("head", student.head)
    return Weights(
        version=WEIGHTS_VERSION,
        channels=student.stem.project.out_features,
        n_convs=len(student.stem.convs),
        n_blocks=len(student.blocks),
        embedding_dim=student.embed.out_features,
        bound=BOUND,
        pieces=tuple(writer.pieces),
    ).to_bytes()


def _check(graph: StepGraph, scheme: Scheme) -> None:
    if NATIVE.name not in runtimes_for(scheme):
        raise EdgeAudioError(
            f"the engine has no code for {scheme.description}: choose the scheme weight-only, or "
            "export this one for LiteRT, ONNX or ExecuTorch"
        )
    if graph.spec.input != "frames":
        raise EdgeAudioError(
            "the engine has a front end of its own: export the graph that is fed frames"
        )
    if not all(torch.isfinite(tensor).all() for tensor in graph.student.state_dict().values()):
        raise EdgeAudioError("a weight of this student is not finite: train it again")
    if graph.student.stem.project.out_features % 8:
        raise EdgeAudioError("the engine needs a multiple of 8 channels: train such a student")


def input_bits(front: FrontendSpec) -> int:
    """Bits after the binary point at which every possible frame fits an int16. By Parseval no
    band has more power than fft_size times the energy of the window."""
    energy = front.fft_size * float(np.sum(hann_window(front.window_samples).astype(float) ** 2))
    limits = (math.log(front.log_floor), math.log(energy + front.log_floor))
    largest = max(abs(limit - front.log_mean) / front.log_scale for limit in limits)
    return max(0, min(15, 15 - math.ceil(math.log2(largest))))


class _Writer:
    """Collects arrays in the order of the image; a method for each part of the student."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def stem(self, student: Student, front: FrontendSpec) -> None:
        bits = input_bits(front)
        self._words(bits)
        largest = math.inf  # of the map that enters: the input of a first layer is never added
        for index, module in enumerate(student.stem.convs):
            conv = cast("CausalConv", module)
            largest = largest + _RELU6 if conv.residual else _RELU6
            out_bits = min(bits, 15 - math.ceil(math.log2(largest))) if conv.residual else 12
            self._conv(f"convolution {index}", conv, bits, out_bits)
            bits = out_bits
        self.linear("project", student.stem.project)

    def _conv(self, name: str, conv: CausalConv, in_bits: int, out_bits: int) -> None:
        kernel, *mix = [module for module in conv.modules() if isinstance(module, nn.Conv2d)]
        n_out = (mix[0] if mix else kernel).out_channels
        if kernel.out_channels % 4 or n_out % 4:
            raise EdgeAudioError(f"the engine needs a multiple of 4 channels, not so {name}")
        filter_bits = _RELU6_BITS if mix else out_bits
        self._words(kernel.out_channels, n_out, kernel.stride[0], int(conv.residual), out_bits)
        self._floats(_RELU6 * 2.0**filter_bits, _RELU6 * 2.0**out_bits)
        taps = _values(kernel.weight)[:, 0].reshape(-1, 9)
        self._integers(taps, kernel.bias, in_bits, filter_bits, is_transposed=True)
        if mix:
            weight = _values(mix[0].weight)[:, :, 0, 0]
            self._integers(weight, mix[0].bias, filter_bits, out_bits)

    def _integers(
        self,
        weight: FloatArray,
        bias: Tensor | None,
        in_bits: int,
        out_bits: int,
        is_transposed: bool = False,
    ) -> None:
        """int16 [n_out, n], then gain and bias that take sums of maps with in_bits to out_bits."""
        integers, scale = _int16_rows(weight)
        rows = integers.T if is_transposed else _rows_of_8(integers)
        self._array(np.ascontiguousarray(rows))
        self._numbers(scale * 2.0 ** (out_bits - in_bits))
        added = np.zeros(len(weight), np.float32) if bias is None else _values(bias)
        self._numbers(added * 2.0**out_bits)

    def block(self, name: str, block: ResidualBlock) -> None:
        mixer = block.mixer
        self._words(KINDS.index(_kind(mixer)))
        self.norm(block.norm)
        if isinstance(mixer, DiagonalSSM):
            self._lti(mixer)
        elif isinstance(mixer, SelectiveSSM | MLSTM):
            self._attention(name, mixer)
        elif isinstance(mixer, SLSTM):
            self._slstm(mixer)
        elif isinstance(mixer, CausalTCN):
            self._tcn(mixer)
        self.linear(f"{name}'s mix", block.mix)

    def _lti(self, mixer: DiagonalSSM) -> None:
        """The gain of the input is moved to the readout: h / gain is what the engine keeps."""
        cos, sin, gain = (_values(x).T for x in mixer.rotation())
        real, imag = (_values(x).T * gain for x in mixer.readout)
        scale = np.float32(max(np.abs(real).max(), np.abs(imag).max()) / 32767.0) or np.float32(1)
        self._words(len(cos))
        for turn in (cos, sin):
            self._array(np.round(turn * 32768.0).clip(-32768, 32767).astype(np.int16))
        for readout in (real, imag):
            self._array(np.round(readout / scale).astype(np.int16))
        self._floats(float(scale))
        self._numbers(_values(mixer.skip))

    def _attention(self, name: str, mixer: SelectiveSSM | MLSTM[Any]) -> None:
        is_mlstm = isinstance(mixer, MLSTM)
        self._words(mixer.value_shape[0], mixer.widths[0])
        key_scale = cast("MLSTM[Any]", mixer).key_scale if is_mlstm else 1.0
        self._floats(mixer.max_decay, key_scale, MLSTM_MAX_LOGIT if is_mlstm else 0.0)
        self.linear(f"{name}'s projection", mixer.project)
        self._array(-_values(mixer.log_decay))
        self._numbers(_values(mixer.skip))

    def _slstm(self, mixer: SLSTM) -> None:
        self._words(mixer.head_shape[0])
        self._floats(mixer.max_decay, SLSTM_MAX_LOGIT, OUTPUT_SCALE)
        self._array(_values(mixer.weight))
        self._array(-_values(mixer.log_decay))
        self._numbers(_values(mixer.skip))

    def _tcn(self, mixer: CausalTCN) -> None:
        self._words(len(mixer.convs))
        for conv in cast("Sequence[DilatedConv]", mixer.convs):
            self._words(len(conv.weight), conv.dilation)
            self._array(_values(conv.weight))
            self._array(_values(conv.bias))
        self._numbers(_values(mixer.skip))

    def norm(self, norm: nn.BatchNorm1d) -> None:
        """A batch norm as scale and shift per channel."""
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        shift = norm.bias.double() - mean.double() * scale
        self._numbers(_values(scale))
        self._numbers(_values(shift))

    def linear(self, name: str, linear: nn.Linear) -> None:
        integers, scale = _exact_int8(name, _values(linear.weight))
        rows = _rows_of_8(integers)
        _check_sums(rows, name)
        self._array(rows)
        self._numbers(scale)
        self._numbers(_values(linear.bias))

    def _words(self, *values: int) -> None:
        self.pieces.append(np.array(values, "<u4").tobytes())

    def _floats(self, *values: float) -> None:
        self._array(np.array(values, np.float32))

    def _numbers(self, values: np.ndarray) -> None:
        self.pieces.append(numbers(values))

    def _array(self, values: NDArray[np.float32] | NDArray[np.int8] | NDArray[np.int16]) -> None:
        little = values.astype(values.dtype.newbyteorder("<"))
        self.pieces.append(padded(np.ascontiguousarray(little).tobytes()))


def _kind(mixer: SequenceMixer[Any]) -> str:
    if isinstance(mixer, MLSTM):
        return "mlstm-exponential" if isinstance(mixer, ExponentialMLSTM) else "mlstm-sigmoid"
    kinds = {DiagonalSSM: "lti", SelectiveSSM: "selective", SLSTM: "slstm", CausalTCN: "tcn"}
    for kind, name in kinds.items():
        if isinstance(mixer, kind):
            return name
    raise EdgeAudioError(
        f"the engine has no code for the mixer {type(mixer).__name__}: give it a file beside "
        "firmware_bridge/engine/src/mixers.c, and a writer in quantize/export/native.py, or name "
        "the other runtimes: --to litert --to onnx --to executorch"
    )


def _values(tensor: Tensor) -> FloatArray:
    return cast("FloatArray", tensor.detach().numpy())


def _rows_of_8(integers: NDArray[np.int8] | NDArray[np.int16]) -> np.ndarray:
    """Rows padded with zeros to a multiple of 8 columns."""
    return np.pad(integers, ((0, 0), (0, -integers.shape[1] % 8)))


def _int16_rows(weight: FloatArray) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Integers and their scale per row, as large as their sums allow; of scales down to half of
    that, the one that leaves least to rounding."""
    exact = weight.astype(float)
    largest = np.maximum(np.abs(exact).max(1), 1e-30)
    spread = np.abs(exact).sum(1) / largest  # of a row, in units of its largest weight
    # Rounding adds at most a half per weight.
    limit = np.minimum(32_767, (_MAX_ROW_SUM - weight.shape[1] / 2) / np.maximum(spread, 1.0))
    shares = np.linspace(1.0, 0.5, _N_SCALES)[:, None, None]
    scales = (largest / np.floor(limit))[None, :, None] / shares
    errors = np.square(np.round(exact / scales) * scales - exact).sum(2)
    scale = scales[errors.argmin(0), np.arange(len(weight)), 0]
    integers = np.round(exact / scale[:, None]).astype(np.int16)
    _check_sums(integers, "a convolution")
    return integers, scale


def _check_sums(integers: np.ndarray, name: str) -> None:
    if np.abs(integers.astype(np.int64)).sum(1).max() > _MAX_ROW_SUM:
        raise EdgeAudioError(f"{name} has rows whose sums overflow 32 bits: use fewer inputs")


def _exact_int8(name: str, weight: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
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
    integers: NDArray[np.int8], scale: FloatArray, weight: FloatArray
) -> NDArray[np.bool_]:
    """Whether each row is exact: bool[n_rows]."""
    return cast("NDArray[np.bool_]", (integers * scale[:, None] == weight).all(1))
