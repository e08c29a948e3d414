"""What can be read from a log is read, in its order, and the rest is counted."""

from __future__ import annotations

import gc
import gzip
import json
import os
import threading
import tracemalloc
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.log_reader import MAX_LINE_BYTES, SessionLog
from edge_audio.support.text import MAX_NAME_CHARS


def line(time_s: float, label: str = "Dog", **fields: object) -> str:
    record = {"time_s": time_s, "kind": "start", "label": label, "score": 0.5, **fields}
    return json.dumps(record) + "\n"


def labels(*paths: Path) -> list[str]:
    return [record.label for record in SessionLog(paths)]


def test_rotated_files_are_read_oldest_first_in_whatever_order_they_are_named(
    tmp_path: Path,
) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text(line(3, "newest"))
    (tmp_path / "sounds.jsonl.1").write_text(line(2, "newer"))
    (tmp_path / "sounds.jsonl.2.gz").write_bytes(gzip.compress(line(1, "older").encode()))
    (tmp_path / "sounds.jsonl.10").write_text(line(0, "oldest"))
    for paths in (sorted(tmp_path.iterdir()), sorted(tmp_path.iterdir(), reverse=True)):
        assert labels(*paths) == ["oldest", "older", "newer", "newest"]


def test_files_without_a_number_are_read_by_their_dates(tmp_path: Path) -> None:
    later, earlier = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    later.write_text(line(1, "later", at="2026-03-02T00:00:00+01:00"))
    earlier.write_text("torn\n" + line(9, "earlier", at="2026-03-01T23:30:00+01:00"))
    assert labels(later, earlier) == ["earlier", "later"]


def test_no_file_is_left_open(tmp_path: Path) -> None:
    log, packed = tmp_path / "sounds.jsonl", tmp_path / "sounds.jsonl.1.gz"
    log.write_text(line(2) * 2000)
    packed.write_bytes(gzip.compress(line(1).encode()))
    gc.collect()  # what tests before this one left open
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        assert len(labels(log, packed)) == 2001
        gc.collect()
    assert not warned


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text(line(1))
    assert labels(log, log) == ["Dog"]


@pytest.mark.parametrize(
    "bad",
    [
        '{"time_s": 1.0, "kind": "st',
        "[]",
        "[" * 100_000,
        '{"time_s": 1.0, "kind": "start", "more": ' + "[" * 100_000,
        '{"kind": "start", "label": "Dog"}',
        '{"time_s": 1.0, "kind": "start"}',
        '{"time_s": NaN, "kind": "scores"}',
        '{"time_s": 1e999, "kind": "scores"}',
        '{"time_s": 1.0, "kind": "level"}',
        '{"time_s": 1.0, "kind": "scores", "at": "2026-01-01T00:00:00"}',
        '{"time_s": 1.0, "kind": "scores", "at": "9999-12-31T23:59:59-12:00"}',
        '{"time_s": 1.0, "kind": "start", "label": "' + "x" * 100_000 + '"}',
        "\x00\x00\x00",
        "x" * (3 * MAX_LINE_BYTES),
    ],
)
def test_a_damaged_line_is_counted_and_those_around_it_are_read(tmp_path: Path, bad: str) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text(line(1, "before") + bad + "\n\n" + line(2, "after"))
    session = SessionLog([log])
    assert [record.label for record in session] == ["before", "after"]
    assert (session.n_records, session.n_bad, session.problems) == (2, 1, [])


def test_bytes_that_are_no_text_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_bytes(line(1).encode().replace(b"Dog", b"\xff\xfe") + line(2).encode())
    session = SessionLog([log])
    assert [record.time_s for record in session] == [2.0]
    assert session.n_bad == 1


def test_a_torn_archive_is_read_as_far_as_it_goes_and_said_so(tmp_path: Path) -> None:
    packed = gzip.compress("".join(line(i) for i in range(5000)).encode())
    torn = tmp_path / "sounds.jsonl.1.gz"
    torn.write_bytes(packed[: len(packed) // 2])
    newest = tmp_path / "sounds.jsonl"
    newest.write_text(line(9999))
    session = SessionLog([torn, newest])
    times_s = [record.time_s for record in session]
    assert 100 < len(times_s) < 5000
    assert times_s[-1] == 9999
    (problem,) = session.problems
    assert "sounds.jsonl.1.gz breaks off" in problem


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text(line(1, confidence={"low": 0.1}) + '{"time_s": 2, "kind": "weather"}\n')
    assert [record.kind for record in SessionLog([log])] == ["start", "weather"]


def test_a_long_log_is_not_held_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text("".join(line(i) for i in range(50_000)))
    session = SessionLog([log])
    tracemalloc.start()
    assert sum(1 for _ in session) == 50_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1 << 20 < log.stat().st_size


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*gone"):
        SessionLog([tmp_path / "gone.jsonl"])


def test_pipes_are_read_once_and_to_their_end(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    log.write_text(line(1, "first", at="2026-03-01T23:30:00+01:00") + line(2) * 3000)
    pipes = [tmp_path / "plain", tmp_path / "packed"]
    later = line(3, "last", at="2026-03-02T23:30:00+01:00").encode()
    for pipe, content in zip(pipes, (log.read_bytes(), gzip.compress(later)), strict=True):
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    found = labels(*pipes)
    assert (found[0], found[-1], len(found)) == ("first", "last", 3002)


def test_streams_with_long_names_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "sounds.jsonl"
    names = [f"{'k' * 300}{i}" for i in range(3)]
    log.write_text("".join(line(1, stream=name) for name in names))
    found = {record.stream for record in SessionLog([log])}
    assert len(found) == 3
    assert all(len(name) <= MAX_NAME_CHARS for name in found)


def test_what_is_no_log_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    for content, is_log in ((b"", True), (b"\0\xff\n" * 9, False), (line(1).encode(), True)):
        path = tmp_path / "any"
        path.write_bytes(content)
        session = SessionLog([path])
        list(session)
        with nullcontext() if is_log else pytest.raises(UsageError, match=r"any .* is no log"):
            session.check()
