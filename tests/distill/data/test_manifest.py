"""Manifests are read strictly, and no recording is heard on both sides of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from distill.data import manifest as data
from distill.data.checks import check_audio, check_manifest, nearest_labels, require_sound
from distill.data.manifest import (
    COLUMNS,
    Clip,
    ClipStore,
    Split,
    manifest_rows,
    read_clip,
    read_manifest,
    to_row,
    write_manifest,
)
from edge_audio.errors import SourceError, UsageError
from tests.distill import workshop

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


def test_split_that_holds_out_an_empty_fold_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no clip is in \[6, 7\], the folds are \[1, 2, 3, 4, 5\]"
    ):
        Split(tiers=("A",), held_out_folds=(7, 5, 6)).divide(random_clips(0))


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


def damage(folder: Path) -> dict[str, str]:
    """Files that no clip can be read from, with a part of the error that each must give."""
    sf.write(folder / "empty.wav", np.zeros(0), 16_000)
    sf.write(folder / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    (folder / "text.ogg").write_bytes(b"no audio")
    (folder / "nothing.flac").write_bytes(b"")
    return {
        "empty.wav": "no samples",
        "nan.wav": "NaN",
        "text.ogg": "Format not recognised",
        "nothing.flac": "Format not recognised",
        "absent.wav": "no such file",
    }


def test_file_without_usable_samples_is_named(tmp_path: Path) -> None:
    for name, reason in damage(tmp_path).items():
        with pytest.raises(SourceError, match=f"{name}.*{reason}"):
            read_clip(tmp_path / name, 16_000)


def clip_at(path: str, **changes: Any) -> Clip:
    row = {**workshop.row(path, "rain", 1, path), **changes}
    fields = {name: row[name] for name in Clip.__struct_fields__}
    labels = tuple(label for label in row["labels"].split(";") if label)
    return Clip(**{**fields, "labels": labels})


def test_store_returns_every_clip_and_decodes_once(tmp_path: Path) -> None:
    workshop.make_data(tmp_path / "data", n_per_fold=1)
    clips = read_manifest(tmp_path / "data")[:7]
    store = ClipStore.open(tmp_path / "data", clips, 16_000, tmp_path)
    assert len(store) == 7
    for index, clip in enumerate(clips):
        expected = read_clip(tmp_path / "data" / clip.path, 16_000)
        np.testing.assert_allclose(store[index], expected, atol=1e-4)
    again = ClipStore.open(Path("no such folder"), clips, 16_000, tmp_path)
    np.testing.assert_array_equal(again[6], store[6])


def test_store_names_all_clips_that_cannot_be_decoded_and_keeps_nothing(tmp_path: Path) -> None:
    bad = damage(tmp_path)
    sf.write(tmp_path / "good.wav", np.zeros(100), 16_000)
    clips = [clip_at(name) for name in ("good.wav", *bad)]
    with pytest.raises(SourceError, match="5 of 6 clips") as caught:
        ClipStore.open(tmp_path, clips, 16_000, tmp_path / "cache")
    assert all(name in str(caught.value) for name in bad)
    assert list((tmp_path / "cache").iterdir()) == []
    store = ClipStore.open(tmp_path, clips[:1], 16_000, tmp_path / "cache")
    assert len(store[0]) == 100


def test_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav", labels=f"Rain;Label, {index}") for index in range(3)]
    write_manifest(tmp_path, [to_row(clip, note='a "note"', unknown="x") for clip in clips])
    assert read_manifest(tmp_path) == clips
    rows = list(manifest_rows(tmp_path))
    assert all(tuple(row) == COLUMNS and row["note"] == 'a "note"' for row in rows)


def test_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"path,labels\n\xff\xfe,Rain\n")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_manifest(tmp_path)


LABELS = ("Rain", "Dog", "Sewing machine", "Thunderstorm", "Thunder")


def problems_of(folder: Path, clips: list[Clip]) -> list[tuple[str, str]]:
    for clip in clips:
        path = folder / clip.path
        if folder in path.parents and ".." not in path.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return [(p.severity, p.message) for p in check_manifest(folder, clips, LABELS)]


def test_sound_manifest_has_no_problems(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav", fold=1 + index % 5) for index in range(20)]
    assert problems_of(tmp_path, clips) == []
    assert require_sound(tmp_path, clips, LABELS) == []


@pytest.mark.parametrize(
    ("changes", "severity", "message"),
    [
        ({"labels": "Dogs"}, "error", "'Dogs' of 1 clips is unknown: did you mean 'Dog'?"),
        ({"labels": "Thunder storm"}, "error", "did you mean 'Thunderstorm' or 'Thunder'?"),
        ({"labels": "Washing machine"}, "warning", "'Washing machine' (1 clips)"),
        ({"path": "a.wav"}, "error", "1 paths are listed twice: a.wav"),
        ({"path": "/etc/passwd"}, "error", "1 paths lead out of the data folder: /etc/passwd"),
        ({"path": "x/../../b.wav"}, "error", "1 paths lead out of the data folder: x/../../b.wav"),
        ({"group": "a.wav", "fold": 2}, "error", "split between folds: a.wav (folds [1, 2])"),
        ({"duration_s": 0.0}, "error", "last no time (duration_s): b.wav"),
        ({"duration_s": float("nan")}, "error", "last no time (duration_s): b.wav"),
        ({"fold": 0}, "error", "1 clips are in no fold from 1: b.wav"),
        ({"group": ""}, "error", "1 clips have no group: b.wav"),
    ],
)
def test_each_flaw_of_a_row_is_found(
    tmp_path: Path, changes: dict[str, Any], severity: str, message: str
) -> None:
    clips = [clip_at("a.wav"), clip_at(**{"path": "b.wav", **changes})]
    ((found_severity, found_message),) = problems_of(tmp_path, clips)
    assert found_severity == severity
    assert message in found_message


def test_group_split_by_official_esc_folds_is_a_warning(tmp_path: Path) -> None:
    clips = [clip_at(f"esc/{fold}.wav", fold=fold, group="g") for fold in (2, 3)]
    clips.append(clip_at("other.wav", fold=5, group="g"))
    ((severity, message),) = problems_of(tmp_path, clips)
    assert severity == "warning"
    assert "g (folds [2, 3, 5])" in message


def test_missing_files_are_counted_and_the_first_few_named(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav") for index in range(9)]
    with pytest.raises(UsageError, match=r"9 files are missing .*: 0.wav, 1.*4.wav and 4 more"):
        require_sound(tmp_path, clips, LABELS)


def test_all_errors_of_a_manifest_are_raised_at_once(tmp_path: Path) -> None:
    clips = [clip_at("a.wav", labels="Dogs"), clip_at("a.wav", labels="Washing machine")]
    with pytest.raises(UsageError, match=r"listed twice.*missing.*Dogs") as caught:
        require_sound(tmp_path, clips, LABELS)
    assert "Washing machine" not in str(caught.value)


def test_nearest_labels_ignore_case_and_come_nearest_first() -> None:
    assert nearest_labels("THUNDERSTORMS", LABELS) == ["Thunderstorm", "Thunder"]
    assert nearest_labels("xylophone", LABELS) == []


def test_audio_check_names_every_damaged_clip(tmp_path: Path) -> None:
    bad = damage(tmp_path)
    sf.write(tmp_path / "good.wav", np.zeros(100), 16_000)
    results = list(check_audio(tmp_path, [clip_at(name) for name in ("good.wav", *bad)]))
    assert results[0] is None
    for name, problem in zip(bad, results[1:], strict=True):
        assert problem is not None
        assert name in problem.message


def test_shared_manifest_is_sound_but_for_known_leaks_and_foreign_labels(
    data_dir: Path, peers_dir: Path
) -> None:
    from distill.data.labels import LABELS_NAME, read_class_map

    labels = read_class_map(peers_dir / LABELS_NAME)
    foreign, leaks = require_sound(data_dir, read_manifest(data_dir), labels)
    assert "'Can opening' (42 clips)" in foreign.message
    assert all(group in leaks.message for group in LEAKING_GROUPS)
