"""Settings of clips: which are refused, and what changes while clips are recorded."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from tests.edge_audio.sinks.clips.clip_runs import (
    PCM,
    RATE_HZ,
    blocks,
    config,
    found,
    hear,
    part,
    sounds,
    stream,
)
from tests.support.peers import eventually, files_below


def test_settings_out_of_range_are_refused() -> None:
    cases: tuple[dict[str, Any], ...] = (
        {"folder": ""},
        {"folder": "a\0b"},
        {"pre_s": -1.0},
        {"post_s": float("nan")},
        {"pre_s": 5.0, "max_s": 5.0},
        {"max_s": float("inf")},
        {"quota_mb": 0.0},
        {"keep_days": -1.0},
    )
    for wrong in cases:
        with pytest.raises(ValueError, match=r"must|need"):
            ClipsConfig(**{"folder": "x", **wrong})


def change(destination: ClipsDestination, settings: ClipsConfig) -> None:
    go_on = destination.reconfigure(settings, ExitStack())
    assert go_on is not None
    go_on()


def test_a_clip_goes_on_to_the_sample_while_settings_change(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=1.0, post_s=1.0))
    sink = destination.open(stream())
    told = [*sounds("Siren", 3.0, 8.0), *sounds("Dog", 4.0, 7.0)]
    hear(sink, blocks(PCM[: 5 * RATE_HZ]), *[x for x in told if x[0] < 5.0])
    change(destination, config(tmp_path, pre_s=0.5, post_s=0.25, labels=("Dog",), quota_mb=100))
    later = (
        [x for x in told if x[0] > 5.0] + sounds("Dog", 12.0, 13.0) + sounds("Siren", 15.0, 16.0)
    )
    hear(sink, blocks(PCM[5 * RATE_HZ :], start=5 * RATE_HZ), *later)
    sink.close()
    destination.close()
    first, second = found(tmp_path)
    np.testing.assert_array_equal(first[0], part(2.0, 8.25))  # Siren is followed to its end
    np.testing.assert_array_equal(second[0], part(11.5, 13.25))
    assert [event["end_s"] for event in first[1]["events"]] == [8.0, 7.0]


def test_labels_that_the_model_does_not_know_change_nothing(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, labels=("Dog",)))
    sink = destination.open(stream())
    with pytest.raises(UsageError, match="Unicorn"):
        destination.reconfigure(config(tmp_path, labels=("Unicorn",), quota_mb=1), ExitStack())
    hear(sink, blocks(PCM), *sounds("Dog", 5.0, 6.0), *sounds("Siren", 12.0, 13.0))
    sink.close()
    destination.close()
    assert [sidecar["label"] for _, sidecar in found(tmp_path)] == ["Dog"]


def test_another_folder_or_switch_needs_another_destination(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path / "one"))
    (tmp_path / "link").symlink_to(tmp_path / "one")
    for settings, is_same in (
        (config(tmp_path / "two"), False),
        (config(tmp_path / "one", record=False), False),
        (config(tmp_path / "link"), True),
        (config(tmp_path / "two" / ".." / "one"), True),
    ):
        assert (destination.reconfigure(settings, ExitStack()) is not None) == is_same
    destination.close()


def test_limits_of_what_is_kept_hold_at_once(tmp_path: Path) -> None:
    destination = ClipsDestination(config(tmp_path, pre_s=0.0, post_s=0.1, max_s=100.0))
    sink = destination.open(stream())
    hear(sink, blocks(PCM), *sounds("Dog", 1.0, 9.0), *sounds("Siren", 10.0, 19.0))
    sink.close()
    eventually(lambda: len(found(tmp_path)) == 2)
    change(destination, config(tmp_path, keep_days=1e-9))
    eventually(lambda: not files_below(tmp_path, ".flac"))
    destination.close()
