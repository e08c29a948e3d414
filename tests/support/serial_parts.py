"""What the tests of the serial link are made of: the C link, a device, a cable with faults."""

from __future__ import annotations

import ctypes
import os
import pty
import queue
import random
import re
import select
import signal
import socket
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
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
from tests.support.command_line import Record, listening, records
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


class Cable:
    """Between a device (any file descriptor) and a pty that `path` leads to, which stands for a
    serial port: can be unplugged, and `alter` may change what goes to the host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alter: Callable[[bytes], bytes] = bytes
        self.n_host_bytes = 0
        self._device: int | None = None
        self._host: int | None = None
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def attach(self, device: int | None) -> None:
        """Connects another device, or none; the descriptor is the cable's from now on."""
        self._do(partial(self._set_device, device))

    def plug(self) -> None:
        self._do(self._open_host)

    def unplug(self) -> None:
        self._do(self._close_host)

    def close(self) -> None:
        self._is_closed = True
        self._thread.join(WAIT_S)
        self._close_host()
        self._set_device(None)

    def _do(self, job: Callable[[], None]) -> None:
        done = threading.Event()

        def work() -> None:
            job()
            done.set()

        self._jobs.put(work)
        assert done.wait(WAIT_S)

    def _set_device(self, device: int | None) -> None:
        if self._device is not None:
            os.close(self._device)
        self._device = device

    def _open_host(self) -> None:
        self._host, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self._host, False)
        self._slave = slave  # open, so that the host's end may be closed and opened again
        link = self.path.with_suffix(".new")
        link.symlink_to(os.ttyname(slave))
        link.replace(self.path)

    def _close_host(self) -> None:
        if self._host is not None:
            self.path.unlink()
            os.close(self._slave)
            os.close(self._host)
            self._host = None

    def _run(self) -> None:
        while not self._is_closed:
            with suppress(queue.Empty):
                self._jobs.get_nowait()()
            ends = [end for end in (self._device, self._host) if end is not None]
            for end in select.select(ends, [], [], 0.02)[0]:
                self._pass_on(end)

    def _pass_on(self, end: int) -> None:
        try:
            data = os.read(end, 4096)
        except OSError:
            data = b""
        if not data:
            if end == self._device:
                self._set_device(None)
        elif end == self._host:
            if self._device is not None:
                with suppress(OSError):
                    os.write(self._device, data)
        else:
            self._write_to_host(self.alter(data))

    def _write_to_host(self, data: bytes) -> None:
        """Waits while a host that listens is slow; without one the bytes are lost."""
        while data and self._host is not None and not self._is_closed and self._jobs.empty():
            if select.select([], [self._host], [], 0.1)[1]:
                with suppress(OSError):
                    n_written = os.write(self._host, data)
                    self.n_host_bytes += n_written
                    data = data[n_written:]


class Device:
    """A running device of `build_device` on a cable."""

    def __init__(self, program: Path, recording: Path, cable: Cable, speed: int = 0) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(program), str(recording), str(speed), str(theirs.fileno())]
            self._process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
        cable.attach(ours.detach())

    def kill(self) -> None:
        """As when its power fails: amid a byte, if need be."""
        self._process.kill()
        self._process.wait(WAIT_S)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def faults(rate: float, seed: int = 1) -> Callable[[bytes], bytes]:
    """Changes, drops and doubles bytes, each with a third of this probability."""
    rng = random.Random(seed)

    def alter(data: bytes) -> bytes:
        changed = bytearray()
        for byte in data:
            kind = rng.choice(("change", "drop", "double")) if rng.random() < rate else "keep"
            if kind == "change":
                changed.append(byte ^ 1 << rng.randrange(8))
            elif kind != "drop":
                changed += bytes([byte]) * (2 if kind == "double" else 1)
        return bytes(changed)

    return alter


def rounded(events: list[Event]) -> list[Record]:
    """As JSON lines have them."""
    return [
        {
            "time_s": round(event.time_s, 3),
            "kind": event.kind,
            "label": event.label,
            "score": round(event.score, 4),
        }
        for event in events
    ]


def assert_agree(found: list[Record], expected: list[Event]) -> None:
    """The engine computes in integers what a runtime computes in floats: scores differ a bit, and
    a score that only just reaches its threshold may do so a step earlier or later."""
    for label in {event.label for event in expected} | {x["label"] for x in found}:
        ours = [x for x in found if x["label"] == label]
        theirs = [event for event in expected if event.label == label]
        assert [x["kind"] for x in ours] == [event.kind for event in theirs]
        for x, event in zip(ours, theirs, strict=True):
            assert x["time_s"] == pytest.approx(event.time_s, abs=0.081)
            assert x["score"] == pytest.approx(event.score, abs=0.02)


def starts_of(found: list[Record]) -> list[Record]:
    return [x for x in found if x["kind"] == "start"]


def alternates(found: list[Record]) -> bool:
    """Whether starts and ends of every label take turns."""
    kinds = {x["label"]: "" for x in found}
    for x in found:
        kinds[x["label"]] += x["kind"][0]
    return all(re.fullmatch("(se)+", text) for text in kinds.values())


class Listener:
    """A running `edge-audio listen`; what it writes is collected as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: dict[str, queue.Queue[str]] = {}
        for name in ("stdout", "stderr"):
            self._lines[name] = queue.Queue()
            threading.Thread(target=self._read, args=(name,), daemon=True).start()

    def _read(self, name: str) -> None:
        for line in getattr(self._process, name):
            self._lines[name].put(line)
        self._lines[name].put("")

    def line(self, pipe: str = "stdout") -> str:
        """The next one, which has to come in time; empty at the end."""
        return self._lines[pipe].get(timeout=WAIT_S)

    def wait_for(self, words: str) -> str:
        """The first line of stderr with these words."""
        while words not in (line := self.line("stderr")):
            assert line, f"ended without {words!r}"
        return line

    def finish(self, *signals: signal.Signals) -> tuple[list[Record], str]:
        """Waits for the end (after signals) -> the rest of its records, and of stderr."""
        for each in signals:
            self._process.send_signal(each)
        texts = ["".join(iter(partial(self.line, name), "")) for name in ("stdout", "stderr")]
        assert self._process.wait(WAIT_S) == 0, texts
        return records(texts[0]), texts[1]


@contextmanager
def heard(port: Path, *options: object) -> Iterator[Listener]:
    """`edge-audio listen` on this port."""
    source = ("--source", f"serial:{port}", "--format", "jsonl")
    with listening(*source, *options) as process:
        yield Listener(process)
