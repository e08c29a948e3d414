"""A device on a serial line is a stream like any other: settings, destinations, several at once."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_audio.bundle.store import load_bundle
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event
from edge_audio.events.policy import EventPolicy, PolicySpec
from edge_audio.tagging.tagger import Tagger
from tests.support.command_line import Record, error_line, listening, records, reports, run
from tests.support.peers import eventually
from tests.support.serial_cable import Cable, Device
from tests.support.serial_parts import WAIT_S
from tests.support.serial_reports import Listener, alternates, rounded, starts_of

LABELS = load_bundle("micro-int8").manifest.labels
Start = Callable[[int], Device]


@pytest.fixture(scope="module")
def expected(samples: np.ndarray, program: Path) -> list[Event]:
    """Of the device, with all thresholds at 0.05."""
    spec = select_events(load_bundle("micro-int8").manifest.events, LABELS, threshold=0.05)
    tagger = Tagger.open("micro-int8", backend="native", events=spec)
    return tagger.push(samples) + tagger.flush()


@pytest.fixture
def street(samples: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "street.wav"
    soundfile.write(path, samples, 16_000)
    return path


def settings(folder: Path, cable: Cable, *lines: str, name: str = "board") -> Path:
    source = f"[[source]]\nurl = 'serial:{cable.path}'\nname = '{name}'"
    path = folder / "home.toml"
    path.write_text("\n".join(['format = "none"', *lines, source, ""]))
    return path


def logged(log: Path, stream: str, *kinds: str) -> list[Record]:
    """Records of a stream as it writes them itself: without its name and the time of day."""
    found = records(log.read_text()) if log.exists() else []
    kept = [x for x in found if x["stream"] == stream and x["kind"] in (kinds or ("start", "end"))]
    return [{k: v for k, v in x.items() if k not in ("stream", "at")} for x in kept]


def test_a_device_and_a_file_are_heard_at_once_each_by_its_model(
    cable: Cable, device: Start, street: Path, tmp_path: Path, expected: list[Event]
) -> None:
    """The serial port need not come first, nor stand alone."""
    device(0)
    log = tmp_path / "log.jsonl"
    sources = ("--source", street, "--source", f"serial:{cable.path}", "--model", "tiny-int8")
    done = run(
        "listen",
        *sources,
        "--threshold",
        0.05,
        "--related",
        "all",
        "--format",
        "none",
        "--json",
        log,
    )
    assert logged(log, cable.path.name) == rounded(expected)
    alone = run(
        "listen", "--source", street, "--threshold", 0.05, "--related", "all", "--format", "jsonl"
    )
    assert logged(log, "street") == reports(alone.stdout)
    lines = done.stderr.splitlines()
    assert any(re.match("edge-audio: street: 20.0 s of audio, .* nothing lost", x) for x in lines)
    pattern = f"edge-audio: {cable.path.name}: 20.0 s of audio on the device, "
    assert any(line.startswith(pattern) for line in lines)


def test_a_label_that_only_one_model_has_is_for_that_one(
    cable: Cable, device: Start, street: Path, tmp_path: Path
) -> None:
    sources = ("--source", street, "--source", f"serial:{cable.path}")
    device(0)
    unknown = run("listen", *sources, "--only", "Speach", ok=False)
    assert "unknown label 'Speach': did you mean 'Speech'" in error_line(unknown, 2)


def test_report_policy_and_destinations_are_those_of_the_settings(
    cable: Cable, device: Start, tmp_path: Path, expected: list[Event]
) -> None:
    device(0)
    log, clips = tmp_path / "log.jsonl", tmp_path / "clips"
    spec = PolicySpec(cooldown_s=2.0, related="first")
    path = settings(
        tmp_path,
        cable,
        "[events]\nthreshold = 0.05\ncooldown_s = 2\nrelated = 'first'\nsmoothing_s = 0.3",
        f"[json]\npath = '{log}'\ntop = 3",
        f"[clips]\nfolder = '{clips}'\nrecord = true",
    )
    done = run("listen", "--config", path)
    policy = EventPolicy(spec)
    wanted = [e for event in expected for e in policy.push([event], event.time_s)]
    wanted += policy.flush([], 20.0)
    found = logged(log, "board")
    assert found == rounded(wanted)
    assert 0 < len(found) < len(expected)
    scores = logged(log, "board", "scores")
    assert len(scores) > 200
    assert all(len(x["top"]) == 3 for x in scores)
    assert not logged(log, "board", "level")  # which only the device could know
    assert not list(clips.rglob("*.flac"))
    assert "board: it sends no audio, so no clips of it are recorded" in done.stderr
    assert "board: smoothing_s cannot be set on a device" in done.stderr


@pytest.fixture
def reloaded(cable: Cable, device: Start, tmp_path: Path) -> Iterator[Listener]:
    """A run that watches Speech alone, and is told by SIGHUP to watch Vehicle and Music."""
    log = f"[json]\npath = '{tmp_path / 'log.jsonl'}'"
    path = settings(tmp_path, cable, "[events]\nonly = ['Speech']\nthreshold = 0.02", log)
    device(2)
    with listening("--config", path) as process:
        log_path = tmp_path / "log.jsonl"
        eventually(lambda: len(logged(log_path, "board")) >= 1)
        events = "[events]\nonly = ['Vehicle', 'Music']\nthreshold = 0.02"
        settings(tmp_path, cable, events, log)
        process.send_signal(signal.SIGHUP)
        yield Listener(process)


def test_a_reload_sends_the_device_its_new_thresholds(
    reloaded: Listener, tmp_path: Path, expected: list[Event]
) -> None:
    reloaded.wait_for("settings read again")
    reloaded.finish()
    found = logged(tmp_path / "log.jsonl", "board")
    assert alternates(found)  # what is no longer watched has ended
    labels = [x["label"] for x in starts_of(found)]
    first = next(i for i, label in enumerate(labels) if label != "Speech")
    assert first > 0
    assert set(labels[:first]) == {"Speech"}
    assert set(labels[first:]) <= {"Vehicle", "Music"}
    assert labels[first:]


def test_a_device_without_a_model_here_needs_no_bundle(
    cable: Cable, device: Start, tmp_path: Path
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl")
    refused = run(*source, "--model", tmp_path / "none", ok=False)
    assert "--model belongs to audio that is tagged here" in error_line(refused, 2)
    assert reports(run(*source, "--threshold", 0.05, "--related", "all").stdout)


def test_a_device_that_is_gone_for_long_is_awaited_where_the_settings_say_so(
    cable: Cable, device: Start, tmp_path: Path
) -> None:
    device(4)
    log = tmp_path / "log.jsonl"
    lines = ("[events]\nthreshold = 0.05\nrelated = 'all'", f"[json]\npath = '{log}'")
    with listening("--config", settings(tmp_path, cable, *lines)) as process:
        eventually(lambda: len(logged(log, "board")) >= 1)
        cable.unplug()
        eventually(lambda: any("device gone" in x["text"] for x in logged(log, "board", "notice")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0  # also while it waits
    assert alternates(logged(log, "board"))
