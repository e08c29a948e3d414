"""The end of a recording may bring twice as many events as there are labels: a start and an end of
each. No program of a folder loses any of them, however short its buffer is."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.engine.image import build_image
from edge_audio.serial.protocol import DeviceEvent, End, FrameReader, Message, parse_message
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TOOLCHAINS, compile_objects
from tests.firmware_bridge.arduino_stubs import ARDUINO_H, PDM_H
from tests.firmware_bridge.firmware_runs import heard, host_program, require_command, run_program
from tests.support.serial_parts import WAIT_S, build_device, need_compiler

LABELS = ("Dog", "Siren")
N_SAMPLES = 1000  # less than a step: nothing is due before the end


@pytest.fixture(scope="module")
def eager() -> Bundle:
    """A model whose labels sound at once, whatever is heard."""
    bundle = load_bundle("micro-int8")
    thresholds = dict.fromkeys(LABELS, Threshold(on=1e-6, off=1e-6, n_positives=0))
    events = EventSpec(thresholds=thresholds, smoothing_s=0.0, min_on_s=0.0, min_off_s=0.0)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, events=events))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pcm") / "in.pcm"
    path.write_bytes(bytes(range(250)) * (2 * N_SAMPLES // 250))
    return path


def test_listening_program_reports_each_start_and_end(
    eager: Bundle, recording: Path, tmp_path: Path
) -> None:
    need_compiler()
    made = build_firmware(eager, TARGETS["cmake"], tmp_path / "made", LABELS)
    program = host_program(made.path, "listen", require_command("gcc", "gcc"), ["-O2"])
    lines = [json.loads(line) for line in heard(run_program([program, recording])).events]
    assert sorted((line["label"], line["kind"]) for line in lines) == [
        (label, kind) for label in LABELS for kind in ("end", "start")
    ]


def test_serial_program_reports_each_start_and_end(
    eager: Bundle, recording: Path, tmp_path: Path
) -> None:
    need_compiler()
    program = build_device(tmp_path, build_image(eager, LABELS), len(LABELS))
    events = [message for message in said(program, recording) if isinstance(message, DeviceEvent)]
    assert sorted((event.label, event.is_end) for event in events) == [
        (label, is_end) for label in range(len(LABELS)) for is_end in (False, True)
    ]


def said(program: Path, recording: Path) -> list[Message]:
    """What a device of `build_device` says up to its first END."""
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT_S)
    with ours, theirs:
        arguments = [str(program), str(recording), "0", str(theirs.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
        reader, found = FrameReader(), list[Message]()
        try:
            while not any(isinstance(message, End) for message in found):
                parsed = map(parse_message, reader.push(ours.recv(4096)))
                found += [message for message in parsed if message is not None]
        finally:
            process.kill()
            process.wait(WAIT_S)
    return found


HARNESS = r"""
#include <stdint.h>
#include <stdio.h>
#include "Arduino.h"
#include "edge_audio.h"

static size_t most;
static ea_status counted_push(ea_stream *stream, const int16_t *samples, size_t n, ea_event *events,
                              size_t capacity, size_t *n_events) {
    if (n > most) most = n;
    return ea_push(stream, samples, n, events, capacity, n_events);
}
#define ea_push counted_push
#include "Listen.ino"

Printer Serial;
Microphone PDM;
void delay(unsigned long) {}
void Printer::begin(unsigned long) {}
void Printer::print(const char *) {}
void Printer::println(const char *) {}
void Printer::println(double) {}
void Microphone::onReceive(void (*)()) {}
int Microphone::begin(int, int) { return 1; }
int Microphone::available() { return 512; }
int Microphone::read(void *, size_t n) { return (int)n; }

int main() {
    setup();
    for (int i = 0; i < 8; i++) onSamples();
    for (int i = 0; i < 4; i++) loop();
    printf("{\"most\":%u,\"step\":%u,\"heard\":%u}", (unsigned)most,
           (unsigned)ea_step_samples(&model), (unsigned)ea_n_samples(stream));
}
"""


def test_sketch_hears_a_step_at_most_so_that_no_event_has_to_wait(
    eager: Bundle, tmp_path: Path
) -> None:
    """Its queue fills up while the board does something else."""
    compiler = require_command("g++", "g++")
    made = build_firmware(eager, TARGETS["arduino"], tmp_path / "made", LABELS)
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "PDM.h").write_text(PDM_H)
    (tmp_path / "harness.cpp").write_text(HARNESS)
    (tmp_path / "objects").mkdir()
    includes = [tmp_path, made.path / "src", made.path / "examples" / "Listen"]
    sources = sorted((made.path / "src").glob("*.c"))
    objects = compile_objects(TOOLCHAINS["host"], sources, tmp_path / "objects", includes)
    flags = ["-std=gnu++17", *(f"-I{folder}" for folder in includes)]
    program = tmp_path / "sketch"
    run_program([compiler, *flags, tmp_path / "harness.cpp", *objects, "-o", program])
    found = json.loads(run_program([program]))
    assert found["heard"] == 2048
    assert found["most"] <= found["step"]
