"""What a Hugging Face teacher refuses, with what to do: clips that are too long, layers that
are not there, damaged weights, folders that hold no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the teachers extra")

from safetensors.torch import load_file, save_file

from distill.teachers.huggingface import TransformersTeacher
from edge_audio.errors import UsageError
from tests.distill.small_transformers import N_STATES, load, save_small, small_models


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return small_models(tmp_path_factory)


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_a_clip_longer_than_the_model_hears_is_refused(
    name: str, small: Callable[[str], Path]
) -> None:
    teacher = load(small(name))
    with pytest.raises(UsageError, match=r"hears at most 2\.\d+ s at once, not 3\.00 s"):
        teacher(torch.zeros(1, 3 * teacher.sample_rate_hz))


@pytest.mark.parametrize("layers", [(4,), (-1,), (2, 1), (1, 1)])
def test_layers_that_are_not_there_or_do_not_rise_are_refused(
    layers: tuple[int, ...], small: Callable[[str], Path]
) -> None:
    with pytest.raises(UsageError, match=r"layers \[.*\]: rising numbers of 0-3"):
        load(small("hubert"), *layers)


def damage(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_missing_and_misshapen_weights_are_refused_by_name(tmp_path: Path) -> None:
    key = "encoder.layers.1.attention.k_proj.bias"
    folder = damage(save_small(tmp_path, "hubert"), lambda weights: weights.pop(key))
    with pytest.raises(UsageError, match=f"1 weights are missing .* {key}: fetch"):
        load(folder)
    damage(folder, lambda weights: weights.update({key: torch.zeros(3)}))
    with pytest.raises(UsageError, match=f"another shape, such as {key}"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(UsageError, match=f"teacher {folder}: "):
        load(folder)


def test_the_mask_embedding_of_pretraining_may_be_missing(tmp_path: Path) -> None:
    folder = damage(
        save_small(tmp_path, "hubert"), lambda weights: weights.pop("masked_spec_embed")
    )
    assert len(load(folder).layers) == N_STATES


def test_what_cannot_be_loaded_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = save_small(tmp_path / "hubert", "hubert")
    (folder / "preprocessor_config.json").unlink()
    for model, reason in [
        (str(tmp_path / "none"), "there is no such folder, and as a hub id: "),
        ("nobody/no-such-model", "there is no such folder, and as a hub id: "),
        (str(tmp_path), "model_type"),
        (str(folder), "feature extractor"),
    ]:
        with pytest.raises(UsageError, match=rf"teacher {model}: .*{reason}.* save_pretrained"):
            TransformersTeacher.load(model, (0,))
