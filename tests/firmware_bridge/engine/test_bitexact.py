"""The same samples give the same bits of scores and the same events on every CPU, and those are
the events of the Python tagger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.engine.image import StateType
from edge_audio.events.choice import select_events
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.toolchains import TOOLCHAINS
from tests.firmware_bridge.firmware_runs import (
    LABELS,
    Heard,
    Make,
    heard,
    host_program,
    open_sensitive,
    require_command,
    require_emulator,
    run_program,
)

# Name -> compiler, flags and the kernels they must choose. REFERENCE is what all others
# have to equal: nothing in it was written for a CPU, and hardly anything was optimised.
HOSTS = {
    "plain gcc": ("gcc", ("-O1", "-DEA_PLAIN"), "plain"),
    "gcc -O3 -mavx2": ("gcc", ("-O3", "-mavx2"), "avx2"),
    "clang": ("clang", ("-O2",), None),
}
EMULATED = {
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m55": "helium",
    "linux-aarch64": "neon",
    "linux-armv7": "neon",
    "wasm": "wasm-simd",
}
REFERENCE = "plain gcc"
FEW = ("gcc -O3 -mavx2", "cortex-m4", "linux-aarch64")
EVERYWHERE = tuple(where for where in (*HOSTS, *EMULATED) if where != REFERENCE)
ALIKE = ("cortex-m7", "clang")  # run the same code as others: once is enough for one model
CASES: list[tuple[str, StateType, str]] = [
    *(("micro-int8", "int16", where) for where in EVERYWHERE),
    *(("micro-int8", "float", where) for where in EVERYWHERE if where not in ALIKE),
    *(("tiny-int8", "int16", where) for where in EVERYWHERE),
    *(("tiny-int8", "float", where) for where in FEW),
    *(("tiny-xlstm-int8", "int16", where) for where in FEW),
    *(("tiny-xlstm-int8", "float", where) for where in FEW),
]
MIN_EVENTS = 10  # enough that equal lists mean something

Hear = Callable[[str, StateType, str], Heard]


@pytest.fixture(scope="module")
def hear(make: Make, pcm: Path) -> Iterator[Hear]:
    """(model, state, where) -> what the program heard in the recording. All places of a model are
    run as soon as one of them is asked for, two at a time."""
    known: dict[tuple[str, StateType, str], Future[str] | BaseException] = {}

    def start(model: str, state: StateType, where: str) -> None:
        key = (model, state, where)
        try:
            known[key] = pool.submit(run_program, command(make, *key, pcm))
        except pytest.skip.Exception as reason:
            known[key] = reason

    def run(model: str, state: StateType, where: str) -> Heard:
        if (model, state, where) not in known:
            for place in (REFERENCE, *(w for m, s, w in CASES if (m, s) == (model, state))):
                start(model, state, place)
        found = known[model, state, where]
        if isinstance(found, BaseException):
            raise found
        return heard(found.result())

    with ThreadPoolExecutor(2) as pool:
        yield run


def command(make: Make, model: str, state: StateType, where: str, pcm: Path) -> list[str]:
    if where in HOSTS:
        compiler, flags, _ = HOSTS[where]
        folder = make(model, "cmake", state).path
        return [str(host_program(folder, where.replace(" ", "_"), compiler, flags)), str(pcm)]
    made = make(model, where, state)
    if where == "wasm":
        return [require_command("node", "nodejs"), str(made.path / "run.mjs"), str(pcm)]
    require_emulator(where)
    return TOOLCHAINS[where].run_command(made.programs[0], [pcm])


@pytest.mark.parametrize(("model", "state", "where"), CASES)
def test_every_cpu_computes_the_same_bits(
    hear: Hear, pcm: Path, model: str, state: StateType, where: str
) -> None:
    expected, found = hear(model, state, REFERENCE), hear(model, state, where)
    assert found.n_steps == expected.n_steps > 60 / 0.08
    assert len(expected.events) >= MIN_EVENTS
    assert found.hash == expected.hash
    assert found.events == expected.events
    kernels = EMULATED.get(where) or HOSTS[where][2]
    assert kernels is None or found.facts["kernels"] == kernels


@pytest.mark.parametrize("model", ["micro-int8", "tiny-int8", "tiny-xlstm-int8"])
def test_events_are_those_of_the_python_tagger(
    hear: Hear, recording: NDArray[np.int16], model: str
) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    bundle = open_sensitive(model)
    events = select_events(bundle.manifest.events, bundle.manifest.labels, only=LABELS)
    tagger = Tagger.open(model, "litert", events=events)
    expected = sorted([*tagger.push(recording), *tagger.flush()], key=lambda e: (e.time_s, e.label))
    found = sorted(
        (json.loads(line) for line in hear(model, "float", REFERENCE).events),
        key=lambda e: (round(e["time_s"], 3), e["label"]),
    )
    assert [(e["kind"], e["label"], e["time_s"]) for e in found] == [
        (e.kind, e.label, pytest.approx(e.time_s, abs=1e-6)) for e in expected
    ]
    scores = [e.score for e in expected]
    assert [e["score"] for e in found] == pytest.approx(scores, abs=1e-3)
    assert len(expected) >= MIN_EVENTS


@pytest.mark.parametrize("model", ["micro-int8", "tiny-int8"])
def test_int16_state_hears_the_same_events(hear: Hear, model: str) -> None:
    float_events, int16_events = (
        [json.loads(line) for line in hear(model, state, REFERENCE).events]
        for state in ("float", "int16")
    )
    keys = ("kind", "label", "sample")
    assert [[e[key] for key in keys] for e in int16_events] == [
        [e[key] for key in keys] for e in float_events
    ]
