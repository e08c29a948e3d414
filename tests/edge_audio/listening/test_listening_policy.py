"""Policy and gate on the way of a stream: settings in a file, and changes while listening."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

from edge_audio import Event, Tagger, load_bundle, select_events
from edge_audio.events.policy import ONE_SOUND, REPORT_ALL, EventPolicy, PolicySpec
from edge_audio.features.gate import HOLD_S
from edge_audio.labels.ontology import descendant_labels
from edge_audio.listening.audio_hearing import AudioHearing
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.hearing import HeardStep, Wanted
from edge_audio.listening.listener import Listener
from edge_audio.listening.settings_file import load_config
from edge_audio.sinks.base import Sink
from edge_audio.sources.base import Block
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.stream import Stream
from tests.support import toy
from tests.support.command_line import error_line, records, run
from tests.support.hearing import hearing_with

RATE_HZ = 16_000
Row = tuple[str, str, float]


class Heard(Sink):
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.step_times_s: list[float] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_scores(self, time_s: float, scores: np.ndarray) -> None:
        self.step_times_s.append(time_s)

    def rows(self, label: str = "Band 6") -> list[tuple[str, float]]:
        return [(event.kind, event.time_s) for event in self.events if event.label == label]


def listening(
    folder: Path, policy: PolicySpec = REPORT_ALL, gate_dbfs: float | None = None
) -> tuple[Listener, Heard]:
    events = msgspec.structs.replace(toy.EVENTS, min_on_s=0.0, min_off_s=0.0)
    tagger = Tagger(toy.save_toy(folder / "toy"), toy.NumpyBackend(), events, gate_dbfs)
    heard = Heard()
    return Listener(hearing_with(tagger), FanOut([heard]), policy), heard


def hear(listener: Listener, samples: np.ndarray, n_lost_samples: int = 0) -> None:
    """The next block, after such a gap."""
    time_s = listener.stream.stats.heard_s + n_lost_samples / RATE_HZ
    listener.hear(Block(samples.astype(np.float32) / np.float32(32768), time_s, n_lost_samples))


def n_skipped_steps(listener: Listener) -> int:
    assert isinstance(listener.hearing, AudioHearing)
    return listener.hearing.tagger.n_skipped_steps


def noise(duration_s: float) -> np.ndarray:
    steady = np.random.default_rng(0).normal(0.0, 8_000.0, round(duration_s * RATE_HZ))
    return steady.clip(-32_768, 32_767)


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * RATE_HZ))


def test_a_file_of_settings_says_which_events_are_reported(tmp_path: Path) -> None:
    spec = PolicySpec(cooldown_s=3.0, max_s=0.5, related="first")
    path = tmp_path / "home.toml"
    path.write_text('[events]\ncooldown_s = 3\nmax_s = 0.5\nrelated = "first"\n')
    assert load_config(path).events.policy() == spec
    flags = ("--source", "demo", "--no-realtime", "--duration", 40, "--format", "jsonl")
    everything = run("listen", *flags, "--related", "all").stdout
    tagger, policy, expected = Tagger.open("tiny-int8"), EventPolicy(spec), list[Event]()
    for step in tagger.steps(DemoScene(RATE_HZ).first(40.0)):
        expected += policy.push(step.events, step.time_s)
    expected += policy.flush(tagger.flush(), tagger.time_s)
    found = records(run("listen", "--config", path, *flags).stdout)
    assert as_rows(found) == as_rows([msgspec.to_builtins(event) for event in expected])
    assert 0 < len(found) < len(records(everything))


def as_rows(rows: list[dict[str, Any]]) -> list[Row]:
    return sorted((row["label"], row["kind"], round(row["time_s"], 2)) for row in rows)


def test_the_summary_counts_what_was_reported(tmp_path: Path) -> None:
    listener, heard = listening(tmp_path, PolicySpec(cooldown_s=60.0))
    for _ in range(3):
        hear(listener, np.concatenate([noise(1.0), silence(2.0)]))
    listener.finish()
    assert [kind for kind, _ in heard.rows()] == ["start", "end"]
    assert listener.stream.stats.n_events == sum(event.kind == "start" for event in heard.events)


def test_a_cooldown_counts_lost_time(tmp_path: Path) -> None:
    listener, heard = listening(tmp_path, PolicySpec(cooldown_s=10.0))
    hear(listener, np.concatenate([noise(1.0), silence(1.0)]))
    hear(listener, np.concatenate([noise(1.0), silence(1.0)]), n_lost_samples=10 * RATE_HZ)
    listener.finish()
    assert [kind for kind, _ in heard.rows()] == ["start", "end"] * 2
    assert heard.rows()[2][1] == pytest.approx(12.2, abs=0.2)


def test_new_settings_hold_from_then_on_and_no_step_is_lost(tmp_path: Path) -> None:
    listener, heard = listening(tmp_path, gate_dbfs=-60.0)
    hear(listener, np.concatenate([noise(1.0), silence(HOLD_S + 5.0)]))
    assert n_skipped_steps(listener) > 0
    listener.change(Wanted(toy.EVENTS), PolicySpec(max_s=1.5))
    hear(listener, np.concatenate([silence(1.0), noise(4.0)]))
    listener.finish()
    assert n_skipped_steps(listener) == 0
    np.testing.assert_allclose(np.diff(heard.step_times_s), 0.08, atol=1e-9)
    assert [kind for kind, _ in heard.rows()] == ["start", "end"] * 2
    start_s, end_s = (time_s for _, time_s in heard.rows()[2:])
    assert end_s == pytest.approx(start_s + 1.5)


def test_a_label_that_is_no_longer_watched_ends_once(tmp_path: Path) -> None:
    listener, heard = listening(tmp_path, PolicySpec(max_s=60.0))
    hear(listener, noise(2.0))
    fewer = {"Band 7": toy.EVENTS.thresholds["Band 7"]}
    changed = msgspec.structs.replace(toy.EVENTS, thresholds=fewer)
    listener.change(Wanted(changed), REPORT_ALL)
    hear(listener, noise(2.0))
    listener.finish()
    assert [kind for kind, _ in heard.rows()] == ["start", "end"]
    assert heard.rows()[1][1] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"cooldown_s": -1.0}, {"max_s": float("inf")}, {"gate_dbfs": 3.0}],
)
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EventsConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["related = 'last'", "gate_dbfs = 3", "cooldown_s = '1 min'"])
def test_wrong_settings_are_refused_with_their_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "home.toml"
    path.write_text(f"[events]\n{text}\n")
    done = run("listen", "--config", path, "--check", ok=False)
    assert text.partition(" ")[0] in error_line(done, 2)


def test_flags_say_which_events_listen_and_tag_report_and_go_before_a_file(tmp_path: Path) -> None:
    """Of a label and what is a kind of it, low thresholds give both."""
    path, sound = tmp_path / "home.toml", tmp_path / "scene.wav"
    path.write_text('[events]\nrelated = "all"\nthreshold = 0.1\n')
    soundfile.write(sound, np.tile(DemoScene(RATE_HZ).first(20.0), 2), RATE_HZ)  # twice
    flags = ("--source", sound, "--format", "jsonl", "--threshold", 0.1)

    def overlapping(*options: object) -> bool:
        """Whether by `listen` a label sounds at once with a kind of it."""
        open_: set[str] = set()
        for row in records(run("listen", *flags, *options).stdout):
            (open_.add if row["kind"] == "start" else open_.discard)(row["label"])
            if any(descendant_labels(label) & open_ for label in open_):
                return True
        return False

    assert not overlapping()
    assert overlapping("--related", "all")
    assert overlapping("--config", path)
    assert not overlapping("--config", path, "--related", "most-specific")

    low = (sound, "--format", "jsonl", "--threshold", 0.1)

    def n_tagged(*options: object) -> int:
        (tags,) = records(run("tag", *low, *options).stdout)
        return len(tags["events"])

    (short,) = records(run("tag", *low, "--max-duration", 0.2).stdout)
    assert max(e["end_s"] - e["start_s"] for e in short["events"]) == pytest.approx(0.2, abs=2e-3)
    listened = records(run("listen", *flags).stdout)
    assert n_tagged() == sum(row["kind"] == "start" for row in listened)
    assert n_tagged("--cooldown", 60) < n_tagged()


def test_a_tagger_with_a_policy_reports_what_the_policy_lets_pass() -> None:
    samples = DemoScene(RATE_HZ).first(40.0)
    manifest = load_bundle("tiny-int8").manifest
    low = select_events(manifest.events, manifest.labels, threshold=0.1)
    plain = Tagger.open("tiny-int8", events=low)
    expected, policy = [], EventPolicy(PolicySpec(), watched=low.thresholds)
    for step in plain.steps(samples):
        expected += policy.push(step.events, step.time_s)
    expected += policy.flush(plain.flush(), plain.time_s)
    tagger = Tagger.open("tiny-int8", events=low, policy=PolicySpec())
    for _ in range(2):  # the second time as a new stream
        assert tagger.push(samples) + tagger.flush() == expected
    assert expected != plain.push(samples) + plain.flush()


def test_related_labels_are_left_to_a_device_that_sees_to_them(tmp_path: Path) -> None:
    """Once it has said so; what it ends or holds back by itself is not judged again."""
    stream = listening(tmp_path)[0].stream
    dog, bark = Event("start", "Dog", 1.0, 0.5), Event("start", "Bark", 1.2, 0.6)
    steps = [HeardStep(1.0, [dog]), HeardStep(1.0, [bark])]
    for is_folding, expected in ((False, [bark]), (True, [dog, bark])):
        hearing, heard = Told(stream), Heard()
        listener = Listener(hearing, FanOut([heard]), ONE_SOUND, ["Dog", "Bark"])  # type: ignore[arg-type]
        hearing.is_folding = is_folding  # it was not known before
        listener.hear(steps)
        assert heard.events == expected


class Told:
    """A hearing of given steps."""

    default_events = toy.EVENTS
    is_folding = False

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def hear(self, piece: list[HeardStep]) -> Iterator[HeardStep]:
        yield from piece
