"""The graph that is exported: one streaming step with every tensor named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from distill.students.state import flatten, names, unflatten
from distill.students.student import Student
from edge_audio.backends.base import silence
from edge_audio.bundle.spec import DType, ModelSpec, TensorSpec
from edge_audio.features.frontend import hann_window, mel_weights
from quantize.graph.layers import StateRounding

TORCH_DTYPES = {"float32": torch.float32, "int16": torch.int16, "int8": torch.int8}


class StepGraph(nn.Module):
    """frames and state by name -> {"scores": ..., state name + "_next": ..., "embedding": ...}."""

    def __init__(
        self,
        student: Student,
        state_dtype: DType = "float32",
        roundings: Mapping[str, StateRounding] | None = None,
    ) -> None:
        """roundings: state name -> how it is kept, where state_dtype is not float32."""
        super().__init__()
        self.student = student
        self.state_dtype = state_dtype
        self.roundings = nn.ModuleDict(dict(roundings or {}))
        self.eval()
        self.requires_grad_(False)
        self.student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._blank = student.initial_state()
        self._names = names(self._blank)

    @property
    def spec(self) -> ModelSpec:
        """Names, shapes and latency of the graph."""
        spec = self.student.model_spec()
        state = (msgspec.structs.replace(t, dtype=self.state_dtype) for t in spec.state)
        return msgspec.structs.replace(spec, state=tuple(state))

    def forward(self, frames: Tensor, **state: Tensor) -> dict[str, Tensor]:
        values = [self._read(name, state[name]) for name in self._names]
        output, next_state = self.student.step(frames, unflatten(self._blank, values))
        named = zip(self._names, flatten(next_state), strict=True)
        return {
            "scores": torch.sigmoid(output.logits),
            **{f"{name}_next": self._keep(name, value) for name, value in named},
            "embedding": output.embedding,
        }

    def _read(self, name: str, value: Tensor) -> Tensor:
        return self._rounding(name).read(value) if self.roundings else value

    def _keep(self, name: str, value: Tensor) -> Tensor:
        return self._rounding(name).keep(value) if self.roundings else value

    def _rounding(self, name: str) -> StateRounding:
        return cast("StateRounding", self.roundings[name])


class SampleStepGraph(StepGraph):
    """The same step with the log-mel front end inside: `samples` [1, step_samples] in, and the
    last samples, which the next step's first windows need, as a state `overlap`.

    The Fourier transform is a convolution with its matrix, which every runtime has.
    """

    def __init__(self, graph: StepGraph) -> None:
        super().__init__(graph.student, graph.state_dtype)
        self.roundings = graph.roundings
        front = self.student.config.frontend
        window = hann_window(front.window_samples)
        bins, samples = np.arange(front.fft_size // 2 + 1), np.arange(front.window_samples)
        angles = np.outer(bins, samples) * (2.0 * np.pi / front.fft_size)
        fourier = np.concatenate([np.cos(angles), np.sin(angles)]) * window
        mels = np.tile(mel_weights(front).T, (1, 2))  # of the squares of both parts alike
        # As kernels [out, in, taps]: exporters store the matrices of plain products as int8.
        self.register_buffer("fourier", torch.from_numpy(fourier.astype(np.float32)).unsqueeze(1))
        self.register_buffer("mels", torch.from_numpy(mels).unsqueeze(2))

    @property
    def spec(self) -> ModelSpec:
        spec = super().spec
        shape = (1, spec.step_samples)
        overlap = TensorSpec(name="overlap", shape=(1, spec.frontend.overlap_samples))
        return msgspec.structs.replace(
            spec,
            input="samples",
            frames=TensorSpec(name="samples", shape=shape),
            state=(overlap, *spec.state),
        )

    def forward(  # type: ignore[override]  # the input has another name
        self, samples: Tensor, **state: Tensor
    ) -> dict[str, Tensor]:
        heard = torch.cat([state.pop("overlap"), samples], dim=1)
        outputs = super().forward(self._log_mel(heard), **state)
        front = self.student.config.frontend
        overlap = heard[:, heard.shape[1] - front.overlap_samples :]
        return {"scores": outputs.pop("scores"), "overlap_next": overlap, **outputs}

    def _log_mel(self, heard: Tensor) -> Tensor:
        """[1, overlap + step] -> [1, frames_per_step, n_mels]."""
        front = self.student.config.frontend
        samples = heard.reshape(1, 1, heard.shape[1])
        spectrum = conv1d(samples, cast("Tensor", self.fourier), stride=front.hop_samples)
        power = conv1d(spectrum * spectrum, cast("Tensor", self.mels))
        frames = (torch.log(power + front.log_floor) - front.log_mean) / front.log_scale
        return frames.transpose(1, 2)


def initial_state(graph: StepGraph) -> dict[str, Tensor]:
    """The state at the start of a stream, by name: what `quiet_steps` of silence leave of zeros."""
    spec = graph.spec
    _, *zeros = zero_inputs(spec).items()
    state, quiet = dict(zeros), torch.from_numpy(silence(spec))
    with torch.inference_mode():
        for _ in range(spec.quiet_steps):
            outputs = graph(quiet, **state)
            state = {name: outputs[f"{name}_next"] for name in state}
    return state


def zero_inputs(spec: ModelSpec) -> dict[str, Tensor]:
    """Zeros for all inputs, by name."""
    return {
        tensor.name: torch.zeros(tensor.shape, dtype=TORCH_DTYPES[tensor.dtype])
        for tensor in (spec.frames, *spec.state)
    }
