"""Students learn the hidden layers of published teachers, layer to layer: of networks of a middle
size with random weights, whose layers tell sounds apart all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from distill.mixing.mixtures import Mixture
from distill.pretraining.pretrain import load_encoder, pretrain
from distill.pretraining.recipe import EncoderConfig, PretrainRecipe
from distill.runs.toml import read_toml
from distill.students.student import Student
from distill.teachers.published.registry import system_of
from distill.teachers.published.teacher import PublishedTeacher
from distill.teachers.saving import NORM_EPS, Kind, saved
from distill.training.objective import Objective
from distill.training.recipe import LossConfig
from distill.training.targets import TargetMaker, TeacherInfo
from edge_audio.bundle.spec import FrontendSpec
from tests.distill.workshop import TINY_STUDENT, make_data, sound
from tests.support.paths import REPOSITORY

RECIPES = REPOSITORY / "distill" / "recipes"
N_STEPS, N_MIXTURES, BATCH_SIZE, N_SAMPLES = 200, 32, 8, 20_480
KINDS = ("siren", "rain", "clock_tick")

_VIT = {"embed_dim": 96, "depth": 4, "num_heads": 4}
MIDDLE: dict[str, dict[str, Any]] = {
    "beats": {
        "embed_dim": 64,
        "encoder_embed_dim": 96,
        "encoder_layers": 4,
        "encoder_attention_heads": 4,
        "encoder_ffn_embed_dim": 192,
        "conv_pos": 32,
    },
    "eat": {**_VIT, "target_length": 128, "num_classes": None},
    "atst_frame": _VIT,
    "audiomae": {**_VIT, "target_length": 128, "num_classes": None},
    "dasheng": _VIT,
    "aum": {
        "embed_dim": 96,
        "depth": 4,
        "spectrogram_size": [128, 128],
        "num_classes": 0,
        "ssm_cfg": {"d_state": 4},
    },
}


class Sounds:
    """Mixtures of one sound each, by their seed."""

    def draw(self, seed: Sequence[int]) -> Mixture:
        kind = KINDS[seed[-1] % len(KINDS)]
        samples = sound(kind, N_SAMPLES, np.random.default_rng(list(seed)))
        return Mixture(samples.astype(np.float32), (), ())


def random_teacher(kind: str) -> PublishedTeacher:
    system = system_of(kind)
    torch.manual_seed(1)
    network = system.build({**system.defaults, **MIDDLE[kind]})
    for parameter in network.parameters():
        if not parameter.any():  # what checkpoints fill
            nn.init.normal_(parameter, std=0.02)
    return PublishedTeacher(kind, network.requires_grad_(False).eval(), (), None)


def own_encoder(kind: Kind, folder: Path) -> PublishedTeacher:
    """Of `edge-audio pretrain`, a few steps of it, saved in another system's format."""
    frontend = FrontendSpec(n_mels=128, min_hz=20.0)
    config = EncoderConfig(frontend, dim=96, n_blocks=4, post_norm=kind == "eat")
    recipe = read_toml(RECIPES / "pretrain_smoke.toml", PretrainRecipe)
    recipe = msgspec.structs.replace(recipe, encoder=config)
    encoder, _ = load_encoder(pretrain(recipe, folder))
    n_columns = 8
    torch.save(saved(encoder, kind, n_columns), folder / f"own-{kind}.pt")
    given = {"num_heads": config.n_heads, "norm_eps": NORM_EPS, "target_length": 16 * n_columns}
    return PublishedTeacher.load(kind, folder / f"own-{kind}.pt", architecture=given)


def layer_losses(teachers: Sequence[PublishedTeacher]) -> Iterator[float]:
    """Of every step of a training."""
    maker = TargetMaker(Sounds(), teachers, TINY_STUDENT.frontend, 1, N_MIXTURES)
    targets = maker.batch(np.arange(N_MIXTURES))
    infos = [TeacherInfo.of(teacher) for teacher in teachers]
    torch.manual_seed(2)
    student = Student(TINY_STUDENT)
    config = LossConfig(clip=0.0, frame=0.0, n_layers=2)
    objective = Objective(student, config, infos, ["Siren"], targets)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    rng = np.random.default_rng(3)
    for _ in range(N_STEPS):
        chosen = rng.choice(N_MIXTURES, BATCH_SIZE, replace=False)
        batch = {
            field: torch.from_numpy(targets[field][chosen]).float() for field in objective.fields
        }
        (loss,) = objective(batch).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield float(loss.detach())


@pytest.mark.parametrize("kinds", [*((kind,) for kind in MIDDLE), ("beats", "aum")], ids="-".join)
def test_two_hundred_steps_lower_the_layer_loss(kinds: Sequence[str]) -> None:
    losses = list(layer_losses([random_teacher(kind) for kind in kinds]))
    first, last = np.mean(losses[:10]), np.mean(losses[-10:])
    assert last < 0.8 * first


@pytest.mark.parametrize("kind", ["eat", "audiomae"])
def test_our_own_encoder_teaches_in_the_format_of_another(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(tmp_path / "data")
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    losses = list(layer_losses([own_encoder(kind, tmp_path)]))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
