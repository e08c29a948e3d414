"""What cannot be exported for the engine is refused with the cure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from distill.students.sequence_mixer import SequenceMixer
from edge_audio.errors import EdgeAudioError
from quantize.graph.prepare import prepare
from quantize.graph.step import SampleStepGraph, StepGraph
from quantize.schemes import SCHEMES
from tests.quantize.native_export import HELD, MIXED, exported, fresh_graph, graph_of
from tests.support.student_zoo import CONFIGS, make_student


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - set(HELD)))
def test_a_scheme_without_code_in_the_engine_is_refused_with_the_cure(scheme: str) -> None:
    with pytest.raises(EdgeAudioError, match=r"weight-only, or export this one for LiteRT, ONNX"):
        exported(graph_of(MIXED), scheme)


def test_a_graph_that_is_fed_samples_is_refused_with_the_cure() -> None:
    with pytest.raises(EdgeAudioError, match="front end of its own: export the graph"):
        exported(SampleStepGraph(graph_of(MIXED)))


def test_weights_that_nobody_rounded_are_refused() -> None:
    with pytest.raises(EdgeAudioError, match="project is not rounded to int8: prepare it with"):
        exported(graph_of(MIXED, "float"))


def changed_config(**changes: Any) -> StepGraph:
    config = msgspec.structs.replace(CONFIGS["ssm-lti"], **changes)
    return prepare(make_student(config), SCHEMES["weight-only"])


def test_sizes_that_the_engine_has_no_code_for_are_refused() -> None:
    with pytest.raises(EdgeAudioError, match="needs a multiple of 8 channels: train such"):
        exported(changed_config(channels=12))
    stem = ((4, 2), (6, 2), (8, 1), (8, 2))
    with pytest.raises(EdgeAudioError, match=r"multiple of 4 channels, not so convolution 1"):
        exported(changed_config(stem=stem))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    "name",
    ["head.weight", "norm.running_mean", "blocks.0.mixer.skip", "stem.convs.1.layers.0.weight"],
)
def test_a_student_that_is_not_finite_is_refused(name: str, value: float) -> None:
    graph = fresh_graph()
    graph.student.state_dict()[name].view(-1)[3] = value
    with pytest.raises(EdgeAudioError, match="a weight of this student is not finite: train it"):
        exported(graph)


def test_a_student_with_attention_is_refused_with_the_runtimes_that_take_it() -> None:
    with pytest.raises(EdgeAudioError, match=r"mixer CausalAttention: .* --to litert --to onnx"):
        exported(graph_of("attention"))


def test_an_unknown_mixer_is_refused_by_name() -> None:
    class Silence(SequenceMixer[tuple[()]]):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            return 0.0 * u

        def step(self, u: torch.Tensor, state: tuple[()]) -> tuple[torch.Tensor, tuple[()]]:
            return 0.0 * u, ()

        def initial_state(self, batch_size: int) -> tuple[()]:
            return ()

    graph = fresh_graph()
    graph.student.blocks[0].mixer = Silence()
    with pytest.raises(
        EdgeAudioError, match=r"no code for the mixer Silence: give it a file .*mixers"
    ):
        exported(graph)
