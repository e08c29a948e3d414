"""Clips are drawn by what a teacher hears in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from distill.cli.dataset import dataset
from distill.data.clip_list import Clip, read_clip_list
from distill.data.clip_store import ClipStore
from distill.teachers.base import Layer, TeacherOutput
from distill.teachers.config import EfficientATConfig, TeacherConfig, YamnetConfig
from distill.training import distill as training
from distill.training import draws
from distill.training.distill import open_targets
from distill.training.draws import (
    DrawConfig,
    HeardClips,
    draw_odds,
    hear_clips,
    label_shares,
    listed_odds,
    n_effective_clips,
)
from tests.distill.workshop import RATE_HZ, TINY_RECIPE, TINY_TEACHER, clip_at


def certain(*classes: int) -> np.ndarray:
    """A teacher that is sure of one class in each clip."""
    return np.eye(max(classes) + 1, dtype=np.float32)[list(classes)]


def test_shares_come_near_the_tempered_ones() -> None:
    rng = np.random.default_rng(0)
    frequent = 2.0 ** -np.arange(7)
    heard = rng.random((2_000, 7)).astype(np.float32) ** 6 * frequent.astype(np.float32)
    wanted = heard.sum(0, dtype=float) ** 0.5
    found = label_shares(draw_odds(DrawConfig(power=0.5), [1.0] * 2_000, heard), heard)
    as_it_is = label_shares(np.ones(2_000), heard)
    distance = np.abs(found - wanted / wanted.sum()).sum()
    assert distance < 0.35 * np.abs(as_it_is - wanted / wanted.sum()).sum()


@pytest.mark.parametrize(("power", "share"), [(1.0, 0.1), (0.5, 0.25), (0.3, 0.341)])
def test_the_power_tempers_the_share_of_a_rare_class(power: float, share: float) -> None:
    heard = certain(*[0] * 900, *[1] * 100)
    odds = draw_odds(DrawConfig(power=power), [1.0] * 1_000, heard)
    assert label_shares(odds, heard)[1] == pytest.approx(share, abs=0.002)


def test_no_clip_stands_for_a_class_alone() -> None:
    heard = certain(*[0] * 10_000, 1)
    odds = draw_odds(DrawConfig(power=0.0), [1.0] * 10_001, heard)
    assert odds[-1] == pytest.approx(5 * np.median(odds))


def test_without_a_teacher_durations_decide() -> None:
    odds = draw_odds(DrawConfig(), [0.1, 0.3, 1.2, 5.0, 60.0], None)
    np.testing.assert_allclose(odds**2, [0.3, 0.3, 1.2, 5.0, 5.0])


def test_alike_clips_count_all_and_a_favourite_counts_one() -> None:
    assert n_effective_clips(np.full(7, 0.2)) == pytest.approx(7)
    assert n_effective_clips(np.array([1.0, 1e-6, 1e-6])) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("power", [-0.1, 1.5])
def test_a_power_beyond_its_range_is_refused(power: float) -> None:
    with pytest.raises(ValueError, match="power"):
        DrawConfig(power=power)


def test_listed_odds_favour_rare_labels_and_no_clip_without_labels() -> None:
    rain = [clip_at(f"{index}.wav") for index in range(16)]
    siren = [clip_at(f"s{index}.wav", labels="Siren;Rain") for index in range(4)]
    none = [clip_at(f"n{index}.wav", labels="") for index in range(25)]
    odds = listed_odds([*rain, *siren, *none])
    np.testing.assert_allclose(odds, [20**-0.5] * 16 + [4**-0.5] * 4 + [25**-0.5] * 25)


class Named:
    """A teacher that hears the loudness of a clip in its first label; or, without labels, none."""

    sample_rate_hz, label_frames = RATE_HZ, None
    layers: tuple[Layer, ...] = ()

    def __init__(self, *labels: str) -> None:
        self.name, self.labels, self.n_heard = "named", labels, 0
        self.lengths: list[int] = []

    def __call__(self, waveform: torch.Tensor, lengths: object = None) -> TeacherOutput:
        self.n_heard += 1
        self.lengths.append(waveform.shape[1])
        level = waveform.square().mean(1, keepdim=True)
        return TeacherOutput((), level.repeat(1, len(self.labels)) if self.labels else None)


Teachers = dict[TeacherConfig, Named]


def heard_by(
    patch: pytest.MonkeyPatch, workshop: Path, cache: Path, teachers: Teachers
) -> HeardClips | None:
    patch.setattr(draws, "open_teacher", lambda config, peers: teachers[config])
    clips = read_clip_list(workshop / "data")
    store = ClipStore.open(workshop / "data", clips, RATE_HZ, workshop / "runs" / "cache")
    return hear_clips(tuple(teachers), workshop / "data", clips, store, RATE_HZ, cache)


def test_the_first_teacher_with_labels_hears_every_clip_once(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, named, third = Named(), Named("a", "b"), Named("c")
    other = EfficientATConfig(checkpoint="other.pt", width=0.2)
    teachers: Teachers = {TINY_TEACHER: silent, YamnetConfig(): named, other: third}
    first = heard_by(monkeypatch, in_workshop, tmp_path, teachers)
    again = heard_by(monkeypatch, in_workshop, tmp_path, teachers)
    assert first is not None
    assert again is not None
    assert first.labels == again.labels == ("a", "b")
    assert first.probabilities.shape == (60, 2)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert len(set(first.probabilities[:, 0].tolist())) > 30, "each clip has its own"
    assert (silent.n_heard, named.n_heard, third.n_heard) == (0, 60, 0)
    assert min(named.lengths) == RATE_HZ, "short clips are padded to a second"


def test_without_a_teacher_that_has_labels_nothing_is_heard(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heard_by(monkeypatch, in_workshop, tmp_path, {TINY_TEACHER: Named()}) is None


def test_another_teacher_hears_anew(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Named("a"), Named("b")
    heard_by(monkeypatch, in_workshop, tmp_path, {TINY_TEACHER: one})
    heard_by(monkeypatch, in_workshop, tmp_path, {YamnetConfig(): two})
    assert (one.n_heard, two.n_heard) == (60, 60)


def test_mixtures_are_drawn_by_what_the_teacher_hears(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rain that the teacher alone knows for rain is drawn five times as often as any siren."""
    clips = read_clip_list(in_workshop / "data")
    indices = TINY_RECIPE.split.training_positions(clips)

    def hear(*_: object) -> HeardClips:
        heard = np.zeros((len(clips), 2), np.float32)
        heard[indices, 0] = 1.0
        heard[indices[5]] = 0.0, 1.0
        return HeardClips(("Siren", "Rain"), heard)

    monkeypatch.setattr(training, "hear_clips", hear)
    recipe = msgspec.structs.replace(TINY_RECIPE, draw=DrawConfig(power=0.0))
    sources = open_targets(recipe, clips, tmp_path, 1).batch(np.arange(64))["sources"]
    counts = Counter(sources[sources >= 0].tolist())
    assert counts.keys() <= set(indices)
    assert 0.12 < counts[indices[5]] / counts.total() < 0.3


def test_a_cache_of_another_power_lies_elsewhere(in_workshop: Path, tmp_path: Path) -> None:
    clips: list[Clip] = read_clip_list(in_workshop / "data")
    for power in (0.5, 1.0):
        recipe = msgspec.structs.replace(TINY_RECIPE, draw=DrawConfig(power=power))
        open_targets(recipe, clips, tmp_path, 1)
    assert len(list(tmp_path.glob("targets-*"))) == 2
    assert len(list(tmp_path.glob("heard-*"))) == 1, "clips are heard once for both"


def test_draw_shares_tells_what_a_recipe_draws(in_workshop: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "x"\nseed = 0\nsplit = { tiers = ["A"], held_out_folds = [5] }\n'
        'teachers = [{ kind = "efficientat", checkpoint = "small.pt", width = 0.1, layers = [] }]\n'
        "training = { n_mixtures = 64, n_steps = 1 }\n"
    )
    options = ["--runs-dir", str(tmp_path), "--top", "3", "--plot", str(tmp_path / "shares.png")]
    done = CliRunner().invoke(dataset, ["draw-shares", str(recipe), *options])
    assert done.exit_code == 0, done.output
    assert "power 0.5" in done.output
    assert "48 clips, as varied as" in done.output
    assert sum(line.startswith("│") for line in done.output.splitlines()) == 3
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")
