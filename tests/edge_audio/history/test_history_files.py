"""Files of histories, whatever befalls them: kills, full disks, other versions, other people."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.history.destination import HistoryConfig, HistoryDestination
from edge_audio.history.queries import Wanted, all_events
from edge_audio.history.schema import APPLICATION_ID, MIGRATIONS
from edge_audio.history.store import History, HistoryFile
from edge_audio.sources.stream import Stream
from tests.support.command_line import listening
from tests.support.histories import DAY_S, destination_of, fill, labels_in, start, starting
from tests.support.limits import files_up_to
from tests.support.peers import eventually

# What befalls it


def test_what_was_written_is_there_after_kill_9_and_sounds_no_more(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    flags = ("--source", "demo", "--format", "none", "--threshold", "0.02", "--history", path)
    with listening(*flags) as process:
        eventually(lambda: path.exists() and any(_sounding(path)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    n_before = len(labels_in(path))
    assert n_before
    destination = destination_of(path)
    destination.close()
    assert len(labels_in(path)) == n_before
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
            sink.on_event(starting(stream, "Dog", 5.0))
            sink.on_event(Event("end", "Dog", 6.0, 0.5))
        eventually(lambda: destination.n_lost == 10)
        assert "cannot write" in destination.problem
    sink.on_event(starting(stream, "Dog", 7.0))
    eventually(lambda: destination.problem == "")
    destination.close()
    assert len(labels_in(path)) == 1


@pytest.mark.parametrize("how", ["deleted", "deleted with its WAL", "moved away"])
def test_a_run_goes_on_in_a_new_file_where_the_old_one_is_gone(tmp_path: Path, how: str) -> None:
    path, old = tmp_path / "sounds.db", tmp_path / "old.db"
    history = History(path)
    history.begin(start(1.0, "Dog"))
    if how == "moved away":
        path.rename(old)
    for file in tmp_path.glob("sounds.db*" if how == "deleted with its WAL" else "sounds.db"):
        file.unlink()
    history.begin(start(2.0, "Cat"))
    history.begin(start(3.0, "Bird"))
    assert sorted(labels_in(path)) == ["Bird", "Cat"]
    history.close()
    assert sorted(labels_in(path)) == ["Bird", "Cat"]
    if how == "moved away":
        assert labels_in(old) == ["Dog"]


def test_rows_wait_until_the_folder_of_a_history_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    history = History(folder / "sounds.db")
    folder.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(sqlite3.Error, match="cannot keep a history"):
            history.begin(start(1.0, "Dog"))
    (tmp_path / "away").rename(folder)
    history.begin(start(2.0, "Cat"))
    assert labels_in(folder / "sounds.db") == ["Cat"]
    history.close()


def test_a_slow_disk_costs_rows_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    destination = destination_of(path)
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    sink = destination.open(stream)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # whoever waits for the disk below hangs
    for i in range(3000):
        sink.on_event(starting(stream, "Dog", float(i)))
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


def test_a_name_that_is_an_address_elsewhere_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history = History(Path("file:x.db"))
    fill(history, 3, every_s=1.0)
    assert len([*all_events(history, Wanted())]) == 3
    history.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file:x.db"]


def test_a_clock_that_leaps_a_year_ahead_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, now_s = History(tmp_path / "sounds.db"), time.time()
    fill(history, 3, every_s=1.0, first_s=now_s - DAY_S)
    monkeypatch.setattr(time, "time", lambda: now_s + 366 * DAY_S)
    fill(history, 3, every_s=1.0, first_s=time.time())
    history.tidy(keep_s=5 * DAY_S, max_bytes=1e9)
    assert len([*all_events(history, Wanted())]) == 6
    history.close()


def test_a_row_of_a_clock_that_was_wrong_takes_no_others_along(history: History) -> None:
    fill(history, 1, every_s=1.0, first_s=4e9)
    first_s = time.time() - DAY_S
    fill(history, 3000, every_s=1.0, first_s=first_s)
    history.tidy(keep_s=0.0, max_bytes=history.n_bytes * 0.8)
    kept = [x.id for x in all_events(history, Wanted())]
    assert 1500 < len(kept) < 3000
    assert kept[1] == round((first_s + 2999) * 1e6)


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
    assert labels_in(path)[0].startswith("label 19999")


# Files of other versions, of others, and that are none


def test_a_history_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "sounds.db"
    old(path)
    assert labels_in(path) == ["Dog"]  # read, without a change
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
    destination.open(stream).on_event(starting(stream, "Dog", 1.0))
    eventually(lambda: destination.history.n_bytes < 0.2e6)
    assert destination.reconfigure(HistoryConfig(path=str(tmp_path / "b")), ExitStack()) is None
    destination.close()


@pytest.mark.parametrize(
    "wrong", [{"max_mb": 0.0}, {"keep_days": -1.0}, {"level_every_s": -1.0}, {"path": ""}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        HistoryConfig(**{"path": "x", **wrong})  # type: ignore[arg-type]
