"""The level that a log has is that of all audio, not of one moment."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge_audio.history.destination import HistoryConfig, HistoryDestination
from edge_audio.sinks.jsonl import JsonLinesConfig, JsonLinesDestination
from edge_audio.sinks.level import MeanLevel
from edge_audio.sources.base import Block
from edge_audio.sources.stream import SILENCE_DBFS, Stream

LABELS = ("Dog",)


def test_the_mean_level_is_that_of_the_energy_since_it_was_taken() -> None:
    level = MeanLevel()
    level.add(np.full(100, 0.1, np.float32))
    level.add(np.zeros(900, np.float32))
    assert level.take() == pytest.approx(-30.0, abs=1e-3)  # a tenth of the time at -20
    assert level.take() == SILENCE_DBFS
    level.add(np.full(10, 1.0, np.float32))
    assert level.take() == pytest.approx(0.0, abs=1e-4)


def test_a_sound_between_two_records_is_in_the_level_of_the_second(tmp_path: Path) -> None:
    stream = Stream("hall", LABELS, 16_000, live=False)
    config = JsonLinesConfig(path=str(tmp_path / "log.jsonl"), level_every_s=1.0)
    destination = JsonLinesDestination(config)
    sink = destination.open(stream)
    for step in range(26):
        samples = np.full(1280, 0.5 if step in range(5, 10) else 0.0, np.float32)
        sink.on_audio(Block(samples, step * 0.08))
        sink.on_scores((step + 1) * 0.08, np.zeros(1, np.float32))
    destination.close()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    levels = [record["level_dbfs"] for record in records if record["kind"] == "level"]
    assert len(levels) == 2
    assert levels[1] == pytest.approx(10 * np.log10(0.25 * 5 / 13), abs=0.2)


@pytest.mark.parametrize(("n_steps", "n_levels"), [(100, 2), (3, 1), (0, 0)])
def test_what_was_heard_behind_the_last_level_has_one_too(
    tmp_path: Path, n_steps: int, n_levels: int
) -> None:
    """A recording of eight seconds had the level of its first step alone."""
    stream = Stream("hall", LABELS, 16_000, live=False)
    log, history = tmp_path / "log.jsonl", tmp_path / "sounds.db"
    destinations = (
        JsonLinesDestination(JsonLinesConfig(path=str(log), level_every_s=10.0)),
        HistoryDestination(HistoryConfig(path=str(history), level_every_s=10.0)),
    )
    for destination in destinations:
        sink = destination.open(stream)
        for step in range(n_steps):
            sink.on_audio(Block(np.full(1280, 0.5 if step else 0.0, np.float32), step * 0.08))
            sink.on_scores((step + 1) * 0.08, np.zeros(1, np.float32))
        sink.close()
        destination.close()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    levels = [(x["time_s"], x["level_dbfs"]) for x in records if x["kind"] == "level"]
    with sqlite3.connect(history) as connection:
        assert connection.execute("SELECT time_s, level_dbfs FROM levels").fetchall() == levels
    assert len(levels) == n_levels
    if n_levels > 1:
        assert levels[-1] == pytest.approx((8.0, -6.0), abs=0.03)
