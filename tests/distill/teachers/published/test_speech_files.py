"""Files of fairseq and s3prl: where their weights stand, and what they tell of the architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distill.teachers.parity import architecture_of
from distill.teachers.published.teacher import PublishedTeacher
from tests.support.parity import COMMITTED, golden_network, golden_state, golden_waveform

State = dict[str, Tensor]
Numbers = dict[str, Any]


def _tera(state: State, numbers: Numbers) -> dict[str, Any]:
    start = "Transformer."
    transformer = {key[len(start) :]: value for key, value in state.items() if start in key}
    return {"Transformer": transformer, "Config": numbers, "Global_step": 3}


FILES: dict[str, Callable[[State, Numbers], Any]] = {
    "wavlm": lambda state, numbers: {"cfg": numbers, "model": state},
    "data2vec": lambda state, numbers: {
        "cfg": {"model": numbers, "task": {"normalize": numbers["normalize"]}},
        "model": {**state, "_ema": {"a": torch.ones(1)}},
    },
    "mr_hubert": lambda state, numbers: {
        "model_cfg": numbers,
        "task_cfg": {"normalize": False},
        "model_weight": state,
        "dictionaries_symbols": [["a"]],
    },
    "distilhubert": lambda state, numbers: {"Distiller": state, "Config": {"distiller": numbers}},
    "tera": _tera,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_says_all_of_itself(tmp_path: Path, kind: str) -> None:
    numbers = architecture_of(COMMITTED / kind / "golden.npz")
    torch.save(FILES[kind](golden_state(kind), numbers), tmp_path / "a.pt")
    teacher = PublishedTeacher.load(kind, tmp_path / "a.pt")
    waveform = golden_waveform(kind)
    ours, theirs = teacher.network(waveform), golden_network(kind)(waveform)
    assert torch.equal(ours.hidden[-1], theirs.hidden[-1])


def test_settings_of_the_task_are_heard_beside_those_of_the_model(tmp_path: Path) -> None:
    """As s3prl writes fairseq's files, of which large ones normalise each clip."""
    numbers = architecture_of(COMMITTED / "mr_hubert" / "golden.npz")
    content = FILES["mr_hubert"](golden_state("mr_hubert"), numbers)
    content["model_cfg"] = {k: v for k, v in numbers.items() if k != "normalize"}
    content["task_cfg"] = {"normalize": True}
    torch.save(content, tmp_path / "a.pt")
    network: Any = PublishedTeacher.load("mr_hubert", tmp_path / "a.pt").network
    assert network.normalises


def test_the_settings_of_the_upstream_are_not_those_of_its_training(tmp_path: Path) -> None:
    numbers = architecture_of(COMMITTED / "tera" / "golden.npz")
    numbers |= {"task": {"sequence_length": 3000}}
    content = _tera(golden_state("tera"), numbers)
    content |= {"Config": {"runner": {"gradient_clipping": 5.0}}, "Upstream_Config": numbers}
    torch.save(content, tmp_path / "a.pt")
    network: Any = PublishedTeacher.load("tera", tmp_path / "a.pt").network
    assert network.max_frames == 3000
