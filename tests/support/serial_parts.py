"""The engine and its serial link compiled for this machine: a device, and the link as a library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edge_audio.bundle.store import Bundle
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event
from edge_audio.serial.protocol import (
    ALL_LABELS,
    DeviceEvent,
    Frame,
    FrameReader,
    Message,
    SetThresholds,
    parse_message,
)
from firmware_bridge.toolchains import (
    INCLUDE_DIR,
    TARGETS_DIR,
    TOOLCHAINS,
    compile_program,
    engine_sources,
)
from tests.support.paths import REPOSITORY

HERE = REPOSITORY / "tests" / "firmware_bridge"
COMMON_DIR = TARGETS_DIR / "common"
HOST = TOOLCHAINS["host"]
STREAM_BYTES = 1 << 20  # more than any shipped model needs
WAIT_S = 30.0  # reached only by what never comes
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wpedantic", "-Werror")


def need_compiler() -> None:
    if HOST.find() is None:
        pytest.skip(HOST.missing)


def build(sources: Sequence[Path], output: Path, *flags: str, include: Sequence[Path] = ()) -> Path:
    """A program (or a library, with such flags) for this machine out of the engine and more."""
    need_compiler()
    folders = [INCLUDE_DIR, INCLUDE_DIR.parent / "src", COMMON_DIR, *include]
    compile_program(HOST, [*engine_sources(), *sources], output, folders, flags)
    return output


def write_image_sources(folder: Path, image: bytes, n_labels: int) -> Path:
    """edge_audio_image.h and .c, as a generated project has them -> the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edge_audio_image.h").write_text(
        "#include <stdint.h>\n"
        f"#define EA_IMAGE_BYTES {len(image)}\n"
        f"#define EA_STREAM_BYTES {STREAM_BYTES}\n"
        f"#define EA_LABELS {n_labels}\n"
        "extern const uint8_t ea_image[EA_IMAGE_BYTES];\n"
    )
    source = folder / "edge_audio_image.c"
    numbers = ",".join(map(str, image))
    source.write_text(
        '#include "edge_audio_image.h"\n'
        f"__attribute__((aligned(8))) const uint8_t ea_image[EA_IMAGE_BYTES] = {{{numbers}}};\n"
    )
    return source


def build_device(folder: Path, image: bytes, n_labels: int) -> Path:
    """tests/firmware_bridge/serial_device.c with this model."""
    names = ("serve.c", "listen.c", "report.c")
    sources = [COMMON_DIR / name for name in names] + [TARGETS_DIR / "linux" / "port.c"]
    sources += [HERE / "serial_device.c", write_image_sources(folder, image, n_labels)]
    flags = ("-D_POSIX_C_SOURCE=200809L",)
    return build(sources, folder / "device", *flags, include=[folder])


def build_library(output: Path) -> Path:
    """tests/firmware_bridge/link_probe.c, for `LinkProbe`."""
    return build([HERE / "link_probe.c"], output, "-shared", "-fPIC")


class LinkProbe:
    """The C link in this process, with a stream of a real model."""

    def __init__(self, library: Path, image: bytes, n_labels: int) -> None:
        self._c = ctypes.CDLL(str(library))
        self._c.probe_take.restype = ctypes.c_size_t
        words = np.zeros(-(-len(image) // 8), np.uint64)  # begins at a multiple of 8
        words.view(np.uint8)[: len(image)] = np.frombuffer(image, np.uint8)
        self._image = words
        self._n_image_bytes = len(image)
        self.n_labels = n_labels
        self.boot()

    def boot(self) -> None:
        """Starts the device: what it has sent so far is lost."""
        pointer = self._image.ctypes.data_as(ctypes.c_void_p)
        assert self._c.probe_open(pointer, ctypes.c_size_t(self._n_image_bytes)) == 0

    def receive(self, data: bytes) -> bool:
        """Bytes from the host -> whether the stream was reset."""
        return bool(self._c.probe_receive(data, ctypes.c_size_t(len(data))))

    def flood(self, data: bytes) -> None:
        self._c.probe_flood(data, ctypes.c_size_t(len(data)))

    def set_room(self, has_room: bool) -> None:
        self._c.probe_set_room(int(has_room))

    def push(self, samples: np.ndarray) -> None:
        pointer = samples.ctypes.data_as(ctypes.c_void_p)
        self._c.probe_push(pointer, ctypes.c_size_t(len(samples)))

    def flush(self) -> None:
        self._c.probe_flush()

    def hear(
        self,
        bundle: Bundle,
        labels: Sequence[str],
        samples: np.ndarray,
        threshold: float | None,
        only: Sequence[str] = (),
    ) -> list[Event]:
        """The events of a whole recording, with the thresholds that a user would set. labels:
        those in the image."""
        spec = select_events(bundle.manifest.events, bundle.manifest.labels, only, (), threshold)
        self.boot()
        self.say(SetThresholds(((ALL_LABELS, 0.0, 0.0),)))
        for label, value in spec.thresholds.items():
            if label in labels:
                self.say(SetThresholds(((labels.index(label), value.on, value.off),)))
        self.push(samples)
        self.flush()
        events = [message for message in self.messages() if isinstance(message, DeviceEvent)]
        kinds: tuple[Literal["start"], Literal["end"]] = ("start", "end")
        return [Event(kinds[x.is_end], labels[x.label], x.sample / 16_000, x.score) for x in events]

    def scores(self) -> np.ndarray:
        scores = np.zeros(self.n_labels, np.float32)
        self._c.probe_scores(scores.ctypes.data_as(ctypes.c_void_p))
        return scores

    def threshold(self, label: int) -> tuple[float, float]:
        both = np.zeros(2, np.float32)
        self._c.probe_threshold(label, both.ctypes.data_as(ctypes.c_void_p))
        return both.item(0), both.item(1)

    def sent(self) -> bytes:
        """Bytes for the host since the last call."""
        buffer = ctypes.create_string_buffer(1 << 16)
        n = self._c.probe_take(buffer)
        return buffer.raw[:n]

    def frames(self) -> list[Frame]:
        """What was sent since the last call, all of which has to be in order."""
        reader = FrameReader()
        frames = reader.push(self.sent())
        assert reader.n_bad == 0
        return frames

    def messages(self) -> list[Message]:
        found = [parse_message(frame) for frame in self.frames()]
        assert None not in found
        return [message for message in found if message is not None]

    def say(self, command: Message, sequence: int = 0) -> list[Message]:
        """Sends a command -> the device's messages, the ACK last."""
        self.receive(command.frame(sequence).encoded())
        return self.messages()
