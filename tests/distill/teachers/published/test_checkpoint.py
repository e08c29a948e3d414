"""Files as their authors publish them: wrappers, prefixes, configurations, and what is refused."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from distill.data.labels import LABELS_NAME
from distill.teachers.config import TeacherConfig
from distill.teachers.opening import open_teacher, teacher_fingerprint
from distill.teachers.parity import architecture_of
from distill.teachers.published.checkpoint import read_checkpoint
from distill.teachers.published.registry import kinds, system_of
from distill.teachers.published.teacher import PublishedTeacher
from edge_audio.errors import UsageError
from tests.support.parity import COMMITTED, golden_network, golden_state, golden_waveform

State = dict[str, Tensor]
ENTRIES = ("model", "state_dict")


def architecture(kind: str) -> dict[str, Any]:
    return architecture_of(COMMITTED / kind / "golden.npz")


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def check_loads(kind: str, path: Path, given: Mapping[str, Any] | None = None) -> PublishedTeacher:
    """The file gives the golden's hidden layers."""
    teacher = PublishedTeacher.load(kind, path, architecture=given or architecture(kind))
    waveform = golden_waveform(kind)
    ours, theirs = teacher.network(waveform), golden_network(kind)(waveform)
    assert torch.equal(ours.hidden[-1], theirs.hidden[-1])
    return teacher


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def averaged(state: State, prefix: str) -> State:
    """Copies of other weights."""
    return prefixed({key: torch.zeros_like(value) for key, value in state.items()}, prefix)


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "pytorch-lightning_version": "2.1"},
    "named otherwise": lambda state: {"weights": state, "epoch": 3},
    "nested": lambda state: {"state_dict": {"model": state}},
    "prefix": lambda state: prefixed(state, "module."),
    "long prefix": lambda state: {"model": prefixed(state, "net.encoder.")},
    "with an optimiser": lambda state: {"model": state, "optimizer": {"state": {0: {"step": 1}}}},
    "compiled": lambda state: {"state_dict": prefixed(state, "model._orig_mod.")},
    "averaged among them": lambda state: {
        "state_dict": {**prefixed(state, "model."), **averaged(state, "ema_model.")}
    },
    "averaged beside": lambda state: {"model": {**state, "_ema": {"a": torch.ones(1)}}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ["audiomae", "dasheng", "eat", "tera", "aum", "wavlm", "muq"])
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, kind: str, wrapper: str) -> None:
    check_loads(kind, save(tmp_path / "a.pt", WRAPPERS[wrapper](golden_state(kind))))


def test_safetensors_and_the_oldest_format_of_torch_load(tmp_path: Path) -> None:
    save_file(golden_state("ast"), tmp_path / "a.safetensors")
    check_loads("ast", tmp_path / "a.safetensors")
    torch.save(golden_state("ast"), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    check_loads("ast", tmp_path / "a.pth")


def test_beats_takes_architecture_and_labels_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{index},/m/{index},Sound {index}" for index in range(527)]
    (tmp_path / LABELS_NAME).write_text("\n".join(["index,mid,display_name", *lines]))
    monkeypatch.setenv("EDGE_AUDIO_PEERS", str(tmp_path))
    labels = {index: f"/m/{500 - index}" for index in range(10)}
    content = {"cfg": architecture("beats"), "model": golden_state("beats"), "label_dict": labels}
    save(tmp_path / "BEATs_iter3.pt", content)
    config = msgspec.convert({"kind": "beats", "checkpoint": "BEATs_iter3.pt"}, TeacherConfig)
    teacher = open_teacher(config, tmp_path)
    assert teacher.name == "BEATs_iter3"
    assert teacher.labels == tuple(f"Sound {500 - index}" for index in range(10))
    before = teacher_fingerprint(config, tmp_path)
    save(tmp_path / "BEATs_iter3.pt", {**content, "label_dict": {**labels, 0: "/m/1"}})
    os.utime(tmp_path / "BEATs_iter3.pt", (1, 1))
    assert teacher_fingerprint(config, tmp_path) != before


@pytest.mark.parametrize(
    ("kind", "classifier", "instead"),
    [
        ("audiomae", ("fc_norm", "head"), ("norm.weight", "norm.bias")),
        ("eat", ("fc_norm", "head"), ()),
        ("beats", ("predictor",), ()),
        ("ssast", ("finetuned.mlp_head",), ()),
        ("ced", ("outputlayer",), ()),
    ],
)
def test_a_pretrained_file_is_its_finetuned_one_without_classifier(
    tmp_path: Path, kind: str, classifier: tuple[str, ...], instead: tuple[str, ...]
) -> None:
    state = {k: v for k, v in golden_state(kind).items() if not k.startswith(classifier)}
    state |= {key: torch.ones(32) for key in instead}
    teacher = check_loads(kind, save(tmp_path / "a.pt", {"model": state}))
    assert teacher(golden_waveform(kind)).clip_logits is None


def test_openbeats_is_beats_with_helpers_and_a_prefix(tmp_path: Path) -> None:
    extras = {"encoder.patch_embedding_pad.weight": torch.ones(1, 1, 1, 1)}
    state = {**prefixed(golden_state("beats"), "encoder."), **extras}
    check_loads("beats", save(tmp_path / "a.pth", state))


def test_atst_takes_the_teacher_of_a_lightning_file(tmp_path: Path) -> None:
    state = golden_state("atst_frame")
    student = {
        key.replace("teacher", "student"): torch.zeros_like(value) for key, value in state.items()
    }
    projector = {"model.teacher.projector.0.weight": torch.ones(2, 2)}
    content = {"state_dict": {**student, **projector, **state}, "hyper_parameters": {"arch": "x"}}
    check_loads("atst_frame", save(tmp_path / "a.ckpt", content))


@pytest.fixture
def foreign_module() -> Iterator[Any]:
    """A library that saved files, and that readers do not have."""
    name = "omegaconf_of_another"
    module: Any = ModuleType(name)

    class DictConfig:
        def __init__(self, **content: Any) -> None:
            self.__dict__["_content"] = content

    DictConfig.__module__, DictConfig.__qualname__ = name, "DictConfig"
    module.DictConfig = DictConfig
    sys.modules[name] = module
    yield module
    sys.modules.pop(name, None)


def test_objects_of_other_libraries_are_read_without_these(
    tmp_path: Path, foreign_module: Any
) -> None:
    """As fairseq saves them: its settings are told, its averaged weights left out."""
    settings = foreign_module.DictConfig(**architecture("beats"))
    content = {
        "cfg": {"model": 1, **vars(settings)["_content"]},
        "settings": settings,
        "args": argparse.Namespace(lr=0.1),
        "model": golden_state("beats"),
    }
    path = save(tmp_path / "a.pt", content)
    del sys.modules["omegaconf_of_another"]
    read = read_checkpoint(path, ENTRIES)
    assert read.entries["settings"] == architecture("beats")
    assert read.entries["args"] == {"lr": 0.1}
    PublishedTeacher.load("beats", path)


def test_a_file_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "made"),)

    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"model": {"a": 1}, "b": Evil()}))
    with pytest.raises(UsageError, match="no checkpoint that can be read without its code"):
        read_checkpoint(path, ENTRIES)
    torch.save({"model": golden_state("ast"), "b": Evil()}, path)
    with pytest.raises(UsageError, match="no checkpoint that can be read without its code"):
        read_checkpoint(path, ENTRIES)
    assert not (tmp_path / "made").exists()


KEY = "modality_encoders.IMAGE.context_encoder.norm.bias"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("model.blocks.1.attn.qkv.bias"), "model.blocks.1.attn.qkv.bias"),
        (lambda state: state.pop(f"model.{KEY}"), f"lacks model.{KEY}"),
        (lambda state: state.update({"model.novelty": torch.ones(1)}), "has model.novelty"),
        (
            lambda state: state.update({"model.blocks.2.norm1.bias": torch.ones(3)}),
            r"model.blocks.2.norm1.bias is \(3,\) instead of \(32,\)",
        ),
    ],
)
def test_keys_that_do_not_fit_are_named_as_in_the_file(
    tmp_path: Path, change: Callable[[State], Any], named: str
) -> None:
    state = golden_state("eat")
    change(state)
    with pytest.raises(UsageError, match=named):
        check_loads("eat", save(tmp_path / "a.pt", {"model": state}))


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "beats"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.pt", {"model": golden_state("beats")})
    with pytest.raises(UsageError, match=r"a\.pt lacks "):
        PublishedTeacher.load(kind, path)


@pytest.mark.parametrize("kind", kinds())
def test_what_tells_of_the_architecture_is_named_where_it_is_missing(
    tmp_path: Path, kind: str
) -> None:
    anchor = system_of(kind).anchor
    state = {key: value for key, value in golden_state(kind).items() if not key.endswith(anchor)}
    with pytest.raises(UsageError, match=re.escape(f"lacks {anchor}")):
        check_loads(kind, save(tmp_path / "a.pt", state))


def test_files_that_are_no_checkpoints_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing"):
        read_checkpoint(tmp_path / "none.pt", ENTRIES)
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(UsageError, match="no checkpoint"):
            read_checkpoint(tmp_path / name, ENTRIES)
    with pytest.raises(UsageError, match="holds no weights under model, state_dict: it has a, b"):
        read_checkpoint(save(tmp_path / "b.pt", {"a": 1, "b": "text"}), ENTRIES)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("tera", "Transformer.input_representations.spec_transform.bias"),
        ("omar_rq", "net.layers.2.ff1.module.4.weight"),
        ("aum", "module.layers.2.mixer.A_log"),
        ("wavjepa", "encoder.layers.2.self_attn.in_proj_weight"),
        ("aum", "module.cls_token"),
        ("aum", "module.pos_embed.pos_embed"),
        ("eat", "model.modality_encoders.IMAGE.extra_tokens"),
        ("omar_rq", "net.layers.0.attention.rotary_emb.freqs"),
        ("k2ssl", "encoder.encoders.0.layers.0.feed_forward1.in_proj.weight"),
        ("k2ssl", "encoder.encoders.1.encoder.layers.0.feed_forward1.in_proj.weight"),
        ("zipformer", "encoder.encoders.0.layers.0.self_attn1.in_proj.bias"),
        ("ssamba", "module.v.layers.2.mixer.in_proj.weight"),
        ("ssamba", "module.v.layers.0.mixer.D_b"),
    ],
)
def test_keys_are_named_as_in_the_file_whatever_we_call_them(
    tmp_path: Path, kind: str, key: str
) -> None:
    state = golden_state(kind)
    state[f"{key}.novelty"] = torch.ones(1)
    with pytest.raises(UsageError, match=f" has {re.escape(key)}.novelty, "):
        check_loads(kind, save(tmp_path / "a.pt", state))
    del state[f"{key}.novelty"], state[key]
    with pytest.raises(UsageError, match=f" lacks {re.escape(key)}: "):
        check_loads(kind, save(tmp_path / "a.pt", state))


def test_a_key_outside_a_wrapper_is_named_without_it(tmp_path: Path) -> None:
    state = {**golden_state("eat"), "head.novelty": torch.ones(1)}
    with pytest.raises(UsageError, match=r" has head\.novelty, "):
        check_loads("eat", save(tmp_path / "a.pt", state))


@pytest.mark.parametrize("wrapper", ["", "module.", "net.encoder."])
def test_missing_keys_are_named_as_in_the_file_behind_any_wrapper(
    tmp_path: Path, wrapper: str
) -> None:
    state, key = golden_state("zipformer"), "encoder.encoders.0.layers.0.norm.bias"
    del state[key]
    path = save(tmp_path / "a.pt", prefixed(state, wrapper))
    with pytest.raises(UsageError, match=f" lacks {re.escape(wrapper + key)}: "):
        check_loads("zipformer", path)


def test_a_head_whose_outputs_nobody_names_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "a.pt", golden_state("ast"))
    assert check_loads("ast", path).labels == ()
    (said,) = caplog.messages
    assert said.startswith(f"{path}: its head has ")
    assert "teaches layers alone" in said
    caplog.clear()
    check_loads("tera", save(tmp_path / "b.pt", golden_state("tera")))  # which has no head
    assert not caplog.messages


@pytest.mark.parametrize("kind", kinds())
def test_every_network_with_clip_logits_says_how_many(kind: str) -> None:
    network = golden_network(kind)
    logits = network(golden_waveform(kind)).clip_logits
    assert getattr(network, "n_labels", 0) == (0 if logits is None else logits.shape[1])
