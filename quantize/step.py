"""The graph that is exported: one streaming step with every tensor named."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.students.tagger import Student
from edge_audio.spec import ModelSpec


class StepGraph(nn.Module):
    """frames and state by name -> {"scores": ..., state name + "_next": ...}."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.eval()
        self.student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    @property
    def spec(self) -> ModelSpec:
        """Names, shapes and latency of the graph."""
        return self.student.model_spec()

    def forward(self, frames: Tensor, **state: Tensor) -> dict[str, Tensor]:
        output, next_state = self.student.step(frames, tuple(state.values()))
        named = zip(state, next_state, strict=True)
        return {
            "scores": torch.sigmoid(output.logits),
            **{f"{name}_next": value for name, value in named},
        }


def zero_inputs(spec: ModelSpec) -> dict[str, Tensor]:
    """The inputs at the start of a stream, by name."""
    return {tensor.name: torch.zeros(tensor.shape) for tensor in (spec.frames, *spec.state)}
