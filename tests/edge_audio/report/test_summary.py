"""What a log says is what the summary of a report counts: events, runs, gaps, streams, bounds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_audio.report.bounds import Bounds, parse_bound
from edge_audio.report.series import Segment
from edge_audio.report.summary import Summary, summarise
from edge_audio.sinks.log_reader import LogRecord
from tests.support.logs import NOON, levels, record, undated


def summary_of(records: Iterable[dict[str, Any]], *bounds: str | None) -> Summary:
    decoded = [LogRecord(**_decoded(each)) for each in records]
    return summarise(decoded, Bounds(*(parse_bound(x) if x else None for x in bounds)))


def _decoded(fields: dict[str, Any]) -> dict[str, Any]:
    at = fields.get("at")
    return {**fields, "at": datetime.fromisoformat(at)} if at else fields


def segments(summary: Summary, label: str, stream: str = "hall") -> list[Segment]:
    return summary.rows[stream, label].segments.apart(0.0)


def test_starts_are_paired_with_ends_and_summed_up() -> None:
    summary = summary_of(
        [
            record(1.0, "start", "Dog"),
            record(2.0, "start", "Siren"),
            record(3.5, "end", "Dog", score=0.9),
            record(5.0, "end", "Siren"),
            record(8.0, "start", "Dog"),
            record(9.0, "end", "Dog"),
        ]
    )
    dog = summary.rows["hall", "Dog"]
    assert (dog.n_events, dog.sounding_s, dog.longest_s, dog.top_score) == (2, 3.5, 2.5, 0.9)
    assert [row.label for row in summary.ranked] == ["Dog", "Siren"]
    assert summary.n_events == 3
    assert summary.start_s == NOON.timestamp() + 1.0


def test_what_still_sounds_at_the_end_of_the_log_is_open() -> None:
    summary = summary_of([record(1.0, "start", "Dog"), *levels(0, 30)])
    (segment,) = segments(summary, "Dog")
    assert (segment.state, segment.end_s - segment.start_s) == ("open", 19.0)


def test_a_restart_cuts_what_sounded_and_leaves_a_gap() -> None:
    again = [
        {**each, "time_s": each["time_s"] - 500.0}
        for each in [*levels(500, 530), record(520, "start", "Dog"), record(525, "end", "Dog")]
    ]
    summary = summary_of([*levels(0, 110), record(95, "start", "Dog"), *again])
    cut, whole = segments(summary, "Dog")
    assert (cut.state, round(cut.sounding_s)) == ("cut", 5)
    assert (whole.state, round(whole.sounding_s)) == ("ended", 5)
    (gap,) = summary.interruptions
    assert gap.text == "listening began anew"
    assert (gap.end_s - gap.start_s, summary.n_gaps, summary.gap_s) == (400.0, 1, 400.0)
    assert summary.streams["hall"].heard_s == 125.0


def test_silence_of_a_log_that_writes_levels_is_a_gap() -> None:
    summary = summary_of([*levels(0, 100), *levels(1000, 1100)])
    (gap,) = summary.interruptions
    assert (gap.is_gap, gap.end_s - gap.start_s) == (True, 910.0)
    assert summary.streams["hall"].heard_s == 180.0


def test_the_last_level_of_a_run_comes_sooner_and_is_no_measure_of_gaps() -> None:
    run = [*levels(0, 601, 300), record(605, "level", level_dbfs=-50)]
    next_run = [{**one, "at": record(700 + one["time_s"], "level")["at"]} for one in run]
    summary = summary_of([*run, *next_run])
    assert [one.text for one in summary.interruptions] == ["listening began anew"]


def test_silence_of_a_log_without_levels_is_no_gap() -> None:
    events = [record(1, "start", "Dog"), record(2, "end", "Dog"), record(7200, "start", "Dog")]
    summary = summary_of(events)
    assert not summary.interruptions
    assert summary.streams["hall"].heard_s == 7199.0


@pytest.mark.parametrize(("jump_s", "text", "n_gaps"), [(3600, "forward", 1), (-3600, "back", 0)])
def test_a_changed_clock_is_told_and_ends_no_run(jump_s: int, text: str, n_gaps: int) -> None:
    after = levels(100, 200)
    for each in after:
        each["at"] = (NOON + timedelta(seconds=each["time_s"] + jump_s)).isoformat()
    summary = summary_of([*levels(0, 50), record(50, "start", "Dog"), *levels(50, 100), *after])
    (told,) = summary.interruptions
    assert text in told.text
    assert summary.n_gaps == n_gaps
    assert [segment.state for segment in segments(summary, "Dog")] == ["open"]
    assert summary.streams["hall"].heard_s == 180.0


def test_an_end_whose_start_was_lost_counts_and_has_no_length() -> None:
    summary = summary_of([record(0, "level", level_dbfs=-40), record(9.0, "end", "Dog")])
    (segment,) = segments(summary, "Dog")
    assert (segment.n_events, segment.sounding_s) == (1, 0.0)


def test_streams_are_kept_apart() -> None:
    summary = summary_of(
        [
            record(1, "start", "Dog", stream="hall"),
            record(2, "start", "Dog", stream="yard"),
            record(4, "end", "Dog", stream="yard"),
            record(9, "end", "Dog", stream="hall"),
        ]
    )
    assert [round(segments(summary, "Dog", s)[0].sounding_s) for s in ("hall", "yard")] == [8, 2]


def test_recordings_have_audio_time_and_their_runs_follow_each_other() -> None:
    dog = [record(20, "start", "Dog"), record(30, "end", "Dog")]
    run_1 = [*levels(0, 20), *dog, *levels(40, 100)]
    summary = summary_of(undated(each) for each in [*run_1, *run_1])
    assert not summary.axis.is_dated
    first, second = segments(summary, "Dog")
    assert (first.start_s, second.start_s) == (20.0, 110.0)
    assert summary.streams["hall"].heard_s == 180.0


def test_bounds_cut_events_and_gaps_and_are_local_without_a_zone() -> None:
    log = [record(-10, "start", "Dog"), record(30, "end", "Dog"), record(50, "start", "Cat")]
    log += [record(55, "end", "Cat"), record(100, "start", "Owl"), record(101, "end", "Owl")]
    for first, last in (
        ("2026-03-02T12:00:00", "2026-03-02T12:00:50"),
        ("2026-03-02T11:00:00+00:00", "2026-03-02T05:00:50-06:00"),
    ):
        summary = summary_of(log, first, last)
        assert [row.label for row in summary.ranked] == ["Dog"]
        assert summary.rows["hall", "Dog"].sounding_s == 30.0
        assert (summary.start_s, summary.end_s) == (NOON.timestamp(), NOON.timestamp() + 50)
    audio = summary_of([undated(each) for each in log[1:]], "0:40", None)
    assert sorted(row.label for row in audio.ranked) == ["Cat", "Owl"]


def test_an_hour_that_clocks_show_twice_is_two_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 10, 24, 22, 0, tzinfo=zone).timestamp()
    log = []
    for minute in range(0, 600, 5):
        at = datetime.fromtimestamp(start + 60 * minute, zone)
        log.append({"time_s": minute * 60.0, "at": at.isoformat(), "kind": "start", "label": "Dog"})
        log.append({**log[-1], "kind": "end"})
    summary = summary_of(log)
    assert list(summary.per_bin(3600).values()) == [12] * 10
    assert list(summary.per_bin(86_400).values()) == [24, 96]
    ticks = [text for _, text in summary.axis.ticks(summary.start_s, summary.end_s, 12)]
    assert ticks.count("02:00") == 2
    assert ticks[:3] == ["22:00", "23:00", "Sun 25 Oct"]
    assert not summary.interruptions
