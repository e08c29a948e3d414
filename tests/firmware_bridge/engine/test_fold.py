"""One sound, one event: the C engine reports of related labels what the report policy does."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.bundle.rows import HeadRows
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Threshold
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import build_image
from edge_audio.events.detector import Event as HostEvent
from edge_audio.events.detector import EventDetector
from edge_audio.events.policy import RELATED, EventPolicy, PolicySpec, Related
from firmware_bridge.toolchains import ENGINE_DIR
from tests.firmware_bridge.engine_library import (
    BAD_ARGUMENT,
    END,
    FULL,
    OK,
    START,
    STEP,
    TOO_LARGE,
    CEvent,
    Event,
    Model,
    Stream,
    compile_library,
    open_model,
    zoo_bundle,
)
from tests.support.paths import REPOSITORY

RATE_HZ = 16_000
N_STEPS = 120
OVERLAP = 240  # samples that the first step has beyond its own
NAMES = (  # of kinds of each other, of near-synonyms, of kinds of two others, and of none
    *("Growling", "Bark", "Dog", "Animal", "Domestic animals, pets", "Cat", "Meow", "Snake"),
    *("Hiss", "Music", "Guitar", "Electric guitar", "Hands", "Clapping", "Applause"),
    *("White noise", "Static", "Pink noise", "Siren", "Fridge"),
)
TAUGHT = {"Bella": "Dog", "Tune": "Guitar"}
LABELS = (*NAMES, *TAUGHT)
SCORES = NDArray[np.float32]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    probe = REPOSITORY / "tests" / "firmware_bridge" / "detect_probe.c"
    flags = ["-O1", f"-I{ENGINE_DIR / 'src'}", str(probe)]
    return compile_library(tmp_path_factory.mktemp("engine"), flags)


def taught_bundle(spec: EventSpec) -> Bundle:
    """A model with NAMES, sounds that were taught beside them, and these settings."""
    plain = zoo_bundle("ssm-lti", NAMES)
    n_embedding = plain.manifest.model.embedding.shape[1] if plain.manifest.model.embedding else 12
    rows = HeadRows(
        labels=tuple(TAUGHT),
        weight=np.zeros((len(TAUGHT), n_embedding), np.int8),
        scale=np.zeros(len(TAUGHT), np.float32),
        bias=np.zeros(len(TAUGHT), np.float32),
        fingerprint=np.zeros(0, np.float32),
        thresholds={
            name: {x: Threshold(on=0.5, off=0.4) for x in SENSITIVITIES} for name in TAUGHT
        },
        parents=TAUGHT,
    )
    taught = plain.with_rows(rows)
    return replace(taught, manifest=msgspec.structs.replace(taught.manifest, events=spec))


class Device:
    """The engine behind its network."""

    def __init__(self, library: ctypes.CDLL, spec: EventSpec, related: Related) -> None:
        self.model: Model = open_model(library, build_image(taught_bundle(spec), related=related))
        assert self.model.labels == list(LABELS)
        self.stream = Stream(self.model)

    def step(self, scores: SCORES, n_samples: int = STEP, capacity: int = 99) -> list[Event]:
        events, n_events = (CEvent * capacity)(), ctypes.c_size_t(0)
        self.stream.status = self.model.library.probe_step(
            ctypes.c_void_p(self.stream.handle),
            ctypes.c_void_p(scores.ctypes.data),
            n_samples,
            events,
            ctypes.c_size_t(capacity),
            ctypes.byref(n_events),
        )
        found = events[: n_events.value]
        return [Event(event.sample, event.label, event.kind, event.score) for event in found]

    def change(self, spec: EventSpec) -> None:
        for i, label in enumerate(LABELS):
            given = spec.thresholds.get(label)
            on_off = (given.on, given.off) if given else (0.0, 0.0)
            assert self.stream.set_threshold(i, *on_off) == OK


class Host:
    """The detector and the report policy of Python."""

    def __init__(self, spec: EventSpec, related: Related) -> None:
        self._detector = EventDetector(LABELS, spec, STEP / RATE_HZ)
        self._policy = EventPolicy(PolicySpec(related=related), TAUGHT, spec.thresholds)
        self.n_samples = self._n_steps = 0

    @property
    def _time_s(self) -> float:
        return min(OVERLAP + self._n_steps * STEP, self.n_samples) / RATE_HZ

    def step(self, scores: SCORES, n_samples: int = STEP) -> list[HostEvent]:
        self.n_samples += n_samples + (0 if self._n_steps else OVERLAP)
        self._n_steps += 1
        return self._policy.push(self._detector.push(scores, self._time_s), self._time_s)

    def flush(self) -> list[HostEvent]:
        return self._policy.flush(self._detector.flush(self._time_s), self._time_s)

    def change(self, spec: EventSpec) -> list[HostEvent]:
        self._policy.watch(spec.thresholds)
        return self._policy.push(self._detector.change(spec, self._time_s), self._time_s)

    def change_related(self, related: Related) -> None:
        self._policy.change(PolicySpec(related=related))

    def reset(self) -> None:
        self._detector.reset()
        self._policy.reset()
        self.n_samples = self._n_steps = 0


class Row(NamedTuple):
    sample: int
    kind: str
    label: str
    score: float


def of_device(events: list[Event]) -> list[Row]:
    found = [
        Row(e.sample, "start" if e.kind == START else "end", LABELS[e.label], e.score)
        for e in events
    ]
    assert [e.sample for e in found] == sorted(e.sample for e in found)
    return sorted(found)


def of_host(events: list[HostEvent]) -> list[Row]:
    return sorted(Row(round(e.time_s * RATE_HZ), e.kind, e.label, e.score) for e in events)


def settings(random: np.random.Generator) -> EventSpec:
    step_s = STEP / RATE_HZ
    return EventSpec(
        smoothing_s=float(random.choice([0.0, 0.08])),
        min_on_s=int(random.integers(0, 4)) * step_s,
        min_off_s=int(random.integers(0, 6)) * step_s,
        thresholds=some_thresholds(random),
    )


def some_thresholds(random: np.random.Generator) -> dict[str, Threshold]:
    share = random.choice([0.5, 0.8, 1.0])
    ons = random.uniform(0.3, 0.7, len(LABELS)).astype(np.float32).astype(float)
    return {
        label: Threshold(on=on, off=on * 0.5)
        for label, on in zip(LABELS, ons.tolist(), strict=True)
        if random.random() < share
    }


def sounds(random: np.random.Generator, n_steps: int) -> SCORES:
    """Scores of sounds, each of some labels that begin and end a few steps apart."""
    scores = random.uniform(0.0, 0.2, (n_steps, len(LABELS))).astype(np.float32)
    for _ in range(n_steps // 6):
        begin, length = int(random.integers(0, n_steps)), int(random.integers(1, 16))
        for label in random.choice(len(LABELS), int(random.integers(2, 9)), replace=False):
            first = begin + int(random.integers(0, 4))
            scores[first : first + length + int(random.integers(0, 4)), label] = random.uniform(
                0.5, 1.0
            )
    return scores


class Pair:
    """The same scores for both."""

    def __init__(self, library: ctypes.CDLL, spec: EventSpec, related: Related, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._spec, self._watched = spec, spec.thresholds.keys()
        self._device, self._host = Device(library, spec, related), Host(spec, related)
        self._scores = sounds(self._random, N_STEPS)
        # An image that is built for all of them has no lists, and stays with that.
        self._choices: tuple[Related, ...] = ("all",) if related == "all" else RELATED
        self.n_events = 0

    def step(self, step: int) -> None:
        row = np.ascontiguousarray(self._scores[step])
        is_last = step == N_STEPS - 1
        n_samples = int(self._random.integers(1, STEP + 1)) if is_last else STEP
        self._compare(self._host.step(row, n_samples), self._device.step(row, n_samples))

    def flush(self) -> None:
        self._compare(self._host.flush(), self._device.stream.flush())

    def _compare(self, expected: list[HostEvent], found: list[Event]) -> None:
        assert of_device(found) == of_host(expected)
        self.n_events += len(expected)

    def change_something(self) -> None:
        what = self._random.random()
        if what < 0.03:
            self._change_thresholds()
        elif what < 0.05:
            new = self._choices[int(self._random.integers(len(self._choices)))]
            self._host.change_related(new)
            assert self._device.stream.set_related(new) == OK
        elif what < 0.06:
            self._host.reset()
            self._device.stream.reset()

    def _change_thresholds(self) -> None:
        spec = msgspec.structs.replace(self._spec, thresholds=some_thresholds(self._random))
        ended = of_host(self._host.change(spec))
        self._device.change(spec)
        assert {row.kind for row in ended} <= {"end"}  # which a device drops
        assert {row.label for row in ended} <= self._watched - spec.thresholds.keys()
        self._watched = spec.thresholds.keys()


def scores_of(heard: list[str]) -> SCORES:
    return np.array([float(label in heard) for label in LABELS], np.float32)


@pytest.mark.parametrize("related", RELATED)
@pytest.mark.parametrize("batch", range(5))
def test_events_are_those_of_the_report_policy_whatever_is_changed_meanwhile(
    library: ctypes.CDLL, batch: int, related: Related
) -> None:
    """To the step and the bit, in two streams in turn: thresholds, labels that are switched off or
    on, what is reported of related labels, new streams, and an end within a step."""
    for seed in range(20 * batch, 20 * (batch + 1)):
        random = np.random.default_rng(seed)
        spec = settings(random)
        pairs = [Pair(library, spec, related, seed + i) for i in range(2)]
        for step in range(N_STEPS):
            for pair in pairs:
                pair.step(step)
                pair.change_something()
        for pair in pairs:
            pair.flush()
            assert pair.n_events >= 5


def test_a_kind_silences_what_it_is_a_kind_of_and_a_taught_sound_its_parent(
    library: ctypes.CDLL,
) -> None:
    always = dict.fromkeys(LABELS, Threshold(on=0.5, off=0.4))
    spec = EventSpec(min_on_s=0.0, min_off_s=0.0, smoothing_s=0.0, thresholds=always)
    device = Device(library, spec, "most-specific")
    found = []
    for heard in (["Animal"], ["Animal", "Dog"], ["Animal", "Dog", "Bella"], [], []):
        found += device.step(scores_of(heard))
    told = [(LABELS[e.label], e.kind == START, round(e.sample / STEP)) for e in found]
    assert told == [("Bella", True, 3), ("Bella", False, 4)]


def test_what_an_image_says_can_be_changed(library: ctypes.CDLL) -> None:
    always = dict.fromkeys(LABELS, Threshold(on=0.5, off=0.4))
    spec = EventSpec(min_on_s=0.0, min_off_s=0.0, smoothing_s=0.0, thresholds=always)
    device = Device(library, spec, "most-specific")
    assert device.stream.set_related("all") == OK
    assert [LABELS[e.label] for e in device.step(scores_of(["Bark", "Dog"]))] == ["Bark", "Dog"]
    set_related = library.ea_set_related
    assert set_related(device.stream.handle, 3) == set_related(None, 0) == BAD_ARGUMENT
    device.stream.reset()  # which settings outlive
    assert len(device.step(scores_of(["Bark", "Dog"]))) == 2


@pytest.mark.parametrize("capacity", [0, 1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_events_that_find_no_room_come_later_and_alternate(
    library: ctypes.CDLL, seed: int, capacity: int
) -> None:
    random = np.random.default_rng(seed)
    device = Device(library, settings(random), "most-specific")
    events, n_full = [], 0
    for row in sounds(random, N_STEPS):
        events += device.step(np.ascontiguousarray(row), capacity=capacity)
        n_full += device.stream.status == FULL
    while True:
        events += device.stream.flush(max(1, capacity))
        if device.stream.status == OK:
            break
    assert n_full > 0 or capacity > 1
    for label in range(len(LABELS)):
        own = [event for event in events if event.label == label]
        assert [event.kind for event in own] == [START, END] * (len(own) // 2)
        assert [event.sample for event in own] == sorted(event.sample for event in own)


def test_without_related_labels_the_engine_can_be_built_without_them(tmp_path: Path) -> None:
    small = compile_library(tmp_path, ["-O1", "-DEA_FOLD=0"])
    spec = EventSpec(thresholds={"Dog": Threshold(on=0.5, off=0.4)})
    related, unrelated = (
        build_image(taught_bundle(spec), labels) for labels in (("Dog", "Bark"), ("Dog", "Cat"))
    )
    assert Model(small, related).status == TOO_LARGE
    assert Model(small, unrelated).status == OK
    assert len(unrelated) < len(related)
