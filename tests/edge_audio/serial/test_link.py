"""The C link of the engine, against the codec of the serial protocol."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from edge_audio.events.policy import RELATED
from edge_audio.serial.protocol import (
    ALL_LABELS,
    MAX_TOP,
    QUERY_HELLO,
    QUERY_LABELS,
    QUERY_STATS,
    TOP_OF_WATCHED,
    WITH_EVENTS,
    WITH_PCM,
    Ack,
    DeviceEvent,
    DeviceStats,
    Frame,
    FrameReader,
    Hello,
    Label,
    Message,
    Pcm,
    Query,
    Reset,
    Scores,
    SetRelated,
    SetStream,
    SetThresholds,
    parse_message,
)
from firmware_bridge.toolchains import INCLUDE_DIR
from tests.support import serial_parts, toy
from tests.support.serial_parts import HERE, STRICT, LinkProbe, build, build_library

BUNDLE = load_bundle("micro-int8")
LABELS = BUNDLE.manifest.labels
STEP = 1_280
# hypothesis runs one function often; the device starts anew for every example
REUSES_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("link") / "link.so")


@pytest.fixture(scope="session")
def image() -> bytes:
    return build_image(BUNDLE)


@pytest.fixture
def probe(library: Path, image: bytes) -> LinkProbe:
    """A device that has just said hello, which was taken note of."""
    probe = LinkProbe(library, image, len(LABELS))
    probe.sent()
    return probe


def stats_of(probe: LinkProbe) -> DeviceStats:
    *_, stats, _ = probe.say(Query(QUERY_STATS), sequence=99)
    assert isinstance(stats, DeviceStats)
    return stats


def test_the_c_link_compiles_without_a_warning(tmp_path: Path) -> None:
    serial_parts.need_compiler()
    for name in ("link", "link_frame"):
        source = INCLUDE_DIR.parent / "src" / f"{name}.c"
        command = [*(serial_parts.HOST.find() or []), "-std=c99", *STRICT, "-O2", "-c", str(source)]
        command += ["-I", str(INCLUDE_DIR), "-o", str(tmp_path / f"{name}.o")]
        subprocess.run(command, check=True)


def test_a_device_says_hello_when_it_starts(probe: LinkProbe) -> None:
    probe.boot()
    data = probe.sent()
    assert data[0] == data[-1] == 0
    (frame,) = FrameReader().push(data)
    assert frame.sequence == 0
    hello = parse_message(frame)
    assert isinstance(hello, Hello)
    model = BUNDLE.manifest.model
    assert (hello.sample_rate_hz, hello.n_labels) == (16_000, len(LABELS))
    assert (hello.step_samples, hello.overlap_samples) == (model.step_samples, 240)
    assert (hello.max_top, hello.is_boot) == (MAX_TOP, True)
    asked, ack = probe.say(Query(QUERY_HELLO), 7)
    assert asked == Hello(hello.image_crc32, 16_000, len(LABELS), STEP, 240, MAX_TOP, False)
    assert ack == Ack(7, Query.TYPE, 0)


def test_labels_and_their_thresholds_come_on_request(probe: LinkProbe) -> None:
    found: list[Message] = []
    for first in range(0, len(LABELS) + 16, 16):
        found += probe.say(Query(QUERY_LABELS, first, 16))[:-1]
    labels = [label for label in found if isinstance(label, Label)]
    assert [label.name for label in labels] == list(LABELS)
    assert [label.index for label in labels] == list(range(len(LABELS)))
    known = BUNDLE.manifest.events.thresholds
    assert {label.name for label in labels if label.on > 0} == set(known)
    for label in labels:
        if label.name in known:
            expected = (known[label.name].on, known[label.name].off)
            assert (label.on, label.off) == pytest.approx(expected, rel=1e-6)


def test_thresholds_are_set_in_their_order(probe: LinkProbe) -> None:
    command = SetThresholds(((ALL_LABELS, 0.0, 0.0), (3, 0.5, 0.25), (4, 1.0, 1.0)))
    assert probe.say(command, 9) == [Ack(9, SetThresholds.TYPE, 0)]
    assert [probe.threshold(label) for label in (2, 3, 4)] == [(0, 0), (0.5, 0.25), (1, 1)]


REFUSED = (
    (SetThresholds(((len(LABELS), 0.5, 0.5),)), 1),
    (SetThresholds(((0, 0.5, 0.6),)), 1),
    (SetThresholds(((0, float("nan"), 0.5),)), 1),
    (SetStream(0, 1, MAX_TOP + 1), 1),
    (Query(17), 1),
    (SetRelated(3), 1),
)


@pytest.mark.parametrize(("command", "status"), REFUSED)
def test_impossible_commands_are_refused(probe: LinkProbe, command: Message, status: int) -> None:
    before = [probe.threshold(label) for label in range(len(LABELS))]
    assert probe.say(command, 3) == [Ack(3, command.TYPE, status)]
    assert [probe.threshold(label) for label in range(len(LABELS))] == before


@pytest.mark.parametrize(
    "kind", [Query.TYPE, SetThresholds.TYPE, SetStream.TYPE, SetRelated.TYPE, 0x99]
)
def test_bodies_of_a_wrong_length_are_refused(probe: LinkProbe, kind: int) -> None:
    probe.receive(Frame(1, kind, 5, b"\1\2\3").encoded())
    assert probe.messages() == [Ack(5, kind, 2 if kind == 0x99 else 3)]


def test_a_reset_that_is_repeated_happens_once(probe: LinkProbe) -> None:
    line = Reset().frame(8).encoded()
    assert probe.receive(line)
    probe.push(np.zeros(2_000, np.int16))
    assert not probe.receive(line)
    assert stats_of(probe).n_samples == 2_000
    assert probe.receive(line)  # another one, for something else was said in between
    assert stats_of(probe).n_samples == 0


def test_scores_are_the_highest_in_order(probe: LinkProbe) -> None:
    probe.say(SetStream(WITH_EVENTS, 2, 5))
    samples = toy.noise(20_000)
    reports = []
    for start in range(0, len(samples), 160):
        probe.push(samples[start : start + 160])
        reports += [(m, probe.scores()) for m in probe.messages() if isinstance(m, Scores)]
    assert [report.step for report, _ in reports] == list(range(2, 16, 2))
    for report, scores in reports:
        best = np.argsort(-scores, kind="stable")[:5]
        assert [label for label, _ in report.top] == best.tolist()
        assert [score for _, score in report.top] == np.round(scores[best] * 65_535).tolist()


def test_scores_can_be_those_of_watched_labels_alone(probe: LinkProbe) -> None:
    probe.say(SetThresholds(((ALL_LABELS, 0.0, 0.0), (3, 0.5, 0.25), (1, 0.5, 0.25))))
    probe.say(SetStream(WITH_EVENTS | TOP_OF_WATCHED, 1, 5))
    probe.push(toy.noise(3_000))
    scores = [message for message in probe.messages() if isinstance(message, Scores)]
    assert scores
    assert all({label for label, _ in report.top} == {1, 3} for report in scores)


def test_pcm_comes_as_it_was_heard(probe: LinkProbe) -> None:
    probe.say(SetStream(WITH_PCM, 0, 0))
    samples = toy.noise(1_000)
    probe.push(samples)
    blocks = [message for message in probe.messages() if isinstance(message, Pcm)]
    assert [block.sample for block in blocks] == list(range(0, 1_000, 120))
    assert [x for block in blocks for x in block.samples] == samples.tolist()


def test_a_device_that_listens_says_so_every_second(probe: LinkProbe) -> None:
    probe.push(np.zeros(16_000 * 5, np.int16))
    found = [message for message in probe.messages() if isinstance(message, DeviceStats)]
    assert len(found) == 4  # on the first step's end after each second
    assert all(stats.n_samples >= 16_000 * (i + 1) for i, stats in enumerate(found))


def test_events_are_numbered_and_can_be_switched_off(probe: LinkProbe) -> None:
    everything = SetThresholds(((ALL_LABELS, 1e-30, 1e-30),))
    probe.say(everything)
    probe.say(SetRelated(RELATED.index("all")))
    probe.push(np.zeros(16_000, np.int16))
    events = [message for message in probe.messages() if isinstance(message, DeviceEvent)]
    assert {event.label for event in events} == set(range(len(LABELS)))
    assert stats_of(probe).n_events == len(events)
    probe.say(SetStream(0, 0, 0))
    probe.say(Reset())
    probe.push(np.zeros(16_000, np.int16))
    assert not [message for message in probe.messages() if isinstance(message, DeviceEvent)]


def test_of_related_labels_what_was_asked_for_is_reported(probe: LinkProbe) -> None:
    """At first the most specific one, which every label of the model that has kinds waits for."""
    probe.say(SetThresholds(((ALL_LABELS, 1e-30, 1e-30),)))
    started = {}
    for related in (None, "all", "first", "most-specific"):
        if related is not None:
            assert probe.say(SetRelated(RELATED.index(related)), 3) == [Ack(3, SetRelated.TYPE, 0)]
            probe.say(Reset())
        probe.push(np.zeros(16_000, np.int16))
        events = [message for message in probe.messages() if isinstance(message, DeviceEvent)]
        started[related] = {LABELS[event.label] for event in events}
    assert started[None] == started["most-specific"]
    assert "Bark" in started[None]
    assert not started[None] & {"Dog", "Animal"}
    assert started["first"] != started[None]
    assert started["all"] == set(LABELS)


def test_frames_without_room_are_counted_and_leave_a_gap(probe: LinkProbe) -> None:
    before = probe.say(Query(QUERY_STATS), 1)
    assert len(before) == 2
    probe.set_room(False)
    probe.say(Query(QUERY_STATS), 2)
    probe.set_room(True)
    probe.receive(Query(QUERY_STATS).frame(3).encoded())
    stats, ack = probe.frames()
    assert ack.sequence - stats.sequence == 1
    assert stats.sequence == 5  # hello, two, two lost
    message = parse_message(stats)
    assert isinstance(message, DeviceStats)
    assert message.n_tx_drops == 2


def test_bytes_that_are_not_fetched_in_time_are_counted(probe: LinkProbe) -> None:
    probe.flood(b"\x01" * 600)
    probe.receive(b"\0")
    stats = stats_of(probe)
    assert stats.n_rx_overruns == 600 + 1 - 512
    assert stats.n_rx_bad == 1


def test_frames_of_another_version_are_ignored_and_counted(probe: LinkProbe) -> None:
    probe.receive(Frame(2, Reset.TYPE, 0, b"").encoded())
    assert probe.sent() == b""
    assert stats_of(probe).n_rx_version == 1


def test_an_echo_of_what_it_sends_is_ignored(probe: LinkProbe) -> None:
    probe.say(Query(QUERY_STATS))
    probe.receive(Query(QUERY_STATS).frame(1).encoded())
    probe.receive(probe.sent())
    assert probe.sent() == b""
    assert stats_of(probe).n_rx_bad == 0


@REUSES_FIXTURE
@given(garbage=st.binary(max_size=400))
def test_garbage_does_not_keep_a_command_from_being_heard(probe: LinkProbe, garbage: bytes) -> None:
    probe.boot()
    probe.sent()
    probe.receive(garbage)
    probe.sent()
    assert Ack(42, Query.TYPE, 0) in probe.say(Query(QUERY_STATS), 42)


@REUSES_FIXTURE
@given(data=st.data())
def test_a_damaged_command_changes_nothing(probe: LinkProbe, data: st.DataObject) -> None:
    probe.boot()
    probe.sent()
    before = probe.threshold(3)
    line = bytearray(SetThresholds(((3, 0.125, 0.0625),)).frame(1).encoded())
    at = data.draw(st.integers(1, len(line) - 2))  # zeros at the ends may be lost unharmed
    kind = data.draw(st.sampled_from(["change", "drop", "double", "cut"]))
    if kind == "change":
        line[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del line[at:-1]
    else:
        line[at : at + 1] = b"" if kind == "drop" else bytes([line[at]] * 2)
    probe.receive(bytes(line))
    assert Ack(1, SetThresholds.TYPE, 0) not in probe.messages()
    assert probe.threshold(3) == before
    assert stats_of(probe).n_rx_bad >= 1 or len(line) <= 2


@REUSES_FIXTURE
@given(body=st.binary(max_size=249), sequence=st.integers(0, 255))
def test_c_and_python_agree_on_every_frame(probe: LinkProbe, body: bytes, sequence: int) -> None:
    """A command unknown to it with any body: taken as a whole, and refused by its number."""
    probe.receive(Frame(1, 0xFE, sequence, body).encoded())
    assert probe.messages() == [Ack(sequence, 0xFE, 2)]


def test_random_commands_do_no_harm_under_sanitizers(tmp_path: Path, image: bytes) -> None:
    flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = build([HERE / "link_probe.c"], tmp_path / "probe", *flags)
    (tmp_path / "model.image").write_bytes(image)
    rng = np.random.default_rng(3)
    line = bytearray()
    for i in range(2_000):
        kind = int(rng.choice([0x81, 0x82, 0x83, 0x84, 0x99]))
        body = rng.bytes(int(rng.choice([0, 4, 5, 10, 20, 249])))
        frame = bytearray(Frame(1, kind, i % 256, body).encoded())
        if rng.random() < 0.3:
            frame[rng.integers(len(frame))] = rng.integers(256)
        line += frame + (rng.bytes(int(rng.integers(300))) if rng.random() < 0.1 else b"")
    command = [program, tmp_path / "model.image"]
    done = subprocess.run(command, input=bytes(line), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert re.fullmatch(rb"\d+ bad, 0 of another version, 0 overruns\n", done.stdout)
