"""Where clips go, and that a folder is one process's alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.clips.recorder import ClipsDestination
from tests.edge_audio.sinks.clips.clip_runs import (
    PCM,
    RATE_HZ,
    blocks,
    config,
    found,
    hear,
    record,
    sounds,
    stream,
)


def test_live_clips_are_named_by_the_time_of_day_and_private(tmp_path: Path) -> None:
    record(config(tmp_path / "clips"), *sounds("Siren", 3.0, 4.0), live=True)
    (path,) = tmp_path.rglob("*.flac")
    sidecar = json.loads(path.with_suffix(".json").read_text())
    day, clock = sidecar["at"][:19].split("T")
    name = f"kitchen/{day}/{clock.replace(':', '')}-Siren.flac"
    assert path.relative_to(tmp_path / "clips") == Path(name)
    for entry in (tmp_path / "clips", *(tmp_path / "clips").rglob("*")):
        mode = stat.S_IMODE(entry.stat().st_mode)
        assert mode == (0o700 if entry.is_dir() else 0o600), entry


HOSTILE = ["../../up", "..", "/etc/passwd", "a\0b", "x" * 5_000, "\udcff", "", "é\n\u2028" * 99]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "clips"
    destination = ClipsDestination(config(folder))
    label = name.replace("\udcff", "?")  # labels are checked by the bundle
    for live in (False, True):
        sink = destination.open(stream(name, live, labels=(label,)))
        hear(sink, blocks(PCM[: 3 * RATE_HZ]), *sounds(label, 1.0, 1.5))
        sink.close()
    destination.close()
    assert destination.problem == ""
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 4
    assert all(path.parents[2] == folder for path in files)
    assert not folder.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_clips_go_into_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    record(config(folder), *sounds("Siren", 3.0, 4.0))
    assert len([*folder.rglob("*.flac")]) == 1


def test_streams_with_similar_names_never_share_a_folder(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path))
    sinks = [destination.open(stream(name)) for name in ("a b", "a/b", "a-b")]
    for sink in sinks:
        hear(sink, blocks(PCM[: 6 * RATE_HZ]), *sounds("Siren", 3.0, 3.5))
    for sink in sinks:
        sink.close()
    destination.close()
    assert sorted(sidecar["stream"] for _, sidecar in found(tmp_path)) == ["a b", "a-b", "a/b"]


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = ClipsDestination(config(tmp_path))
    with pytest.raises(UsageError, match="already: name another folder"):
        ClipsDestination(config(tmp_path))
    first.close()
    ClipsDestination(config(tmp_path)).close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot record clips in"):
        ClipsDestination(config(tmp_path / "file" / "clips"))
