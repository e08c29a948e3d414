"""Clips in tars: written, and read where they lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import webdataset
from click.testing import CliRunner

from distill.cli.dataset import dataset
from distill.data.clip_list import clip_list_rows, read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.shards import ShardWriter
from distill.data.tars import read_bytes
from edge_audio.errors import EdgeAudioError, SourceError, UsageError
from tests.distill import workshop
from tests.distill.workshop import CLIPS_PER_SHARD, RATE_HZ


def test_shards_hold_every_clip_with_its_row_and_its_very_bytes(data: Path, shards: Path) -> None:
    before, after = (
        {read_bytes(folder / row["path"]): {**row, "path": ""} for row in clip_list_rows(folder)}
        for folder in (data, shards)
    )
    assert after == before
    assert len(after) == 30
    sizes = Counter(clip.path.split("/")[0] for clip in read_clip_list(shards))
    assert sizes == {f"shard-0000{index}.tar": 7 if index < 4 else 2 for index in range(5)}


def test_webdataset_reads_the_shards_in_the_order_of_their_manifest(shards: Path) -> None:
    paths = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = webdataset.WebDataset(paths, shardshuffle=False).decode()
    clips = read_clip_list(shards)
    for sample, clip in zip(samples, clips, strict=True):
        assert clip.path.endswith(f"/{sample['__key__']}.wav")
        assert sample["json"]["labels"] == ";".join(clip.labels)
        assert sample["wav"] == read_bytes(shards / clip.path)


def test_sharding_is_reproducible_and_goes_on_where_it_stopped(
    data: Path, shards: Path, tmp_path: Path
) -> None:
    writer = ShardWriter(data, tmp_path, CLIPS_PER_SHARD, seed=1)
    finished = next(iter(writer))
    assert not (tmp_path / "manifest.csv").exists()
    changed = finished.stat().st_mtime_ns
    (tmp_path / "shard-00001.tar").write_bytes(b"from another run")
    assert len(list(ShardWriter(data, tmp_path, CLIPS_PER_SHARD, seed=1))) == 5
    assert finished.stat().st_mtime_ns == changed
    for path in shards.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_list_of_another_name_is_checked_and_sharded(data: Path, tmp_path: Path) -> None:
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    (data / "few.csv").write_text("".join(lines[:6]))
    classes = tmp_path / "classes.csv"
    names = "".join(f"/m/{i},{name}\n" for i, name in enumerate(workshop.KINDS.values()))
    classes.write_text("mid,display_name\n" + names)
    for command in (["check", "--classes", str(classes)], ["shard", str(tmp_path / "out")]):
        done = CliRunner().invoke(dataset, [command[0], str(data / "few.csv"), *command[1:]])
        assert done.exit_code == 0, done.output
    assert len(read_clip_list(tmp_path / "out")) == 5


def test_shards_of_other_rows_are_written_anew(data: Path, shards: Path, tmp_path: Path) -> None:
    list(ShardWriter(data, tmp_path, CLIPS_PER_SHARD, seed=2))
    (tmp_path / "manifest.csv").unlink()
    list(ShardWriter(data, tmp_path, CLIPS_PER_SHARD, seed=1))
    assert (tmp_path / "shard-00000.tar").read_bytes() == (shards / "shard-00000.tar").read_bytes()


def test_full_disk_is_reported_and_leaves_no_half_shard(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    writer = ShardWriter(data, tmp_path, CLIPS_PER_SHARD)
    monkeypatch.setattr(webdataset.TarWriter, "write", full)
    with pytest.raises(EdgeAudioError, match=r"shard-00000\.tar.*No space left"):
        list(writer)
    assert list(tmp_path.iterdir()) == []


def test_missing_audio_stops_sharding_and_is_named(tmp_path: Path) -> None:
    workshop.write_clip_list(tmp_path, [workshop.row("gone.wav", "rain", 1, "g")])
    with pytest.raises(SourceError, match=r"gone\.wav"):
        list(ShardWriter(tmp_path, tmp_path / "out", 5))


def test_data_that_is_already_there_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds data"):
        ShardWriter(data, data, 5)
    list(ShardWriter(data, tmp_path, clips_per_shard=5))
    (tmp_path / "manifest.csv").unlink()
    with pytest.raises(UsageError, match="already holds data"):  # shard-00005.tar would stay
        ShardWriter(data, tmp_path, clips_per_shard=10)


def test_store_decodes_shards_as_it_does_files(data: Path, shards: Path, tmp_path: Path) -> None:
    contents = []
    for folder in (data, shards):
        store = ClipStore.open(folder, read_clip_list(folder), RATE_HZ, tmp_path)
        contents.append(Counter(store[index].tobytes() for index in range(len(store))))
    assert contents[0] == contents[1]


def test_shard_command_makes_a_folder_that_check_finds_sound(data: Path, tmp_path: Path) -> None:
    names = [*workshop.KINDS.values()]
    classes = tmp_path / "classes.csv"
    lines = [f"{index},/m/{index},{name}" for index, name in enumerate(names)]
    classes.write_text("\n".join(["index,mid,display_name", *lines]))
    arguments = ["shard", str(data), str(tmp_path / "out"), "--clips-per-shard", "10"]
    assert "3 shards in" in CliRunner().invoke(dataset, arguments).stdout
    check = ["check", str(tmp_path / "out"), "--decode", "--classes", str(classes)]
    done = CliRunner().invoke(dataset, check)
    assert "30 clips, 0 errors, 0 warnings" in done.stdout
    (tmp_path / "out" / "shard-00001.tar").unlink()
    done = CliRunner().invoke(dataset, check[:2] + check[3:])
    assert done.exit_code == 1
    assert "10 files are missing" in done.stdout
