"""Manifests are read strictly, and no recording is heard on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import workshop

from distill import data
from distill.data import Clip, ClipStore, Split, read_clip, read_manifest
from edge_audio.errors import SourceError, UsageError

LEAKING_GROUPS = {"fs:131943", "fs:209698", "fs:134049", "fs:234879", "fs:14262"}


def random_clips(seed: int, n: int = 400) -> list[Clip]:
    rng = np.random.default_rng(seed)
    return [
        Clip(
            path=f"{index}.wav",
            tier=str(rng.choice(["A", "B", "C", "E"])),
            labels=("Rain",),
            esc10_class="",
            esc50_class="rain" if rng.random() < 0.3 else "",
            fold=int(rng.integers(1, 6)),
            group=f"g{rng.integers(0, 150)}",
            duration_s=1.0,
            licence="CC0",
        )
        for index in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hold_out_esc", [False, True])
def test_split_never_divides_a_group_nor_trains_on_held_out_clips(
    seed: int, hold_out_esc: bool
) -> None:
    clips = random_clips(seed)
    split = Split(tiers=("A", "B"), held_out_folds=(5,), hold_out_esc=hold_out_esc)
    train, held_out = split.divide(clips)
    assert train
    assert held_out
    assert not {clip.group for clip in train} & {clip.group for clip in held_out}
    assert all(clip.tier in ("A", "B") and clip.fold != 5 for clip in train)
    assert not (hold_out_esc and any(clip.is_esc for clip in train))
    assert {clip.path for clip in clips if clip.fold == 5} <= {clip.path for clip in held_out}


def test_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="no training clips"):
        Split(tiers=("X",)).divide(random_clips(0))


def test_known_leaks_across_folds_are_held_out_whole(data_dir: Path) -> None:
    clips = read_manifest(data_dir)
    found = {clip.group for clip in clips} & LEAKING_GROUPS
    assert found == LEAKING_GROUPS
    for group in LEAKING_GROUPS:
        folds = {clip.fold for clip in clips if clip.group == group}
        assert len(folds) > 1, f"{group} does not leak"
        train, held_out = Split(tiers=("A", "B"), held_out_folds=(min(folds),)).divide(clips)
        assert group not in {clip.group for clip in train}
        assert {clip.fold for clip in held_out if clip.group == group} == folds


def test_scored_split_of_the_real_manifest_trains_on_no_esc_clip(data_dir: Path) -> None:
    split = Split(tiers=("A", "B"), held_out_folds=(5,), hold_out_esc=True)
    train, held_out = split.divide(read_manifest(data_dir))
    assert sum(clip.is_esc for clip in held_out) == 2_000
    assert not any(clip.is_esc or clip.tier in ("C", "E") for clip in train)


def test_manifest_keeps_labels_and_origin(tmp_path: Path) -> None:
    rows = [
        workshop.row("esc/a.wav", "rain", 2, "g1", labels="Rain;Thunder"),
        workshop.row("b.wav", "siren", 5, "g2", labels=""),
    ]
    workshop.write_manifest(tmp_path, rows)
    first, second = read_manifest(tmp_path)
    assert (first.labels, first.fold, first.is_esc) == (("Rain", "Thunder"), 2, True)
    assert (second.labels, second.group, second.is_esc) == ((), "g2", False)


@pytest.mark.parametrize("column", ["fold", "duration_s"])
def test_bad_number_names_its_line(tmp_path: Path, column: str) -> None:
    good = workshop.row("a.wav", "rain", 1, "g")
    workshop.write_manifest(tmp_path, [good, {**good, column: "five"}])
    with pytest.raises(UsageError, match=r"line 3: .*five"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("column", ["labels", "fold", "group", "licence"])
def test_missing_column_is_named_with_its_line(tmp_path: Path, column: str) -> None:
    workshop.write_manifest(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(UsageError, match=f"line 2: .*{column}"):
        read_manifest(tmp_path)


def test_row_that_was_cut_off_names_its_line(tmp_path: Path) -> None:
    workshop.write_manifest(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write("b.wav,,\n")
    with pytest.raises(UsageError, match="line 3"):
        read_manifest(tmp_path)


def test_manifest_without_clips_is_refused(tmp_path: Path) -> None:
    workshop.write_manifest(tmp_path, [])
    with pytest.raises(UsageError, match="lists no clips"):
        read_manifest(tmp_path)


def test_folder_without_manifest_says_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="set EDGE_AUDIO_DATA"):
        data.data_dir()


def test_clips_are_decoded_to_mono_at_the_wanted_rate(tmp_path: Path) -> None:
    time_s = np.arange(44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    sf.write(tmp_path / "stereo.wav", np.stack([tone, np.zeros_like(tone)], 1), 44_100, "FLOAT")
    samples = read_clip(tmp_path / "stereo.wav", 16_000)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert (samples.dtype, samples.shape) == (np.float32, (16_000,))
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)


def test_undecodable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.ogg").write_bytes(b"no audio")
    with pytest.raises(SourceError, match=r"broken\.ogg"):
        read_clip(tmp_path / "broken.ogg", 16_000)


def test_store_returns_every_clip_and_decodes_once(in_workshop: Path, tmp_path: Path) -> None:
    clips = read_manifest(in_workshop / "data")[:7]
    store = ClipStore.open(in_workshop / "data", clips, 16_000, tmp_path)
    assert len(store) == 7
    for index, clip in enumerate(clips):
        expected = read_clip(in_workshop / "data" / clip.path, 16_000)
        np.testing.assert_allclose(store[index], expected, atol=1e-4)
    again = ClipStore.open(Path("no such folder"), clips, 16_000, tmp_path)
    np.testing.assert_array_equal(again[6], store[6])
