"""The C engine hears a stream alike however it arrives, and hears what the Python tagger hears."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import StateType, build_image
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event as TaggerEvent
from edge_audio.events.policy import ONE_SOUND, RELATED, PolicySpec, Related
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.toolchains import engine_sources
from tests.firmware_bridge.engine_library import (
    END,
    FLAGS,
    OK,
    START,
    STEP,
    Event,
    Model,
    Samples,
    Stream,
    compile_library,
    in_chunks,
    noise,
    open_model,
    zoo_image,
)
from tests.firmware_bridge.firmware_runs import LABELS, Make
from tests.support.paths import REPOSITORY

RATE_HZ = 16_000
KINDS = {START: "start", END: "end"}
OVERLAP = 240  # that the first step needs beyond its own
INT16_STATE_ERROR = 0.02
"""Of scores, from those with float state."""

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wpedantic", "-Werror"]
ARM = ["-mthumb", "-mfloat-abi=hard"]
BUILDS = {
    "gcc": ("gcc", ["-O3", "-march=native"]),
    "gcc plain": ("gcc", ["-O2", "-DEA_PLAIN"]),
    "clang": ("clang", ["-O3", "-march=native"]),
    "clang plain": ("clang", ["-O2", "-DEA_PLAIN"]),
    "cortex-m4": ("arm-none-eabi-gcc", ["-O2", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *ARM]),
    "cortex-m55": ("arm-none-eabi-gcc", ["-O2", "-mcpu=cortex-m55", *ARM]),
}
DOCUMENTATION = REPOSITORY / "docs" / "engine.md"
CHUNKS: dict[str, Callable[[], Iterator[int]]] = {
    "1": lambda: itertools.repeat(1),
    "7": lambda: itertools.repeat(7),
    "160": lambda: itertools.repeat(160),
    "1280": lambda: itertools.repeat(1280),
    "random": lambda: iter(np.random.default_rng(5).integers(0, 4000, 100_000).tolist()),
}

Heard = tuple[list[Event], NDArray[np.float32]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(tmp_path_factory.mktemp("engine"), ["-march=native"])


@pytest.fixture(scope="module")
def micro(library: ctypes.CDLL) -> Model:
    return open_model(library, build_image(load_bundle("micro-int8")))


@pytest.fixture(scope="module")
def mixed(library: ctypes.CDLL) -> Model:
    """A block of each family, which turn noise into many events."""
    return open_model(library, zoo_image("mixed"))


def hear(stream: Stream, samples: Samples, sizes: Iterator[int]) -> Heard:
    """All events of the samples in chunks, with those of the flush, and the last scores."""
    events: list[Event] = []
    for chunk in in_chunks(samples, sizes):
        events += stream.push(chunk)
        assert stream.status == OK
    events += stream.flush()
    return events, stream.scores


def hear_steps(stream: Stream, samples: Samples) -> NDArray[np.float32]:
    """The scores [n_steps, n_labels] of every step."""
    stream.push(samples[:OVERLAP])
    found = []
    for chunk in in_chunks(samples[OVERLAP:], itertools.repeat(STEP)):
        stream.push(chunk)
        found.append(stream.scores)
    return np.stack(found)


def assert_equal(found: Heard, expected: Heard) -> None:
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1].view(np.uint32), expected[1].view(np.uint32))


def seconds(events: list[Event], labels: list[str]) -> list[tuple[str, str, float]]:
    return [(KINDS[e.kind], labels[e.label], e.sample / RATE_HZ) for e in events]


def fields(events: list[TaggerEvent]) -> list[tuple[str, str, Any]]:
    return [(e.kind, e.label, pytest.approx(e.time_s, abs=1e-6)) for e in events]


@pytest.mark.parametrize("build", BUILDS)
def test_it_compiles_without_a_warning(build: str) -> None:
    compiler, flags = BUILDS[build]
    if shutil.which(compiler) is None:
        package = "gcc-arm-none-eabi" if compiler.startswith("arm") else compiler
        pytest.skip(f"needs {compiler}: apt-get install {package}")
    command = [compiler, *FLAGS, *flags, *WARNINGS, "-fsyntax-only", *map(str, engine_sources())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("family", ["micro", "mixed"])
def test_chunks_of_any_size_give_the_same_bits(
    request: pytest.FixtureRequest, family: str, chunks: str
) -> None:
    model: Model = request.getfixturevalue(family)
    samples = noise(2 * RATE_HZ + 77)
    expected = hear(Stream(model), samples, itertools.repeat(len(samples)))
    assert_equal(hear(Stream(model), samples, CHUNKS[chunks]()), expected)
    assert family == "micro" or len(expected[0]) >= 10


def test_steps_and_samples_are_counted(mixed: Model) -> None:
    stream = Stream(mixed)
    assert mixed.step_samples == STEP
    assert not stream.scores.any()
    for n_heard, n_steps in ((OVERLAP + STEP - 1, 0), (OVERLAP + STEP, 1), (9 * STEP, 8)):
        stream.push(noise(n_heard - stream.n_samples))
        assert (stream.n_samples, stream.n_steps) == (n_heard, n_steps)
    assert stream.scores.any()
    stream.reset()
    assert (stream.n_samples, stream.n_steps) == (0, 0)
    assert not stream.scores.any()


def test_a_stream_that_is_reset_or_flushed_is_a_new_one(mixed: Model) -> None:
    samples = noise(3 * RATE_HZ)
    expected = hear(Stream(mixed), samples, itertools.repeat(1000))
    stream = Stream(mixed)
    stream.push(noise(30_001, seed=1))
    stream.reset()
    assert_equal(hear(stream, samples, itertools.repeat(1000)), expected)
    assert_equal(hear(stream, samples, itertools.repeat(1000)), expected)  # after its flush


def test_streams_that_share_a_model_do_not_hear_each_other(mixed: Model) -> None:
    sounds = [noise(2 * RATE_HZ, seed) for seed in range(6)]
    streams = [Stream(mixed) for _ in sounds]
    events: list[list[Event]] = [[] for _ in sounds]
    for start in range(0, 2 * RATE_HZ, 700):
        for stream, sound, found in zip(streams, sounds, events, strict=True):
            found.extend(stream.push(sound[start : start + 700]))
    for stream, sound, found in zip(streams, sounds, events, strict=True):
        whole = ([*found, *stream.flush()], stream.scores)
        assert_equal(whole, hear(Stream(mixed), sound, itertools.repeat(700)))


def test_streams_run_on_threads_of_their_own(mixed: Model) -> None:
    sounds = [noise(8 * RATE_HZ, seed) for seed in range(4)]
    found: dict[int, Heard] = {}

    def run(index: int) -> None:
        found[index] = hear(Stream(mixed), sounds[index], itertools.repeat(5000))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, sound in enumerate(sounds):
        assert_equal(found[index], hear(Stream(mixed), sound, itertools.repeat(5000)))


@pytest.mark.parametrize("related", RELATED)
@pytest.mark.parametrize("name", ["micro-int8", "tiny-xlstm-int8"])
def test_events_are_those_of_the_tagger_on_the_same_engine(
    library: ctypes.CDLL, recording: Samples, name: str, related: Related
) -> None:
    """To the bit: scores, smoothing, related labels, and what the flush ends."""
    model = open_model(library, build_image(load_bundle(name), related=related))
    tagger = Tagger.open(name, "native", policy=PolicySpec(related=related))
    stream = Stream(model)
    n = len(recording) - 777  # within a step
    expected = [*tagger.push(recording[:n]), *tagger.flush()]
    events, scores = hear(stream, recording[:n], itertools.repeat(1111))
    assert seconds(events, model.labels) == fields(expected)
    assert [e.score for e in events] == [e.score for e in expected]
    np.testing.assert_array_equal(scores, tagger.scores)
    assert len(events) >= (10 if related == "all" else 2)


@pytest.mark.parametrize("name", ["micro-int8", "tiny-int8", "small-int8"])
def test_events_are_those_of_litert(library: ctypes.CDLL, recording: Samples, name: str) -> None:
    """Of each label in the same order, all but a few in the same step: their scores are up to
    2e-3 apart, which moves an event where a score comes that close to its threshold."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    model = open_model(library, build_image(load_bundle(name), related="all"))
    tagger = Tagger.open(name, "litert")
    expected = [*tagger.push(recording), *tagger.flush()]
    events, _ = hear(Stream(model), recording, itertools.repeat(16_000))
    found = sorted(events, key=lambda e: (model.labels[e.label], e.sample))
    expected.sort(key=lambda e: (e.label, e.time_s))
    heard = [(model.labels[e.label], KINDS[e.kind]) for e in found]
    assert heard == [(e.label, e.kind) for e in expected]
    moved_s = np.array([e.sample / RATE_HZ for e in found]) - [e.time_s for e in expected]
    assert np.abs(moved_s).max() < STEP / RATE_HZ + 1e-6
    assert np.count_nonzero(np.abs(moved_s) > 1e-6) <= len(found) / 20
    assert len(found) >= 10


def test_a_flush_ends_what_the_taggers_ends_wherever_the_audio_stops(
    micro: Model, recording: Samples
) -> None:
    """Also within a step, where an event may have lasted long enough only with its padding."""
    labels = micro.labels
    sounds = recording[: 20 * RATE_HZ]
    tagger, stream = Tagger.open("micro-int8", "native", policy=ONE_SOUND), Stream(micro)
    before = [
        e
        for e in Tagger.open("micro-int8", "native", policy=ONE_SOUND).push(sounds)
        if e.kind == "start"
    ]
    starts = [round(event.time_s * RATE_HZ) for event in before]
    assert len(starts) >= 2
    stops = [at + more for at in starts for more in (1, 400, STEP - 1, STEP, STEP + 1, 2000)]
    n_open = 0
    for n in [0, 1, 300, OVERLAP + STEP, *stops]:
        pushed, flushed = tagger.push(sounds[:n]), tagger.flush()
        assert seconds(stream.push(sounds[:n]), labels) == fields(pushed)
        assert seconds(stream.flush(), labels) == fields(flushed)
        assert stream.flush() == []
        assert stream.n_steps == tagger.n_steps
        n_open += len(flushed)
    assert n_open >= 5


def test_labels_and_thresholds_are_those_of_the_manifest(micro: Model) -> None:
    manifest = load_bundle("micro-int8").manifest
    assert micro.labels == list(manifest.labels)
    assert micro.library.ea_label(micro.address, micro.n_labels) is None
    assert micro.library.ea_sample_rate_hz(micro.address) == RATE_HZ
    stream = Stream(micro)
    for index, label in enumerate(manifest.labels):
        expected = manifest.events.thresholds.get(label)
        on_off = (expected.on, expected.off) if expected else (0.0, 0.0)
        assert stream.threshold(index) == pytest.approx(on_off, abs=1e-7)


def test_thresholds_can_be_set_while_it_hears(library: ctypes.CDLL, recording: Samples) -> None:
    """Like a tagger that was given them from the start; they outlive a reset."""
    bundle = load_bundle("micro-int8")
    labels = bundle.manifest.labels
    only = ("Dog", "Chicken, rooster", "Speech")
    model = open_model(library, build_image(bundle))
    stream = Stream(model)
    spec = select_events(bundle.manifest.events, labels, only=only, threshold={"Speech": 0.05})
    for index, label in enumerate(labels):
        given = spec.thresholds.get(label)
        assert stream.set_threshold(index, given.on if given else 0, given.off if given else 0) == 0
    expected = Tagger.open("micro-int8", "native", events=spec, policy=ONE_SOUND).push(recording)
    for _ in range(2):
        assert seconds(stream.push(recording), list(labels)) == fields(expected)
        stream.reset()
    assert len(expected) >= 4


@pytest.mark.parametrize("attack_s", [0.0, 0.3])
def test_rising_scores_have_a_smoothing_of_their_own(
    library: ctypes.CDLL, recording: Samples, attack_s: float
) -> None:
    """To the bit as the tagger's, and unlike that of both directions."""
    bundle = load_bundle("micro-int8")
    apart = msgspec.structs.replace(bundle.manifest.events, attack_s=attack_s, min_on_s=0.0)
    manifest = msgspec.structs.replace(bundle.manifest, events=apart)
    changed = replace(bundle, manifest=manifest)
    model = open_model(library, build_image(changed))
    events, _ = hear(Stream(model), recording, itertools.repeat(1111))
    tagger = Tagger.open("micro-int8", "native", events=apart, policy=ONE_SOUND)
    expected = [*tagger.push(recording), *tagger.flush()]
    assert seconds(events, model.labels) == fields(expected)
    assert [e.score for e in events] == [e.score for e in expected]
    both = Tagger.open(
        "micro-int8",
        "native",
        events=msgspec.structs.replace(apart, attack_s=None),
        policy=ONE_SOUND,
    )
    assert expected != [*both.push(recording), *both.flush()]


def test_a_label_that_is_switched_off_drops_its_event(mixed: Model) -> None:
    stream = Stream(mixed)
    events = stream.push(noise(3 * RATE_HZ))
    n_changes = np.bincount([e.label for e in events], minlength=20)
    is_open = np.flatnonzero(n_changes % 2)
    assert len(is_open) >= 2
    dropped, kept = int(is_open[0]), set(is_open[1:].tolist())
    assert stream.set_threshold(dropped, 0.0, 0.0) == OK
    assert {e.label for e in stream.flush()} >= kept
    assert dropped not in {e.label for e in hear(stream, noise(3 * RATE_HZ), iter([9**9]))[0]}
    assert stream.set_threshold(dropped, 0.5, 0.4) == OK
    assert dropped in {e.label for e in hear(stream, noise(3 * RATE_HZ), iter([9**9]))[0]}


@pytest.mark.parametrize("name", ["micro-int8", "tiny-xlstm-int8"])
def test_an_int16_state_scores_nearly_as_a_float_one(
    library: ctypes.CDLL, recording: Samples, name: str
) -> None:
    bundle = load_bundle(name)
    models = [open_model(library, build_image(bundle, state=s)) for s in ("float", "int16")]
    wide, narrow = (hear_steps(Stream(model), recording) for model in models)
    assert np.abs(wide - narrow).max() < INT16_STATE_ERROR
    assert models[1].state_size < models[0].state_size


@pytest.mark.parametrize("flags", [["-march=native"], ["-DEA_PLAIN"]])
def test_scores_are_probabilities_whatever_is_computed(tmp_path: Path, flags: list[str]) -> None:
    """So no score can spoil the event detector, which keeps a mean of them."""
    logits = np.tile(np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0], np.float32), 3)
    scores = logits.copy()
    library = compile_library(tmp_path, flags)
    apply_sigmoid = library.ea_apply_sigmoid
    apply_sigmoid.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    apply_sigmoid(scores.ctypes.data, len(scores))  # eight at a time, and the rest one by one
    assert ((scores >= 0.0) & (scores <= 1.0)).all()
    np.testing.assert_array_equal(scores.reshape(3, 6)[0], scores.reshape(3, 6)[-1])


@pytest.mark.parametrize("state", ["float", "int16"])
def test_an_hour_of_noise_and_silence_leaves_it_sound(
    library: ctypes.CDLL, state: StateType
) -> None:
    """In minutes: noise up to full scale, digital silence, and single clicks."""
    model = open_model(library, zoo_image("mixed", state))
    stream = Stream(model)
    loud = noise(60 * RATE_HZ)
    clicks = np.zeros_like(loud)
    clicks[:: 5 * RATE_HZ] = -32768
    silence = np.zeros_like(loud)
    minutes = [loud, silence, clicks, *([silence] * 3)] * 10
    n_events = 0
    for minute in minutes:
        n_events += len(stream.push(minute))
        assert stream.status == OK
        assert np.isfinite(stream.scores).all()
        assert (stream.scores >= 0.0).all()
        assert (stream.scores <= 1.0).all()
    assert stream.n_samples == 3600 * RATE_HZ
    assert n_events >= 100
    before = stream.scores
    stream.push(loud[: 5 * RATE_HZ])
    assert np.abs(stream.scores - before).max() > 0.1, "it no longer reacts"


def test_the_program_in_the_documentation_hears_events(
    make: Make, pcm: Path, tmp_path: Path
) -> None:
    sources = make("micro-int8", "cmake", "float").path / "src"
    (tmp_path / "main.c").write_text(DOCUMENTATION.read_text().split("```c\n")[1].split("```")[0])
    program = tmp_path / "main"
    files = [tmp_path / "main.c", *sorted(sources.glob("*.c"))]
    flags = ["-std=c99", "-O2", "-ffp-contract=off", f"-I{sources}", *WARNINGS]
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(program)], check=True)
    with pcm.open("rb") as samples:
        done = subprocess.run([program], stdin=samples, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) >= 10
    for line in lines:
        time, _, text = line.partition(" s: ")
        assert 0.0 <= float(time) < 70.0
        assert text.rpartition(" ")[0] in LABELS
        assert text.rpartition(" ")[2] in ("starts", "ends")
    for label in LABELS:
        assert sum(f": {label} starts" in x for x in lines) == sum(
            f": {label} ends" in x for x in lines
        )
