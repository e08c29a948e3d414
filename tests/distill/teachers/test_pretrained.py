"""A pretrained encoder as a teacher, the probe that scores it, and the command around both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from distill.cli.pretrain import pretrain
from distill.data.split import Split
from distill.evaluation.probe import probe, probed_blocks, to_table
from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.recipe import (
    EncoderConfig,
    ObjectiveConfig,
    PretrainRecipe,
    TrainingConfig,
)
from distill.runs.checkpoints import CHECKPOINT_NAME, save_atomically
from distill.teachers.config import SelfSupervisedConfig
from distill.teachers.opening import open_teacher
from distill.teachers.pretrained import SelfSupervisedTeacher
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill import workshop
from tests.support.paths import REPOSITORY

SMOKE = REPOSITORY / "distill" / "recipes" / "pretrain_smoke.toml"
RECIPE = PretrainRecipe(
    name="ssl-v1.0",
    seed=5,
    split=Split(tiers=("A",), hold_out_esc=True),
    training=TrainingConfig(n_steps=1),
    encoder=EncoderConfig(patch_frames=8, dim=16, n_blocks=4, n_heads=2),
    objective=ObjectiveConfig(n_target_blocks=2),
)


def save_encoder(path: Path, recipe: PretrainRecipe = RECIPE) -> Path:
    """A checkpoint of an encoder with random weights."""
    torch.manual_seed(1)
    encoder = PatchEncoder(recipe.encoder).state_dict()
    text = msgspec.json.encode(recipe).decode()
    save_atomically({"recipe": text, "step": 1, "encoder": encoder}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("ssl") / CHECKPOINT_NAME)


@pytest.fixture
def teacher(checkpoint: Path) -> SelfSupervisedTeacher:
    return SelfSupervisedTeacher.load(checkpoint, (1, 4))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The miniature workshop's data, to which the environment points."""
    folder = tmp_path_factory.mktemp("data")
    workshop.make_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AUDIO_DATA", str(folder))
        yield folder


def noise(n_rows: int, n_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(n_rows, n_samples, generator=torch.Generator().manual_seed(2))


def test_teacher_describes_its_layers(checkpoint: Path, teacher: SelfSupervisedTeacher) -> None:
    assert isinstance(
        open_teacher(SelfSupervisedConfig(checkpoint=str(checkpoint), layers=(2,)), Path()),
        SelfSupervisedTeacher,
    )
    assert (teacher.name, teacher.sample_rate_hz, teacher.labels) == ("ssl-v1_0", 16_000, ())
    assert teacher.label_frames is None
    output = teacher(noise(2, 16_000))
    assert output.clip_logits is None
    assert output.frame_logits is None
    for layer, hidden in zip(teacher.layers, output.hidden, strict=True):
        assert hidden.shape == (2, 13, layer.dim)
        assert layer.dim == 4 * 16
        assert not hidden.requires_grad
    assert [layer.name for layer in teacher.layers] == ["block 1", "block 4"]


@pytest.mark.parametrize("patch_frames", [8, 16])
def test_burst_is_felt_where_the_layer_says_it_is(tmp_path: Path, patch_frames: int) -> None:
    """A click at each of many times moves the frame most whose centre is nearest."""
    encoder = msgspec.structs.replace(RECIPE.encoder, patch_frames=patch_frames)
    recipe = msgspec.structs.replace(RECIPE, encoder=encoder)
    teacher = SelfSupervisedTeacher.load(save_encoder(tmp_path / "a.pt", recipe), (1,))
    layer = teacher.layers[0]
    assert layer.hop_s == pytest.approx(patch_frames * 0.01)
    background = 0.01 * noise(1, 32_000)
    quiet = teacher(background).hidden[0]
    rng = np.random.default_rng(0)
    for time_s in rng.uniform(layer.offset_s, 1.9, 12):
        burst = background.clone()
        start = int(time_s * 16_000) - 80
        burst[:, start : start + 160] += 0.5 * torch.randn(160)
        felt = (teacher(burst).hidden[0] - quiet).square().sum(-1)[0]
        nearest = (time_s - layer.offset_s) / layer.hop_s
        assert abs(int(felt.argmax()) - nearest) < 0.65, time_s


def test_padding_does_not_change_the_frames_of_a_shorter_row(
    teacher: SelfSupervisedTeacher,
) -> None:
    lengths = torch.tensor([16_000, 9_000, 300])
    rows = noise(3, 16_000)
    padded = rows * (torch.arange(16_000) < lengths[:, None])
    together = teacher(padded, lengths).hidden
    for row, length in enumerate(lengths.tolist()):
        alone = teacher(rows[row : row + 1, :length]).hidden
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[row, : part.shape[1]], part[0], atol=1e-5, rtol=1e-4)


def test_every_sample_of_a_clip_is_heard(teacher: SelfSupervisedTeacher) -> None:
    for n_samples in (100, 400, 1519, 1521, 9001):
        rows = noise(1, n_samples)
        changed = rows.clone()
        changed[0, -50:] *= 2.0
        before, after = teacher(rows).hidden[0], teacher(changed).hidden[0]
        assert before.shape == after.shape
        assert not torch.equal(before, after)


@pytest.mark.parametrize("layers", [(0,), (5,), (2, 1), (1, 1)])
def test_layers_that_do_not_exist_are_refused(checkpoint: Path, layers: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="rising numbers of 1-4"):
        SelfSupervisedTeacher.load(checkpoint, layers)


def test_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeAudioError, match=r"none\.pt"):
        SelfSupervisedTeacher.load(tmp_path / "none.pt", (1,))


@pytest.mark.parametrize(
    ("n_blocks", "blocks"), [(1, (1,)), (2, (1, 2)), (4, (2, 3, 4)), (12, (4, 8, 12))]
)
def test_probed_blocks_are_spread_and_include_the_last(
    n_blocks: int, blocks: tuple[int, ...]
) -> None:
    assert probed_blocks(n_blocks) == blocks


@pytest.mark.usefixtures("data")
def test_probe_scores_an_encoder_beside_its_untrained_self(checkpoint: Path) -> None:
    probes = probe(checkpoint)
    assert [row.layer for row in probes] == ["block 2", "block 3", "block 4"]
    for row in probes:
        assert len(row.pretrained.folds) == len(row.random.folds) == 5
        assert row.pretrained.mean.n == row.random.mean.n == 30
        assert row.pretrained.mean.value > 0.5  # three kinds of sound that any features tell apart
    assert to_table(probes).row_count == 3


@pytest.mark.usefixtures("data")
def test_untrained_encoder_of_the_recipes_seed_scores_as_the_baseline(tmp_path: Path) -> None:
    torch.manual_seed(RECIPE.seed)
    state = {
        "recipe": msgspec.json.encode(RECIPE).decode(),
        "encoder": PatchEncoder(RECIPE.encoder).state_dict(),
    }
    save_atomically(state, tmp_path / CHECKPOINT_NAME)
    for row in probe(tmp_path / CHECKPOINT_NAME):
        assert row.pretrained == row.random


@pytest.mark.usefixtures("data")
def test_encoder_that_has_heard_esc_is_not_probed(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, split=Split(tiers=("A",)))
    with pytest.raises(EdgeAudioError, match=r"30 of 30 ESC clips.*hold_out_esc"):
        probe(save_encoder(tmp_path / CHECKPOINT_NAME, recipe))


@pytest.mark.usefixtures("data")
def test_command_pretrains_and_probes(tmp_path: Path) -> None:
    runner = CliRunner()
    runs = str(tmp_path / "runs")
    done = runner.invoke(pretrain, ["--recipe", str(SMOKE), "--runs-dir", runs])
    assert done.exit_code == 0, done.output
    path = done.stdout.splitlines()[-1]
    assert Path(path) == tmp_path / "runs" / "ssl-smoke" / CHECKPOINT_NAME
    assert "clips/s" in done.stderr
    done = runner.invoke(pretrain, ["--probe", path])
    assert done.exit_code == 0, done.output
    assert "random init" in done.stdout
    assert "block 2" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--recipe", "a.toml", "--probe", "b.pt"]])
def test_command_wants_one_thing_to_do(arguments: list[str]) -> None:
    done = CliRunner().invoke(pretrain, arguments)
    assert done.exit_code == 2
    assert "--recipe FILE or --probe CHECKPOINT" in done.stderr
