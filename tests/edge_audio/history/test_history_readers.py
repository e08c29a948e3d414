"""What reads a history: reports, tune, tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.history.log import open_log
from edge_audio.history.queries import Wanted, all_events
from edge_audio.history.store import History, HistoryFile, Level
from edge_audio.history.tables import write_parquet
from edge_audio.report.bounds import Bounds
from edge_audio.report.contents import read_report
from edge_audio.report.summary import Summary
from edge_audio.tuning.log import LoggedHours
from tests.support.command_line import error_line, run
from tests.support.histories import DAY_S, fill, start
from tests.support.logs import levels, record, write_log


def test_a_report_is_drawn_from_a_history_as_from_a_log(tmp_path: Path) -> None:
    path, log = tmp_path / "sounds.db", tmp_path / "sounds.jsonl"
    flags = ("--source", "demo", "--duration", 3, "--format", "none", "--threshold", "0.05")
    run("listen", *flags, "--history", path, "--json", log)
    by_history = read_report([path], Bounds()).summary
    by_log = read_report([log], Bounds()).summary
    assert by_history.n_events == by_log.n_events > 0
    assert by_history.rows.keys() == by_log.rows.keys()
    for key, row in by_log.rows.items():
        assert by_history.rows[key].sounding_s == pytest.approx(row.sounding_s, abs=1.0)
        assert by_history.rows[key].top_score == pytest.approx(row.top_score)
    with pytest.raises(UsageError, match="one kind"):
        read_report([path, log], Bounds())


def test_recordings_heard_faster_than_real_time_lie_behind_each_other_in_a_report(
    tmp_path: Path,
) -> None:
    """As a log has them, which gives them no time of day; heard twice, the second behind the
    first."""
    path, log = tmp_path / "sounds.db", tmp_path / "sounds.jsonl"
    flags = ("--source", "demo", "--no-realtime", "--duration", 40, "--format", "none")
    run("listen", *flags, "--history", path, "--json", log)
    by_history, by_log = (read_report([one], Bounds()).summary for one in (path, log))
    assert not by_history.axis.is_dated
    assert by_history.end_s == pytest.approx(40.0, abs=0.2)
    assert soundings(by_history) == soundings(by_log) != {}
    run("listen", *flags, "--history", path)
    twice = read_report([path], Bounds()).summary
    assert twice.end_s == pytest.approx(80.0, abs=0.4)
    for key, first in soundings(by_history).items():
        second = [(start_s + 40.0, end_s + 40.0) for start_s, end_s in first]
        for one, other in zip(soundings(twice)[key], [*first, *second], strict=True):
            assert one == pytest.approx(other, abs=0.3)
    assert hours_of([path]) == pytest.approx(80.0 / 3600.0, rel=0.01)


def soundings(summary: Summary) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Of each label when it sounds, to a tenth of a second."""
    return {
        key: [(round(x.start_s, 1), round(x.end_s, 1)) for x in row.segments.apart(0.0)]
        for key, row in summary.rows.items()
    }


def test_events_of_recordings_are_listed_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    flags = ("--source", "demo", "--no-realtime", "--duration", 60, "--format", "none")
    run("listen", *flags, "--related", "all", "--history", path)
    times_s = [event.time_s for event in all_events(HistoryFile(path), Wanted())]
    assert len(times_s) > 3
    assert times_s == sorted(times_s, reverse=True)


def test_recordings_stand_beside_what_has_a_time_of_day(history: History) -> None:
    """A report of a house tells how many records of recordings it passes over."""
    fill(history, 3, every_s=10.0)
    history.begin(replace(start(1.7e9 + 5.0, "Cat"), heard_from_s=1.7e9))
    assert history.path is not None
    assert [(x.label, x.at is None) for x in open_log([history.path])][-2:] == [
        ("Dog", False),
        ("Cat", True),
    ]
    summary = read_report([history.path], Bounds()).summary
    assert (summary.n_events, summary.n_undated) == (3, 1)


def test_feedback_reaches_tune_as_marks_in_a_log_do(history: History) -> None:
    fill(history, 3, every_s=10.0)
    for i, verdict in enumerate(("right", "wrong")):
        history.judge(start(1.7e9 + 10 * i).id, verdict, None)  # type: ignore[arg-type]
    assert history.path is not None
    told = [(x.kind, x.correct) for x in open_log([history.path])]
    wanted = [(kind, each) for each in (True, False, None) for kind in ("start", "end")]
    assert told == wanted


def test_a_history_is_printed_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    history = History(path)
    history.begin(start(1.7e9, "=cmd()", "a,b"))
    history.begin(start(1.7e9 + DAY_S))
    history.close()
    header, *rows = run("history", path).stdout.splitlines()
    assert header.startswith("at,unix_s,stream,label,score,duration_s")
    assert rows[0].startswith("2023-11-15T23:13:20.000+01:00,1700086400.0,kitchen,Dog,0.5,")
    assert '"a,b",\'=cmd(),' in rows[1]
    run("history", path, "--out", tmp_path / "events.csv", "--from", "2023-11-15")
    assert (tmp_path / "events.csv").read_text().splitlines() == [header, rows[0]]
    assert "cannot open" in error_line(run("history", tmp_path / "absent", ok=False), 2)


def test_labels_match_in_any_case_and_those_that_were_never_heard_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    history = History(path)
    history.begin(start(1.7e9))
    history.close()
    everything = run("history", path).stdout
    for options in (("--label", "dog"), ("--stream", "KITCHEN")):
        assert run("history", path, *options).stdout == everything
    done = run("history", path, "--label", "Dgo")
    assert len(done.stdout.splitlines()) == 1
    assert "no label in the history is Dgo: there are Dog" in done.stderr


def test_a_history_as_parquet(history: History, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(history, 3, every_s=1.0)
    write_parquet(tmp_path / "events.parquet", all_events(history, Wanted()))
    table = parquet.read_table(tmp_path / "events.parquet").to_pydict()
    assert table["label"] == ["Dog"] * 3
    assert table["duration_s"] == [1.0] * 3


def test_runs_over_each_other_are_counted_as_long_as_they_were(history: History) -> None:
    """A power cut where the clock goes on from when it was last saved, half an hour before."""
    began_s = 1_780_000_000.0
    for run_s, n_minutes in ((began_s, 600), (began_s + 570 * 60.0 + 7.0, 60)):
        for i in range(1, n_minutes + 1):
            history.hear(Level(run_s + 60.0 * i, 0, "hall", 60.0 * i, -40.0))
    assert history.path is not None
    assert hours_of([history.path]) == pytest.approx(11.0, rel=0.01)


def test_a_log_that_begins_amid_a_run_is_as_long_as_it_is(tmp_path: Path) -> None:
    """Of what was rotated away nobody knows the false alarms."""
    day_s = 86_400
    log = write_log(tmp_path / "sounds.jsonl", levels(30 * day_s, 30 * day_s + 7_200))
    assert hours_of([log]) == pytest.approx(2.0, abs=0.2)
    log = write_log(log, [record(3_600, "start", "Dog"), record(3_602, "end", "Dog")])
    assert hours_of([log]) == pytest.approx(1.0, abs=0.01)  # without levels nobody knows better


def hours_of(paths: list[Path]) -> float:
    logged = LoggedHours()
    for one in open_log(paths):
        logged.take(one)
    return logged.hours
