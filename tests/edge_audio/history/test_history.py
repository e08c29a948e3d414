"""Events and loudness in SQLite: what is written can be asked for, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.history.destination import HistoryConfig, HistoryDestination
from edge_audio.history.log import open_log
from edge_audio.history.queries import Wanted, all_events, days, event, events, timeline
from edge_audio.history.schema import APPLICATION_ID, MIGRATIONS
from edge_audio.history.store import History, HistoryFile, Level, Start
from edge_audio.history.tables import write_parquet
from edge_audio.report.bounds import Bounds
from edge_audio.report.contents import read_report
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from tests.support.command_line import error_line, listening, records, run
from tests.support.limits import files_up_to
from tests.support.peers import eventually

DAY_S = 86_400
FAST = ("--source", "demo", "--no-realtime", "--format", "jsonl")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History(tmp_path / "sounds.db")
    yield opened
    opened.close()


def start(unix_s: float, label: str = "Dog", stream: str = "kitchen") -> Start:
    return Start(round(unix_s * 1e6), 3600, stream, label, 0.5, unix_s % 1000)


def fill(history: History, n: int, every_s: float, first_s: float = 1.7e9) -> None:
    for i in range(n):
        began = start(first_s + i * every_s)
        history.begin(began)
        history.end(began, 1.0)


def found(path: Path, **wanted: object) -> list[str]:
    return [each.label for each in all_events(HistoryFile(path), Wanted(**wanted))]  # type: ignore[arg-type]


def destination_of(path: Path, **settings: float) -> HistoryDestination:
    return HistoryDestination(HistoryConfig(path=str(path), **settings))


def sound(stream: Stream, label: str, time_s: float, kind: str = "start") -> Event:
    """As the listener tells it: the stream knows the id of what sounds."""
    if kind == "start":
        stream.sounding[label] = stream.new_event_id(time_s)
    return Event(kind, label, time_s, 0.5)  # type: ignore[arg-type]


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
    began = sound(stream, "Dog", 8.0)
    destination = destination_of(path)  # while it sounds
    destination.open(stream).on_event(Event("end", began.label, 10.0, 0.9))
    destination.close()
    (row,) = all_events(HistoryFile(path), Wanted())
    assert (row.id, row.score) == (stream.sounding["Dog"], 0.9)
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


# What befalls it


def test_what_was_written_is_there_after_kill_9_and_sounds_no_more(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    flags = ("--source", "demo", "--format", "none", "--threshold", "0.02", "--history", path)
    with listening(*flags) as process:
        eventually(lambda: path.exists() and any(_sounding(path)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    n_before = len(found(path))
    assert n_before
    destination = destination_of(path)
    destination.close()
    assert len(found(path)) == n_before
    assert not any(_sounding(path))


def _sounding(path: Path) -> list[bool]:
    try:
        return [x.is_sounding for x in all_events(HistoryFile(path), Wanted()) if x.is_sounding]
    except UsageError:  # not yet made
        return []


def test_listening_goes_on_where_the_disk_is_full_and_rows_come_when_there_is_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sounds.db"
    destination = destination_of(path, level_every_s=0.0)
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    stream.stats.heard_until(10.0)
    sink = destination.open(stream)
    eventually(lambda: not len(destination._recorder._worker))  # noqa: SLF001
    size = Path(f"{path}-wal").stat().st_size
    with files_up_to(size):
        for _ in range(5):
            sink.on_event(sound(stream, "Dog", 5.0))
            sink.on_event(Event("end", "Dog", 6.0, 0.5))
        eventually(lambda: destination.n_lost == 10)
        assert "cannot write" in destination.problem
    sink.on_event(sound(stream, "Dog", 7.0))
    eventually(lambda: destination.problem == "")
    destination.close()
    assert len(found(path)) == 1


def test_a_slow_disk_costs_rows_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    destination = destination_of(path)
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    sink = destination.open(stream)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # nobody else can write
    began_s = time.monotonic()
    for i in range(3000):
        sink.on_event(sound(stream, "Dog", float(i)))
    assert time.monotonic() - began_s < 2.0
    assert destination.n_lost > 1000
    other.execute("ROLLBACK")
    other.close()
    destination.close()


def test_old_events_go_by_age_and_the_oldest_by_size(tmp_path: Path) -> None:
    history = History(tmp_path / "sounds.db")
    fill(history, 3, every_s=1.0, first_s=time.time() - 10 * DAY_S)
    first_s = time.time() - DAY_S
    fill(history, 3000, every_s=1.0, first_s=first_s)
    history.tidy(keep_s=5 * DAY_S, max_bytes=1e9)
    assert len([*all_events(history, Wanted())]) == 3000
    before = history.n_bytes
    history.tidy(keep_s=0.0, max_bytes=before / 2)
    kept = [x.id for x in all_events(history, Wanted())]
    assert history.n_bytes <= before / 2
    assert 500 < len(kept) < 2000
    assert kept[0] == round((first_s + 2999) * 1e6)  # the newest stay
    history.close()
    assert (tmp_path / "sounds.db").stat().st_size <= before / 2


def test_a_run_keeps_to_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    history = History(path)
    with history._writing() as connection:  # noqa: SLF001 - much at once
        many = [(i, f"label {i}" * 20) for i in range(1, 20_000)]
        columns = "id, label, utc_offset_s, stream, score, time_s, is_sounding"
        sql = f"INSERT INTO events({columns}) VALUES (?, ?, 0, 'a', 0.5, 1.0, 0)"  # noqa: S608
        connection.executemany(sql, many)
    history.close()
    destination = destination_of(path, max_mb=1.0, keep_days=0.0)
    eventually(lambda: destination.history.n_bytes <= 1e6)
    destination.close()
    assert found(path)[0].startswith("label 19999")


# Files of other versions, of others, and that are none


def test_a_history_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    old(path)
    assert found(path) == ["Dog"]  # read, without a change
    assert version_of(path) == 1
    destination_of(path).close()
    assert version_of(path) == len(MIGRATIONS)
    (row,) = all_events(HistoryFile(path), Wanted())
    assert (row.label, row.score, row.verdict) == ("Dog", 0.5, None)


def old(path: Path) -> None:
    """A history as the first version made it, with an event."""
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    microseconds = round(time.time() * 1e6)
    row = (microseconds, 0, "a", "Dog", 0.5, 1.0, 2.0, 0)
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bank_accounts(amount)")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    old(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (foreign, "something else"),
        (newer, "newer version"),
        (lambda path: path.write_bytes(b"x" * 5000), "no history"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), "no history"),
        (lambda path: path.mkdir(), "directory|folder"),
        (os.mkfifo, "a pipe"),
    ],
)
def test_what_is_no_history_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], text: str
) -> None:
    path = tmp_path / "sounds.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    config = HistoryConfig(path=str(path))
    for opened in (HistoryDestination, lambda config: HistoryDestination.check(config, ())):
        with pytest.raises(UsageError, match=text):
            opened(config)
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert not (tmp_path / "sounds.db.lock").exists()


def test_one_process_writes_a_history_at_a_time(tmp_path: Path) -> None:
    first = destination_of(tmp_path / "sounds.db")
    with pytest.raises(UsageError, match="written already"):
        destination_of(tmp_path / "sounds.db")
    first.close()
    destination_of(tmp_path / "sounds.db").close()


def test_other_settings_hold_without_opening_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    destination = destination_of(path, max_mb=200.0)
    fill(destination.history, 6000, every_s=1.0)
    change = destination.reconfigure(
        HistoryConfig(path=str(path), max_mb=0.2, keep_days=0.0), ExitStack()
    )
    assert change is not None
    change()
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    destination.open(stream).on_event(sound(stream, "Dog", 1.0))
    eventually(lambda: destination.history.n_bytes < 0.2e6)
    assert destination.reconfigure(HistoryConfig(path=str(tmp_path / "b")), ExitStack()) is None
    destination.close()


@pytest.mark.parametrize(
    "wrong", [{"max_mb": 0.0}, {"keep_days": -1.0}, {"level_every_s": -1.0}, {"path": ""}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        HistoryConfig(**{"path": "x", **wrong})  # type: ignore[arg-type]


# What reads it


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


def test_a_history_as_parquet(history: History, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(history, 3, every_s=1.0)
    write_parquet(tmp_path / "events.parquet", all_events(history, Wanted()))
    table = parquet.read_table(tmp_path / "events.parquet").to_pydict()
    assert table["label"] == ["Dog"] * 3
    assert table["duration_s"] == [1.0] * 3
