"""Files of JSON lines: whole lines, rotated, through full disks and restarts."""

from __future__ import annotations

import json
import stat
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.jsonl import JsonLinesConfig, JsonLinesDestination
from edge_audio.sources.stream import Stream
from tests.support.limits import files_up_to
from tests.support.peers import eventually


def stream(live: bool = True) -> Stream:
    return Stream(name="kitchen", labels=("Siren",), sample_rate_hz=16_000, live=live)


def siren(time_s: float) -> Event:
    return Event(kind="start", label="Siren", time_s=time_s, score=0.75)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_say_when_and_on_which_stream(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    sink = destination.open(stream())
    sink.on_event(siren(1.0))
    sink.on_notice("the microphone is gone")
    destination.close()
    event, notice = lines(path)
    assert datetime.fromisoformat(str(event.pop("at"))).tzinfo is not None
    fields = {"kind": "start", "label": "Siren", "score": 0.75}
    assert event == {"time_s": 1.0, "stream": "kitchen", **fields}
    assert (notice["kind"], notice["text"]) == ("notice", "the microphone is gone")


def test_a_recording_has_no_time_of_day(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    destination.open(stream(live=False)).on_event(siren(1.0))
    destination.close()
    assert "at" not in lines(path)[0]


def test_rotation_keeps_whole_lines_in_order_and_no_more_files_than_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path), max_mb=0.001, keep=2))
    sink = destination.open(stream())
    for i in range(60):
        sink.on_event(siren(float(i)))
    destination.close()
    names = ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    times_s = [found["time_s"] for name in reversed(names) for found in lines(tmp_path / name)]
    assert times_s == [float(i) for i in range(60 - len(times_s), 60)]


def test_where_older_files_cannot_be_moved_the_file_grows_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    path, obstacle = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    (obstacle / "full").mkdir(parents=True)
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path), max_mb=0.001, keep=1))
    sink = destination.open(stream())
    for i in range(60):
        sink.on_event(siren(float(i)))
    eventually(lambda: path.read_bytes().count(b"\n") == 60)
    assert "cannot begin a new file" in destination.problem
    assert destination.n_lost == 0
    (obstacle / "full").rmdir()
    obstacle.rmdir()
    sink.on_event(siren(60.0))
    eventually(lambda: destination.problem == "")
    destination.close()
    assert [found["time_s"] for found in lines(obstacle) + lines(path)] == [*range(61)]


def test_a_link_to_a_log_stays_one_and_rotates_where_the_log_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    path = tmp_path / "events.jsonl"
    path.symlink_to(tmp_path / "disk" / "log")
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path), max_mb=0.001, keep=2))
    sink = destination.open(stream())
    for i in range(60):
        sink.on_event(siren(float(i)))
    destination.close()
    assert path.is_symlink()
    assert {file.name for file in (tmp_path / "disk").iterdir()} == {"log", "log.1", "log.2"}
    assert lines(path)[-1]["time_s"] == 59.0


def test_files_beyond_a_smaller_number_to_keep_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for keep in (5, 2):
        config = JsonLinesConfig(path=str(path), max_mb=0.001, keep=keep)
        destination = JsonLinesDestination(config)
        sink = destination.open(stream())
        for i in range(90):
            sink.on_event(siren(float(i)))
        destination.close()
        assert len(list(tmp_path.iterdir())) == keep + 1


def test_a_restart_appends_and_ends_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"time_s": 1.0}\n{"time')
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    destination.open(stream()).on_event(siren(2.0))
    destination.close()
    first, torn, last = path.read_text().splitlines()
    assert (first, torn) == ('{"time_s": 1.0}', '{"time')
    assert json.loads(last)["time_s"] == 2.0


def test_a_full_disk_is_a_problem_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    sink = destination.open(stream())
    with files_up_to(250):
        for i in range(10):
            sink.on_event(siren(float(i)))
        eventually(lambda: destination.n_lost + path.read_bytes().count(b"\n") == 10)
    assert "lost" in destination.problem
    assert 0 < destination.n_lost < 10
    sink.on_event(siren(99.0))
    eventually(lambda: destination.problem == "")
    destination.close()
    assert lines(path)[-1]["time_s"] == 99.0


def test_a_file_that_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        JsonLinesDestination(JsonLinesConfig(path=str(tmp_path / "absent" / "events.jsonl")))


def test_settings_out_of_range_are_refused() -> None:
    cases: list[dict[str, Any]] = [{"path": ""}, {"top": -1}, {"max_mb": 0.0}, {"keep": 0}]
    for wrong in cases:
        with pytest.raises(ValueError, match=r"must|need"):
            JsonLinesConfig(**{"path": "x", **wrong})


def test_a_log_is_for_its_owner_alone_through_rotation_too(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path), max_mb=0.001, keep=2))
    sink = destination.open(stream())
    for i in range(60):
        sink.on_event(siren(float(i)))
    destination.close()
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}


def test_a_log_that_others_may_read_already_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.touch(mode=0o644)
    path.chmod(0o644)
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    destination.open(stream()).on_event(siren(1.0))
    destination.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_names_that_utf8_cannot_hold_are_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    odd = Stream(name="k\udcff", labels=("Siren",), sample_rate_hz=16_000, live=False)
    destination.open(odd).on_event(siren(1.0))
    destination.close()
    assert destination.n_lost == 0
    assert lines(path)[0]["stream"] == "k\udcff"


def test_settings_change_on_the_same_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    sink = destination.open(stream())
    other = JsonLinesConfig(path=str(tmp_path / "other.jsonl"))
    assert destination.reconfigure(other, ExitStack()) is None
    again = JsonLinesConfig(path=f"{tmp_path}/./events.jsonl", top=1, max_mb=0.0002)
    go_on = destination.reconfigure(again, ExitStack())
    assert go_on is not None
    sink.on_scores(1.0, np.ones(1, np.float32))  # level
    go_on()
    for time_s in (2.0, 3.0, 4.0):
        sink.on_scores(time_s, np.ones(1, np.float32))
    destination.close()
    kinds = [
        line["kind"] for file in sorted(tmp_path.iterdir(), reverse=True) for line in lines(file)
    ]
    assert kinds == ["level", "scores", "scores", "scores"]
    assert len(list(tmp_path.iterdir())) > 1


def test_a_disk_with_room_for_short_lines_alone_has_its_problem_still(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    destination = JsonLinesDestination(JsonLinesConfig(path=str(path)))
    sink = destination.open(stream())
    with files_up_to(600):
        sink.on_notice("x" * 900)
        eventually(lambda: destination.problem != "")
        sink.on_event(siren(1.0))
        eventually(lambda: path.stat().st_size > 0)
        sink.on_event(siren(2.0))
        eventually(lambda: len(lines(path)) == 2)
        assert "1 records lost" in destination.problem
    sink.on_notice("y" * 900)
    eventually(lambda: destination.problem == "")
    destination.close()
