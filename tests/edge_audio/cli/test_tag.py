"""`edge-audio tag` as its users meet it."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command_line import error_line, records, run


def test_tag_finds_the_events_that_listen_reports(
    model: Sequence[object], bursts_wav: Path
) -> None:
    events = records(run("listen", *model, "--source", bursts_wav, "--format", "jsonl").stdout)
    (tags,) = records(run("tag", *model, "--format", "jsonl", bursts_wav).stdout)
    for kind in ("start", "end"):
        listened = sorted((e["time_s"], e["label"]) for e in events if e["kind"] == kind)
        tagged = sorted((e[f"{kind}_s"], e["label"]) for e in tags["events"])
        assert tagged == listened
    assert tags["duration_s"] == 5.0
    assert tags["path"] == str(bursts_wav)


def test_tag_and_listen_say_what_was_heard_and_is_off(
    model: Sequence[object], bursts_wav: Path
) -> None:
    """The last two of the toy's labels are off."""
    silent = ("--exclude", "Band 0")  # any change of the choice: the rest is as it was
    tagged = run("tag", *model, bursts_wav, *silent).stdout
    (line,) = [line for line in tagged.splitlines() if line.strip().startswith("Band 10 ")]
    assert line.endswith("off: too little evidence; --threshold 'Band 10=0.5'")
    done = run("listen", *model, "--source", bursts_wav, "--format", "text")
    assert line.strip() in done.stderr
    assert "off:" not in done.stdout
    (record,) = records(run("tag", *model, bursts_wav, *silent, "--format", "jsonl").stdout)
    (told,) = [one for one in record["heard_off"] if one["label"] == "Band 10"]
    assert told.keys() == {"label", "score", "why", "threshold"}
    assert (told["why"], told["threshold"]) == ("too little evidence to judge it by", 0.5)
    assert line.strip().startswith(f"Band 10 {told['score']:.2f}")
    chosen = ("--threshold", "Band 10=0.5", "--threshold", "Band 11=0.5")
    assert "off:" not in run("tag", *model, bursts_wav, *chosen).stdout
    (record,) = records(run("tag", *model, bursts_wav, *chosen, "--format", "jsonl").stdout)
    assert "heard_off" not in record


def test_tag_explains_what_listen_explains(model: Sequence[object], bursts_wav: Path) -> None:
    wanted = ("--explain", "band 0", "--explain", "Band 11")
    tagged = run("tag", *model, bursts_wav, *wanted).stdout
    done = run("listen", *model, "--source", bursts_wav, "--format", "text", *wanted)
    listened, shown = (
        [line for line in text.splitlines() if "  why    Band " in line]
        for text in (done.stdout, tagged)
    )
    assert shown == listened != []
    assert not tagged.splitlines()[0].startswith(" "), "the file's name comes first"
    assert "did you mean" in error_line(run("tag", bursts_wav, "--explain", "Dogg", ok=False), 2)
    as_csv = run("tag", *model, bursts_wav, *wanted, "--format", "csv", ok=False)
    assert "--format text" in error_line(as_csv, 2)


def test_tag_ranks_labels_by_their_highest_score(model: Sequence[object], bursts_wav: Path) -> None:
    listened = run("listen", *model, "--source", bursts_wav, "--format", "jsonl", "--top", 12)
    highest: dict[str, float] = {}
    for record in records(listened.stdout):
        for entry in record.get("top", ()):
            highest[entry["label"]] = max(highest.get(entry["label"], 0.0), entry["score"])
    (tags,) = records(run("tag", *model, "--format", "jsonl", "--top", 12, bursts_wav).stdout)
    assert {entry["label"]: entry["score"] for entry in tags["top"]} == highest
    scores = [entry["score"] for entry in tags["top"]]
    assert scores == sorted(scores, reverse=True)


def test_tag_formats_agree_on_the_events(model: Sequence[object], bursts_wav: Path) -> None:
    (tags,) = records(run("tag", *model, "--format", "jsonl", bursts_wav).stdout)
    expected = [(e["start_s"], e["end_s"], e["label"]) for e in tags["events"]]
    assert expected
    rows = list(
        csv.DictReader(run("tag", *model, "--format", "csv", bursts_wav).stdout.splitlines())
    )
    assert list(rows[0]) == ["path", "start_s", "end_s", "label", "score"]
    assert [(float(r["start_s"]), float(r["end_s"]), r["label"]) for r in rows] == expected
    track = run("tag", *model, "--format", "audacity", bursts_wav).stdout.splitlines()
    fields = [line.split("\t") for line in track]
    assert [(float(start), float(end), label) for start, end, label in fields] == expected
    text = run("tag", *model, bursts_wav).stdout
    assert all(label in text for _, _, label in expected)


def test_tag_reports_bad_files_and_goes_on_with_the_rest(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    corrupt, missing, empty = (tmp_path / f"{name}.wav" for name in ("corrupt", "missing", "empty"))
    corrupt.write_bytes(b"not audio")
    soundfile.write(empty, np.zeros(0, np.float32), 16_000)
    done = run(
        "tag",
        *model,
        "--format",
        "jsonl",
        corrupt,
        bursts_wav,
        missing,
        empty,
        bursts_wav,
        ok=False,
    )
    assert done.returncode == 1
    first, second = records(done.stdout)
    assert first == second
    lines = done.stderr.splitlines()
    bad = (corrupt, missing, empty)
    assert all(path.name in line for path, line in zip(bad, lines, strict=True))
    assert all(line.startswith("edge-audio: error: ") for line in lines)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_files_is_an_error_and_not_waited_for(
    model: Sequence[object], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "pipe.wav" in error_line(run("tag", *model, tmp_path / "pipe.wav", ok=False), 1)


def test_tag_starts_every_file_afresh_and_walks_folders(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("b.wav", "a.wav", "deeper/c.WAV"):
        shutil.copy(bursts_wav, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not audio")
    found = records(run("tag", *model, "--format", "jsonl", tmp_path).stdout)
    names = [str(Path(tags.pop("path")).relative_to(tmp_path)) for tags in found]
    assert names == ["a.wav", "b.wav", "deeper/c.WAV"]
    assert found[0] == found[1] == found[2]


def test_tag_refuses_a_label_track_of_several_files(
    model: Sequence[object], bursts_wav: Path
) -> None:
    error_line(run("tag", *model, "--format", "audacity", bursts_wav, bursts_wav, ok=False), 2)
