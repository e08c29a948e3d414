"""Our own encoders in the file formats of EAT and Audio-MAE: the same numbers by other names."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from distill.data.split import Split
from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.recipe import (
    EncoderConfig,
    ObjectiveConfig,
    PretrainRecipe,
    TrainingConfig,
)
from distill.runs.checkpoints import save_atomically
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.config import TeacherConfig
from distill.teachers.opening import open_teacher
from distill.teachers.published.teacher import PublishedTeacher
from distill.teachers.saving import NORM_EPS, Kind, fitted, main, saved
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.errors import UsageError
from edge_audio.features.frontend import log_mel
from tests.distill.workshop import sound

FRONTEND = FrontendSpec(n_mels=128, min_hz=20.0)
KINDS: tuple[Kind, ...] = ("eat", "audiomae")


def config_of(kind: Kind) -> EncoderConfig:
    post_norm = kind == "eat"
    return EncoderConfig(FRONTEND, dim=32, n_blocks=3, n_heads=2, post_norm=post_norm)


def random_encoder(config: EncoderConfig) -> PatchEncoder:
    torch.manual_seed(1)
    return PatchEncoder(config).eval().requires_grad_(False)


def bank_of(kind: Kind) -> ClipBank:
    return ClipBank(1024, -4.268, 4.569) if kind == "eat" else ClipBank(1024)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_encoder_gives_its_own_layers(tmp_path: Path, kind: Kind) -> None:
    encoder = random_encoder(config_of(kind))
    torch.save(saved(encoder, kind), tmp_path / "a.pt")
    given = {"num_heads": 2, "norm_eps": NORM_EPS}
    network = PublishedTeacher.load(kind, tmp_path / "a.pt", architecture=given).network
    theirs = torch.randn(2, 1024, 128, generator=torch.Generator().manual_seed(2))
    gain, offset = fitted(FRONTEND, bank_of(kind))
    ours = encoder(gain * theirs + offset)
    heard = network.encode(theirs[:, None]).hidden
    for mine, layer in zip(ours, heard[1:], strict=True):
        assert torch.allclose(mine, layer, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_front_ends_differ_by_a_small_part_of_what_sounds_do(kind: Kind) -> None:
    bank = bank_of(kind)
    gain, offset = fitted(FRONTEND, bank)
    for name in ("siren", "rain"):
        samples = sound(name, 32_000, np.random.default_rng(3)).astype(np.float32)
        ours = log_mel(FRONTEND, samples)
        theirs = gain * bank(torch.from_numpy(samples)[None])[0, : len(ours)] + offset
        apart = np.abs(ours - theirs.numpy())[ours > ours.max() - 1.0]  # what sounds
        assert apart.mean() < 0.025 * ours.std()


def test_the_command_prints_what_a_recipe_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of("eat")
    recipe = PretrainRecipe(
        name="own",
        seed=1,
        split=Split(("A",)),
        training=TrainingConfig(1),
        encoder=config,
        objective=ObjectiveConfig(n_target_blocks=2),
    )
    text = msgspec.json.encode(recipe).decode()
    state = random_encoder(config).state_dict()
    save_atomically({"recipe": text, "step": 1, "encoder": state}, tmp_path / "run.pt")
    main(str(tmp_path / "run.pt"), "eat", str(tmp_path / "own.pt"))
    (told,) = msgspec.toml.decode(capsys.readouterr().out)["teachers"]
    teacher = open_teacher(msgspec.convert(told, TeacherConfig), tmp_path)
    assert teacher.name == "own"
    assert [layer.dim for layer in teacher.layers] == [32, 32, 32]
    with pytest.raises(UsageError, match="encoders are saved as eat or audiomae"):
        main(str(tmp_path / "run.pt"), "beats", str(tmp_path / "own.pt"))


@pytest.mark.parametrize(
    ("kind", "config", "advice"),
    [
        ("eat", EncoderConfig(post_norm=True), r"over 64 from 50 Hz on: pre-train with .*128"),
        ("eat", config_of("audiomae"), "post_norm = true"),
        ("audiomae", config_of("eat"), "post_norm = false"),
    ],
)
def test_an_encoder_of_another_shape_is_told_what_to_change(
    kind: Kind, config: EncoderConfig, advice: str
) -> None:
    with pytest.raises(UsageError, match=advice):
        saved(random_encoder(config), kind)
