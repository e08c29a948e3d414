"""Pretraining runs learn, can be stopped anywhere, and say when they go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from distill.data.clip_list import read_clip_list
from distill.pretraining.masking import visible_patches
from distill.pretraining.objective import latent_targets
from distill.pretraining.pretrain import Batch, Mixtures, Pretrainer, load_encoder, pretrain
from distill.pretraining.recipe import CollapseFloor, PretrainRecipe
from distill.pretraining.watch import CollapseWarning
from distill.runs.checkpoints import CHECKPOINT_NAME
from distill.runs.metrics_log import CURVES_NAME, METRICS_NAME, read_metrics
from distill.runs.toml import read_toml
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill import workshop
from tests.support.paths import REPOSITORY

RECIPES = REPOSITORY / "distill" / "recipes"
SMOKE = read_toml(RECIPES / "pretrain_smoke.toml", PretrainRecipe)
PATCHOUT = read_toml(
    RECIPES / "pretrain_smoke.toml",
    PretrainRecipe,
    ("mask.patchout_positions=3", "mask.patchout_bands=1"),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The decoded clips of the miniature workshop, to which the environment points."""
    folder = tmp_path_factory.mktemp("ssl")
    workshop.make_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AUDIO_DATA", str(folder / "data"))
        yield folder / "cache"


@pytest.fixture
def dataset(cache: Path) -> Mixtures:
    return Mixtures.open(SMOKE, cache)


def change(recipe: PretrainRecipe = SMOKE, **training: Any) -> PretrainRecipe:
    return msgspec.structs.replace(
        recipe, training=msgspec.structs.replace(recipe.training, **training)
    )


def make_run(folder: Path, dataset: Mixtures, recipe: PretrainRecipe = SMOKE) -> Pretrainer:
    folder.mkdir(exist_ok=True)
    return Pretrainer(recipe, folder, dataset)


def stop_after(run: Pretrainer, n_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills the run within a step, as Ctrl-C would."""
    train_step = run.train_step

    def step(batch: Batch) -> dict[str, float]:
        if run.step == n_steps:
            raise KeyboardInterrupt
        return train_step(batch)

    monkeypatch.setattr(run, "train_step", step)
    with pytest.raises(KeyboardInterrupt):
        run.run()


RECIPES_TO_RUN = pytest.mark.parametrize("recipe", [SMOKE, PATCHOUT], ids=["smoke", "patchout"])


@RECIPES_TO_RUN
def test_interrupted_and_resumed_run_ends_with_the_bits_of_a_straight_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: PretrainRecipe
) -> None:
    dataset = Mixtures.open(recipe, cache)
    straight = make_run(tmp_path / "straight", dataset, recipe)
    straight.run()
    stop_after(make_run(tmp_path / "resumed", dataset, recipe), 8, monkeypatch)
    resumed = make_run(tmp_path / "resumed", dataset, recipe)
    resumed.run()
    for one, other in ((straight.student, resumed.student), (straight.teacher, resumed.teacher)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    logs = [(tmp_path / name / METRICS_NAME).read_text() for name in ("straight", "resumed")]
    assert logs[0] == logs[1]
    assert [row["step"] for row in read_metrics(straight.run_dir / METRICS_NAME)] == [
        *range(2, 14, 2)
    ]


@RECIPES_TO_RUN
def test_training_lowers_the_loss_on_clips_it_has_not_heard(
    cache: Path, tmp_path: Path, recipe: PretrainRecipe
) -> None:
    dataset = Mixtures.open(recipe, cache)
    run = make_run(tmp_path / "run", dataset, change(recipe, n_steps=40, learning_rate=3e-3))
    unheard = torch.utils.data.default_collate([dataset[index] for index in range(9000, 9016)])
    before = {name: term.item() for name, term in run.losses(unheard).terms.items()}
    assert set(before) == {"patch", "clip"}
    weights = {name: p.clone() for name, p in run.student.named_parameters()}
    run.run()
    after = {name: term.item() for name, term in run.losses(unheard).terms.items()}
    assert after["patch"] < 0.8 * before["patch"]
    assert after["clip"] < 0.8 * before["clip"]
    assert not [n for n, p in run.student.named_parameters() if torch.equal(p, weights[n])]


def test_finished_run_keeps_the_teacher_alone_and_draws_its_curves(
    cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").symlink_to(cache)
    path = pretrain(SMOKE, tmp_path)
    assert path == tmp_path / "ssl-smoke" / CHECKPOINT_NAME
    state = torch.load(path, weights_only=True)
    assert set(state) == {"recipe", "step", "encoder"}
    assert (path.parent / CURVES_NAME).exists()
    encoder, recipe = load_encoder(path)
    assert recipe == SMOKE
    assert not encoder.training
    content = path.read_bytes()
    assert pretrain(SMOKE, tmp_path).read_bytes() == content  # there is nothing left to do
    torch.manual_seed(SMOKE.seed)
    untrained = make_run(tmp_path / "untrained", Mixtures.open(SMOKE, cache)).teacher
    assert not torch.equal(encoder.embed.weight, untrained.embed.weight)


def test_log_holds_every_figure(dataset: Mixtures, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", dataset, change(n_steps=4))
    run.run()
    rows = read_metrics(tmp_path / "run" / METRICS_NAME)
    for row in rows:
        names = ["step", "loss", "patch", "clip", "ema_decay", "rank", "variation"]
        assert list(row) == [*names, "prediction_std"]
        assert row["loss"] == pytest.approx(row["patch"] + row["clip"], rel=1e-4)
        assert 1.0 < row["rank"] <= SMOKE.encoder.dim
        assert row["variation"] > 0.0


@pytest.mark.parametrize("poison", ["mels", "weights"])
def test_broken_loss_stops_the_run_and_keeps_the_last_checkpoint(
    dataset: Mixtures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: str
) -> None:
    stop_after(make_run(tmp_path / "run", dataset), 7, monkeypatch)
    path = tmp_path / "run" / CHECKPOINT_NAME
    before = path.read_bytes()
    run = make_run(tmp_path / "run", dataset)
    if poison == "mels":
        batch = dataset[0]
        poisoned = batch._replace(mels=torch.full_like(batch.mels, torch.nan))
        monkeypatch.setattr(Mixtures, "__getitem__", lambda self, index: poisoned)
    else:
        restore = run.restore

        def restore_broken(state: dict[str, Any]) -> None:
            restore(state)
            run.student.decoder.predict.bias.data.fill_(torch.inf)

        monkeypatch.setattr(run, "restore", restore_broken)
    with pytest.raises(EdgeAudioError, match=r"loss is (nan|inf) at step 5.*learning_rate"):
        run.run()
    assert path.read_bytes() == before


def test_another_recipe_is_not_resumed(dataset: Mixtures, tmp_path: Path) -> None:
    make_run(tmp_path / "run", dataset, change(n_steps=2)).run()
    with pytest.raises(EdgeAudioError, match="different recipe"):
        make_run(tmp_path / "run", dataset, change(n_steps=4)).run()


def test_collapsed_teacher_is_warned_of(dataset: Mixtures, tmp_path: Path) -> None:
    recipe = change(n_steps=2)
    run = make_run(tmp_path / "run", dataset, recipe)
    for parameter in run.student.encoder.parameters():  # every patch becomes the same
        parameter.data.zero_()
    for parameter in run.teacher.parameters():
        parameter.data.zero_()
    with pytest.warns(CollapseWarning, match="COLLAPSE at step 2"):
        run.run()


def test_sound_teacher_is_not_warned_of(
    dataset: Mixtures, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    make_run(tmp_path / "run", dataset, change(n_steps=2)).run()
    assert not [w for w in recwarn if w.category is CollapseWarning]
    high = msgspec.structs.replace(change(n_steps=2), collapse=CollapseFloor(rank=1000.0))
    make_run(tmp_path / "high", dataset, high).run()
    assert [w for w in recwarn if w.category is CollapseWarning]


def test_bf16_and_recomputing_learn_much_the_same(dataset: Mixtures, tmp_path: Path) -> None:
    losses = {}
    variants: dict[str, dict[str, Any]] = {
        "plain": {},
        "recompute": {"recompute": True},
        "bf16": {"precision": "bf16", "recompute": True},
    }
    for name, changes in variants.items():
        run = make_run(tmp_path / name, dataset, change(n_steps=4, **changes))
        run.run()
        losses[name] = read_metrics(tmp_path / name / METRICS_NAME)[-1]["loss"]
        assert all(p.dtype == torch.float32 for p in run.teacher.parameters())
    assert losses["recompute"] == pytest.approx(losses["plain"], rel=1e-4)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["bf16"] != losses["plain"]


def test_worker_processes_draw_the_same_clips(dataset: Mixtures, tmp_path: Path) -> None:
    runs = [Pretrainer(change(n_steps=3), tmp_path, dataset, n_workers=n) for n in (0, 2)]
    for alone, beside in zip(*(run.batches() for run in runs), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))


def test_batches_start_anywhere_up_to_the_last_known_position(dataset: Mixtures) -> None:
    size = SMOKE.training.batch_size
    first = [int(dataset[index].first_position) for index in range(0, 60 * size, size)]
    assert min(first) == 0
    assert max(first) == SMOKE.encoder.n_positions - SMOKE.n_positions
    assert SMOKE.n_positions == 8
    assert {int(dataset[index].first_position) for index in range(size)} == {first[0]}


def test_clips_of_a_batch_lose_the_same_patches_and_batches_others(cache: Path) -> None:
    dataset, size = Mixtures.open(PATCHOUT, cache), SMOKE.training.batch_size
    items = [dataset[index] for index in range(2 * size)]
    assert all(item.grid.shape == (5, 3) for item in items)
    assert all(item.kept.shape == (2, 3) for item in items)  # a fifth of what is left
    assert all(int(item.kept.max()) < 15 for item in items)
    first, second = items[:size], items[size:]
    assert all(torch.equal(item.grid, first[0].grid) for item in first)
    assert all(torch.equal(item.grid, second[0].grid) for item in second)
    assert not torch.equal(first[0].grid, second[0].grid)


def test_teacher_and_student_hear_the_same_patches_of_patchout(cache: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Mixtures.open(PATCHOUT, cache), PATCHOUT)
    batch = next(run.batches())
    before = run.losses(batch)
    assert before.targets.raw.shape[1] == before.prediction.patches.shape[1] == 15
    left = torch.zeros(SMOKE.n_positions * SMOKE.encoder.n_bands, dtype=torch.bool)
    left[batch.grid[0].flatten()] = True
    out = ~left.reshape(SMOKE.n_positions, -1)
    out = out.repeat_interleave(16, 0).repeat_interleave(16, 1)
    after = run.losses(batch._replace(mels=torch.where(out, 9.0, batch.mels)))
    assert torch.equal(before.targets.raw, after.targets.raw)
    assert torch.equal(before.prediction.patches, after.prediction.patches)


def test_without_patchout_a_loss_is_that_of_all_patches(dataset: Mixtures, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", dataset)
    batch = next(run.batches())
    hidden = run.teacher(batch.mels, batch.first_position)
    assert torch.equal(run.losses(batch).targets.raw, latent_targets(hidden, 2).raw)
    rng = np.random.default_rng((SMOKE.seed, 0, 1))
    assert np.array_equal(batch.kept[0], visible_patches(rng, SMOKE.mask, 8, 4))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("mask.patchout_positions=8", "mask.patchout_positions must be from 0 to 7"),
        ("mask.patchout_positions=-1", "mask.patchout_positions must be from 0 to 7"),
        ("mask.patchout_bands=4", "mask.patchout_bands must be from 0 to 3"),
        ("mask.patchout_bands=-1", "mask.patchout_bands must be from 0 to 3"),
        ("mask={patchout_positions=7, patchout_bands=3}", "mask.ratio must hide at least one of 1"),
        ("mask.ratio=0.01", "mask.ratio must hide at least one of 32"),
        ("mixture.duration_s=0.1", "mixture.duration_s must hold encoder.patch_frames"),
    ],
)
def test_recipes_that_leave_nothing_to_learn_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_toml(RECIPES / "pretrain_smoke.toml", PretrainRecipe, (setting,))


def test_only_clips_of_the_split_are_heard(dataset: Mixtures, cache: Path) -> None:
    clips = read_clip_list(cache.parent / "data")
    heard = [clips[index] for index in np.unique(dataset.mixer.indices)]
    assert len(heard) == 30
    assert not any(clip.is_esc for clip in heard)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("pretrain_*.toml")), ids=lambda p: p.stem)
def test_recipes_hold_out_what_the_probe_hears(path: Path) -> None:
    recipe = read_toml(path, PretrainRecipe)
    assert recipe.split.hold_out_esc
    assert recipe.objective.n_target_blocks <= recipe.encoder.n_blocks
    n_positions = recipe.mixture.duration_s / 0.01 // recipe.encoder.patch_frames
    assert n_positions <= recipe.encoder.n_positions


def test_what_no_pretraining_made_is_refused(tmp_path: Path) -> None:
    torch.save({"recipe": '{"name": "student"}', "student": {}}, tmp_path / "student.pt")
    with pytest.raises(EdgeAudioError, match="not made by edge-audio pretrain"):
        load_encoder(tmp_path / "student.pt")
