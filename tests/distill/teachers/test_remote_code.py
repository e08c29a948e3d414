"""Hugging Face teachers that come with their own code, which runs only if it is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="needs the teachers extra")

from safetensors.torch import load_file, save_file

from distill.teachers.config import TransformersConfig
from distill.teachers.opening import open_teacher
from edge_audio.errors import UsageError
from tests.distill.small_transformers import load, noise

REMOTE_CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class EarConfig(PretrainedConfig):
    model_type = "ear"

class EarModel(PreTrainedModel):
    config_class = EarConfig

    def __init__(self, config):
        super().__init__(config)
        self.conv = torch.nn.Conv1d(1, 8, 640, 320, 160)
        self.deep = torch.nn.Linear(8, 8)
        self.post_init()

    def forward(self, audio):
        audio = audio[:, None, :LIMIT]
        first = self.conv(audio).transpose(1, 2)
        return STATES
"""
ALL_STATES = '{"x": first, "hidden_states": [first, first + self.deep(first)]}'


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a model that comes with its own code, in which the arguments replace LIMIT, STATES."""
    import transformers.dynamic_module_utils as modules

    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")

    def make(limit: str = "None", states: str = ALL_STATES) -> Path:
        folder = tmp_path / f"ear_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "ear.py").write_text(
            REMOTE_CODE.replace("LIMIT", limit).replace("STATES", states)
        )
        auto_map = {"AutoConfig": "ear.EarConfig", "AutoModel": "ear.EarModel"}
        config = {"model_type": "ear", "auto_map": auto_map, "architectures": ["EarModel"]}
        (folder / "config.json").write_text(json.dumps(config))
        generator = torch.Generator().manual_seed(0)
        shapes = {
            "conv.weight": (8, 1, 640),
            "conv.bias": (8,),
            "deep.weight": (8, 8),
            "deep.bias": (8,),
        }
        weights = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def test_a_model_with_its_own_code_runs_only_if_it_is_trusted(
    remote: Callable[..., Path],
) -> None:
    folder = remote()
    config = TransformersConfig(model=str(folder), layers=(0, 1))
    with pytest.raises(UsageError, match=r"trust_remote_code = true .* --trust-remote-code"):
        open_teacher(config, folder)
    teacher = load(folder, 0, 1, trust_remote_code=True)
    assert [layer.hop_s for layer in teacher.layers] == [0.02, 0.02]
    assert teacher.layers[0].offset_s == pytest.approx(159.5 / 16_000, abs=1e-4)
    samples = torch.from_numpy(noise(32_000, 0))[None]
    weights = load_file(folder / "model.safetensors")
    expected = torch.nn.functional.conv1d(
        samples[:, None], weights["conv.weight"], weights["conv.bias"], 320, 160
    )
    torch.testing.assert_close(teacher(samples).hidden[0], expected.transpose(1, 2))


def test_a_model_whose_frames_do_not_follow_the_clip_is_refused(
    remote: Callable[..., Path],
) -> None:
    with pytest.raises(UsageError, match=r"only a model whose hidden states .* can be timed"):
        load(remote("16000"), 0, trust_remote_code=True)


def test_a_model_may_return_one_hidden_state_but_not_none(remote: Callable[..., Path]) -> None:
    single = remote(states='{"hidden_states": first}')
    teacher = load(single, 0, trust_remote_code=True)
    assert teacher(torch.zeros(1, 16_000)).hidden[0].shape == (1, 50, 8)
    with pytest.raises(UsageError, match="returns no `hidden_states`"):
        load(remote(states="first"), 0, trust_remote_code=True)
