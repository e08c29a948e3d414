"""Events and loudness in SQLite: what a run writes, and what can be asked of it."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from edge_audio.events.detector import Event
from edge_audio.history.queries import Wanted, all_events, days, event, events, timeline
from edge_audio.history.store import History, HistoryFile, Level
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from tests.support.command_line import records, run
from tests.support.histories import destination_of, fill, start, starting

FAST = ("--source", "demo", "--no-realtime", "--format", "jsonl")


# From a run to rows


def test_a_run_writes_one_row_for_each_sound_as_the_log_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    done = run("listen", *FAST, "--duration", 60, "--history", path)
    told = [record for record in records(done.stdout) if record["kind"] in ("start", "end")]
    begun: dict[str, float] = {}
    wanted = []
    for record in told:
        if record["kind"] == "start":
            begun[record["label"]] = record["time_s"]
        else:
            start_s = begun.pop(record["label"])
            wanted.append((record["label"], start_s, round(record["time_s"] - start_s, 3)))
    rows = [*all_events(HistoryFile(path), Wanted())]
    assert len(rows) > 2
    got = sorted((row.label, row.time_s, row.duration_s) for row in rows)
    for one, (label, *times_s) in zip(got, sorted(wanted), strict=True):
        assert one == (label, *(pytest.approx(time_s, abs=0.002) for time_s in times_s))
    assert not any(row.is_sounding for row in rows)


def test_a_history_is_for_its_owner_alone(history: History) -> None:
    assert history.path is not None
    history.begin(start(1.7e9))
    modes = {stat.S_IMODE(file.stat().st_mode) for file in history.path.parent.iterdir()}
    assert modes == {0o600}


def test_an_event_whose_start_was_never_written_has_a_row_by_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    stream.stats.heard_until(10.0)
    began = starting(stream, "Dog", 8.0)
    destination = destination_of(path)  # while it sounds
    destination.open(stream).on_event(Event("end", began.label, 10.0, 0.9))
    destination.close()
    (row,) = all_events(HistoryFile(path), Wanted())
    assert (row.id, row.score) == (stream.sounding["Dog"].id, 0.9)
    assert row.duration_s == pytest.approx(2.0, abs=0.5)


def test_events_of_one_moment_have_ids_of_their_own() -> None:
    stream = Stream("kitchen", ["Dog", "Cat"], 16_000, live=True)
    stream.stats.heard_until(1.0)
    ids = [stream.new_event_id(0.5) for _ in range(500)]
    assert len(set(ids)) == 500
    assert max(ids) - min(ids) < 1000


def test_loudness_is_written_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    destination = destination_of(path, level_every_s=1.0)
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    sink = destination.open(stream)
    for i in range(50):
        stream.stats.heard_until(0.1 * (i + 1))
        sink.on_audio(Block(np.full(1600, 0.1, np.float32), 0.1 * i))
        sink.on_scores(0.1 * (i + 1), np.zeros(1, np.float32))
    destination.close()
    with HistoryFile(path).reading() as connection:
        levels = [x for (x,) in connection.execute("SELECT level_dbfs FROM levels")]
    assert levels == [-20.0] * 5


def test_names_that_utf8_cannot_hold_are_written(history: History) -> None:
    history.begin(start(1.7e9, stream="k\udcff"))
    assert events(history, Wanted(), 10)[0][0].stream == "k\\udcff"


# What is asked


def test_events_come_newest_first_and_page_by_page(history: History) -> None:
    fill(history, 25, every_s=10.0)
    first, more = events(history, Wanted(), 10)
    second, _ = events(history, Wanted(), 10, more)
    third, end = events(history, Wanted(), 10, second[-1].id)
    ids = [x.id for x in (*first, *second, *third)]
    assert ids == sorted(ids, reverse=True)
    assert (len(set(ids)), end) == (25, None)


def test_events_are_found_by_time_source_label_and_text(history: History) -> None:
    history.begin(start(1.7e9, "Dog"))
    history.begin(start(1.7e9 + 60, "Cat", "attic"))
    history.begin(start(1.7e9 + 120, "100% _real_", "attic"))

    def labels(**wanted: object) -> list[str]:
        return [x.label for x in events(history, Wanted(**wanted), 10)[0]]  # type: ignore[arg-type]

    assert labels(from_unix_s=1.7e9 + 60) == ["100% _real_", "Cat"]
    assert labels(to_unix_s=1.7e9 + 60) == ["Dog"]
    assert labels(stream="attic", label="Cat") == ["Cat"]
    assert labels(text="KITCH") == ["Dog"]
    assert labels(text="%") == labels(text="_real_") == ["100% _real_"]
    assert labels(text="' OR 1=1 --") == []
    assert labels(from_unix_s=float("-1e300"), to_unix_s=1e300) == ["100% _real_", "Cat", "Dog"]


def test_a_timeline_counts_starts_and_shows_the_loudest_level(history: History) -> None:
    fill(history, 100, every_s=36.0)
    history.hear(Level(1.7e9 + 1, 0, "kitchen", 1.0, -40.0))
    history.hear(Level(1.7e9 + 2, 0, "kitchen", 2.0, -20.0))
    shown = timeline(history, 1.7e9, 1.7e9 + 3600, 10, Wanted())
    assert [(x.label, x.counts) for x in shown.labels] == [("Dog", [10] * 10)]
    assert shown.level_dbfs == [-20.0, *[None] * 9]
    assert timeline(history, 1.7e9, 1.7e9 + 3600, 10, Wanted(stream="attic")).labels == []


def test_days_are_those_of_the_place(history: History) -> None:
    midnight_s = 1_709_251_200  # 2024-03-01 in UTC
    history.begin(start(midnight_s - 1800))  # the clocks are an hour ahead
    history.begin(start(midnight_s - 2 * 3600))
    assert [(x.day, x.n_events) for x in days(history)] == [("2024-03-01", 1), ("2024-02-29", 1)]


def test_what_somebody_says_of_an_event_stays_until_it_is_taken_back(history: History) -> None:
    fill(history, 1, every_s=1.0)
    number = start(1.7e9).id
    assert history.judge(number, "other", "Cat")
    judged = event(history, number)
    assert judged is not None
    assert (judged.verdict, judged.told_label) == ("other", "Cat")
    assert history.judge(number, None, None)
    assert not history.judge(number + 1, "right", None)
    assert event(history, number + 1) is None


def test_a_history_in_memory_answers_as_one_in_a_file() -> None:
    history = History(None)
    fill(history, 3, every_s=1.0)
    assert len(events(history, Wanted(), 10)[0]) == 3
    history.close()
