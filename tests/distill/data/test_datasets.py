"""Public datasets on disk become manifests: every layout on a tree of a few clips."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import webdataset
from click.testing import CliRunner

from distill.cli.dataset import dataset
from distill.data.checks import check_clip_list
from distill.data.clip_list import Clip, read_clip_list, write_clip_list
from distill.data.clip_store import ClipStore
from distill.data.datasets import LAYOUTS, display_names, esc50, survey, urbansound8k
from distill.data.licences import licence_name, licence_tier
from distill.data.split import Split
from edge_audio.errors import SourceError, UsageError

NAMES = {
    "/m/02sgy": "Electric guitar",
    "/m/0342h": "Guitar",
    "/m/09x0r": "Speech",
    "/t/dd00088": "Gush",
    "/m/07q2z82": "Accelerating, revving, vroom",
}


def write_audio(path: Path, duration_s: float = 0.25, rate_hz: int = 8_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.zeros(int(duration_s * rate_hz)), rate_hz)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def class_map(folder: Path, names: Mapping[str, str] = NAMES) -> Path:
    rows = [f'{index},{mid},"{name}"' for index, (mid, name) in enumerate(names.items())]
    write_text(folder / "class_labels_indices.csv", "index,mid,display_name", *rows)
    return folder / "class_labels_indices.csv"


def manifest_of(layout: str, folder: Path) -> dict[str, Clip]:
    """What the layout makes of the folder, by file name."""
    write_clip_list(folder, survey(LAYOUTS[layout](folder, NAMES), folder).rows)
    return {Path(clip.path).name: clip for clip in read_clip_list(folder)}


@pytest.fixture
def audioset(tmp_path: Path) -> Path:
    header = ("# Segments csv created Sun Mar 5", "# num_ytids=3, num_segs=3", "# YTID, start...")
    write_text(
        tmp_path / "balanced_train_segments.csv",
        *header,
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
        'Y-dashed_id, 0.000, 10.000, "/m/09x0r"',
        'neverloaded, 5.000, 15.000, "/m/09x0r"',
    )
    write_text(tmp_path / "eval_segments.csv", *header, 'evaluation1, 20.5, 30.5, "/m/unlisted"')
    write_audio(tmp_path / "balanced" / "--PJHxphWEs_30.000_40.000.wav")
    write_audio(tmp_path / "balanced" / "Y-dashed_id.flac")
    write_audio(tmp_path / "eval" / "Yevaluation1_20500_30500.wav")
    write_audio(tmp_path / "eval" / "evaluation1_90_100.wav")  # another part of the video
    return tmp_path


def test_audioset_finds_segments_under_every_name_in_use(audioset: Path) -> None:
    clips = manifest_of("audioset", audioset)
    assert {name: (clip.fold, clip.group, clip.labels) for name, clip in clips.items()} == {
        "--PJHxphWEs_30.000_40.000.wav": (1, "yt:--PJHxphWEs", ("Speech", "Gush")),
        "Y-dashed_id.flac": (1, "yt:Y-dashed_id", ("Speech",)),
        "Yevaluation1_20500_30500.wav": (5, "yt:evaluation1", ("/m/unlisted",)),
    }
    assert {clip.tier for clip in clips.values()} == {"C"}


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_audio_below_a_name_that_no_clip_list_can_hold_is_counted(audioset: Path) -> None:
    (audioset / "eval").rename(audioset / os.fsdecode(b"caf\xe9"))
    found = survey(LAYOUTS["audioset"](audioset, NAMES), audioset)
    (problem,) = found.unreadable
    assert "its name is not UTF-8" in problem
    write_clip_list(audioset, found.rows)
    assert len(read_clip_list(audioset)) == 2


def test_audioset_counts_what_was_not_downloaded_or_cannot_be_decoded(audioset: Path) -> None:
    (audioset / "balanced" / "Y-dashed_id.flac").unlink()
    (audioset / "balanced" / "Y-dashed_id.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    found = survey(LAYOUTS["audioset"](audioset, NAMES), audioset)
    assert found.missing == ["neverloaded from 5.000 s"]
    assert len(found.unreadable) == 1
    assert "Y-dashed_id.m4a" in found.unreadable[0]
    lines = found.summary(NAMES.values()).splitlines()
    assert lines[0] == "2 clips, 0.00 hours, 3 labels, 2 groups"
    assert any("labels that AudioSet's classes lack: /m/unlisted" in line for line in lines)


@pytest.mark.parametrize("line", ["abc, 1, 2", 'abc, start, 2, "/m/09x0r"'])
def test_audioset_names_a_line_that_is_no_segment(audioset: Path, line: str) -> None:
    write_text(audioset / "eval_segments.csv", line)
    with pytest.raises(UsageError, match=r"eval_segments\.csv.*abc.* is no segment"):
        LAYOUTS["audioset"](audioset, NAMES)


@pytest.fixture
def fsd50k(tmp_path: Path) -> Path:
    truth = tmp_path / "FSD50K.ground_truth"
    write_text(
        truth / "dev.csv",
        "fname,labels,mids,split",
        '64760,"Electric_guitar,Guitar","/m/02sgy,/m/0342h",train',
        "16399,Accelerating_and_revving_and_vroom,/m/07q2z82,val",
    )
    write_text(truth / "eval.csv", "fname,labels,mids", "99,Human_voice,/m/09l8g")
    write_text(
        truth / "vocabulary.csv",
        "0,Accelerating_and_revving_and_vroom,/m/07q2z82",
        "69,Electric_guitar,/m/02sgy",
        "85,Guitar,/m/0342h",
        "97,Human_voice,/m/09l8g",
    )
    infos = {
        "64760": {
            "title": "g.wav",
            "tags": ["guitar"],
            "license": "http://creativecommons.org/licenses/by/3.0/",
            "uploader": "someone",
        },
        "16399": {"license": "http://creativecommons.org/licenses/sampling+/1.0/", "uploader": "x"},
    }
    write_text(tmp_path / "FSD50K.metadata" / "dev_clips_info_FSD50K.json", json.dumps(infos))
    write_audio(tmp_path / "FSD50K.dev_audio" / "64760.wav")
    write_audio(tmp_path / "FSD50K.dev_audio" / "16399.flac")
    write_audio(tmp_path / "FSD50K.eval_audio" / "99.wav")
    return tmp_path


def test_fsd50k_takes_split_labels_and_each_clips_licence(fsd50k: Path) -> None:
    clips = manifest_of("fsd50k", fsd50k)
    facts = {n: (c.fold, c.labels, c.group, c.licence, c.tier) for n, c in clips.items()}
    vroom = ("Accelerating, revving, vroom",)
    assert facts == {
        "64760.wav": (1, ("Electric guitar", "Guitar"), "fs:64760", "CC BY 3.0", "A"),
        "16399.flac": (4, vroom, "fs:16399", "CC Sampling+ 1.0", "E"),
        "99.wav": (5, ("Human voice",), "fs:99", "unknown", "C"),
    }
    with (fsd50k / "manifest.csv").open() as file:
        first = next(csv.DictReader(file))
    assert first["attribution"] == "someone https://freesound.org/s/64760"


def test_fsd50k_refuses_a_label_outside_of_its_vocabulary(fsd50k: Path) -> None:
    write_text(fsd50k / "FSD50K.ground_truth" / "eval.csv", "fname,labels,mids", "99,Humanvoice,x")
    with pytest.raises(UsageError, match=r"eval\.csv: 'Humanvoice' is no label"):
        LAYOUTS["fsd50k"](fsd50k, NAMES)


@pytest.mark.parametrize(
    ("url", "name", "tier"),
    [
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0", "A"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0", "A"),
        ("http://creativecommons.org/licenses/by-nc/3.0/", "CC BY-NC 3.0", "E"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "CC Sampling+ 1.0", "E"),
        ("ask me", "ask me", "C"),
    ],
)
def test_licences_of_freesound_get_a_name_and_a_tier(url: str, name: str, tier: str) -> None:
    assert (licence_name(url), licence_tier(name)) == (name, tier)


@pytest.fixture
def esc(tmp_path: Path) -> Path:
    write_text(
        tmp_path / "meta" / "esc50.csv",
        "filename,fold,target,category,esc10,src_file,take",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "2-131943-A-38.wav,2,38,water_drops,False,131943,A",
        "3-131943-B-38.wav,3,38,water_drops,False,131943,B",
        "5-9032-A-0.wav,5,0,dog,True,9032,A",
    )
    for name in ("1-100032-A-0", "2-131943-A-38", "3-131943-B-38"):
        write_audio(tmp_path / "audio" / f"{name}.wav")
    return tmp_path


def test_esc50_keeps_folds_recordings_and_the_freer_licence_of_esc10(esc: Path) -> None:
    clips = manifest_of("esc50", esc)
    dog, drops = clips["1-100032-A-0.wav"], clips["2-131943-A-38.wav"]
    assert (dog.fold, dog.group, dog.labels) == (1, "fs:100032", ("Dog", "Bark"))
    assert (dog.esc10_class, dog.esc50_class, dog.licence, dog.tier) == (
        *("dog", "dog"),
        *("CC BY 3.0", "A"),
    )
    assert (drops.esc10_class, drops.esc50_class) == ("", "water_drops")
    assert (drops.licence, drops.tier) == ("CC BY-NC 3.0", "E")
    assert clips.keys() == {"1-100032-A-0.wav", "2-131943-A-38.wav", "3-131943-B-38.wav"}


def test_esc50_leak_across_folds_is_held_out_whole_and_warned_of(esc: Path) -> None:
    clips = list(manifest_of("esc50", esc).values())
    _, held_out = Split(tiers=("A", "E"), held_out_folds=(2,)).divide(clips)
    assert {clip.fold for clip in held_out} == {2, 3}
    (problem,) = check_clip_list(esc, clips, {"Dog", "Bark", "Drip", "Water"})
    assert problem.severity == "warning"
    assert "fs:131943 (folds [2, 3])" in problem.message


def test_esc50_labels_are_those_of_the_shared_data(clip_list: Path) -> None:
    listed = {c.esc50_class: c.labels for c in read_clip_list(clip_list) if c.is_esc}
    assert listed == esc50.LABELS


def test_maps_name_audioset_classes_alone(peers_dir: Path) -> None:
    known = set(display_names(peers_dir / "audioset_labels.csv").values())
    used = {label for labels in esc50.LABELS.values() for label in labels}
    assert used - known == {"Can opening", "Drinking, sipping", "Washing machine"}
    assert {label for labels in urbansound8k.LABELS.values() for label in labels} <= known
    assert len(esc50.LABELS) == 50


@pytest.fixture
def urban(tmp_path: Path) -> Path:
    write_text(
        tmp_path / "metadata" / "UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "7061-6-0-0.wav,7061,0.0,4.0,1,10,6,gun_shot",
    )
    write_audio(tmp_path / "audio" / "fold5" / "100032-3-0-0.wav")
    write_audio(tmp_path / "audio" / "fold10" / "7061-6-0-0.wav", 0.5)
    return tmp_path


def test_urbansound8k_has_ten_folds_and_the_recordings_of_freesound(urban: Path) -> None:
    clips = manifest_of("urbansound8k", urban)
    bark, shot = clips["100032-3-0-0.wav"], clips["7061-6-0-0.wav"]
    assert (bark.path, bark.fold, bark.group) == ("audio/fold5/100032-3-0-0.wav", 5, "fs:100032")
    assert (shot.labels, shot.fold, shot.duration_s) == (("Gunshot, gunfire",), 10, 0.5)
    assert {clip.tier for clip in clips.values()} == {"E"}


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    wave = BytesIO()
    sf.write(wave, np.zeros(4_000), 16_000, format="FLAC")
    records = [{"labels": "Speech;Gush", "fold": "5"}, {"labels": ["Guitar"], "tier": "A"}]
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        for index, record in enumerate(records):
            tar.write({"__key__": f"sub/{index}", "flac": wave.getvalue(), "json": record})
    return tmp_path


def test_webdataset_reads_the_json_beside_each_clip(tars: Path, tmp_path: Path) -> None:
    clips = list(manifest_of("webdataset", tars).values())
    assert [(c.path, c.labels, c.fold, c.group, c.tier) for c in clips] == [
        ("a.tar/sub/0.flac", ("Speech", "Gush"), 5, "a:sub/0", "C"),
        ("a.tar/sub/1.flac", ("Guitar",), 1, "a:sub/1", "A"),
    ]
    assert check_clip_list(tars, clips, NAMES.values()) == []
    store = ClipStore.open(tars, clips, 16_000, tmp_path / "cache")
    assert [len(store[index]) for index in range(len(store))] == [4_000, 4_000]


@pytest.mark.parametrize("record", [b"{}", b"no JSON", None])
def test_webdataset_names_a_clip_without_labels(tmp_path: Path, record: bytes | None) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar"), encoder=False) as tar:
        tar.write({"__key__": "x", "wav": b"", **({} if record is None else {"json": record})})
    with pytest.raises((UsageError, SourceError), match=r"x\.json"):
        LAYOUTS["webdataset"](tmp_path, NAMES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_something_else_is_refused(layout: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        LAYOUTS[layout](tmp_path, NAMES)


def test_metadata_without_a_needed_column_names_line_and_column(esc: Path) -> None:
    path = esc / "meta" / "esc50.csv"
    path.write_text(path.read_text().replace("src_file", "source"))
    with pytest.raises(UsageError, match=r"esc50\.csv line 2: no src_file"):
        LAYOUTS["esc50"](esc, NAMES)


@pytest.mark.parametrize(("old", "new"), [("water_drops", "water"), (",2,38", ",two,38")])
def test_unknown_class_or_fold_is_named(esc: Path, old: str, new: str) -> None:
    path = esc / "meta" / "esc50.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError, match=r"esc50\.csv: .*(water|two)"):
        LAYOUTS["esc50"](esc, NAMES)


def test_dataset_without_any_audio_is_refused(esc: Path) -> None:
    for path in (esc / "audio").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"(?s)no audio that can be used.*3 not readable"):
        survey(LAYOUTS["esc50"](esc, NAMES), esc)


def test_command_writes_a_manifest_above_the_dataset_and_says_what_is_in_it(esc: Path) -> None:
    classes, out = class_map(esc), esc.parent / "manifest.csv"
    done = CliRunner().invoke(dataset, ["esc50", str(esc), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "3 clips" in done.stdout
    assert "1 not on disk: 5-9032-A-0.wav" in done.stdout
    (first, *_) = read_clip_list(esc.parent)
    assert first.path == f"{esc.name}/audio/1-100032-A-0.wav"
    assert (esc.parent / first.path).is_file()
    assert classes.is_file()


@pytest.mark.parametrize("out", ["list.csv", "elsewhere/manifest.csv"])
def test_command_refuses_a_manifest_that_no_other_command_would_find(esc: Path, out: str) -> None:
    class_map(esc)
    done = CliRunner().invoke(dataset, ["esc50", str(esc), "--out", str(esc / out)])
    assert isinstance(done.exception, UsageError)
    assert not (esc / out).exists()


def test_check_command_lists_problems_and_fails_on_errors(esc: Path) -> None:
    class_map(esc, {"/m/1": "Dogs", "/m/2": "Bark", "/m/3": "Drip", "/m/4": "Water"})
    assert CliRunner().invoke(dataset, ["esc50", str(esc)]).exit_code == 0
    (esc / "audio" / "1-100032-A-0.wav").write_bytes(b"no audio")
    done = CliRunner().invoke(dataset, ["check", str(esc), "--decode"])
    assert done.exit_code == 1
    errors = [line for line in done.stdout.splitlines() if line.startswith("error")]
    assert len(errors) == 2
    assert "'Dog' of 1 clips is unknown: did you mean 'Dogs'" in errors[0]
    assert "1-100032-A-0.wav" in errors[1]
    assert "3 clips, 2 errors, 1 warnings" in done.stdout
