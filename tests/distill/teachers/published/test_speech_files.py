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


def _tera(state: State, numbers: Numbers) -> Any:
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
