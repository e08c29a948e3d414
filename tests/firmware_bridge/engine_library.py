"""The C engine as a shared library, called through ctypes as any program would."""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.engine.image import ENGINE_FILE, IMAGE_MAGIC, IMAGE_VERSION, StateType, build_image
from edge_audio.events.policy import RELATED, Related
from firmware_bridge.toolchains import ENGINE_DIR, engine_sources
from quantize.export.native import export_native
from quantize.graph.prepare import prepare
from quantize.schemes import SCHEMES
from tests.support.student_zoo import CONFIGS, make_mixed_student, make_student

OK, BAD_ARGUMENT, BAD_IMAGE, BAD_VERSION, BAD_HASH, UNALIGNED, TOO_SMALL, TOO_LARGE, FULL = range(9)
START, END = range(2)
ALIGNMENT = 8
STEP = 1280  # samples of the students here
FLAGS = ("-std=c99", "-ffp-contract=off", f"-I{ENGINE_DIR / 'include'}")
LIBRARY_FLAGS = (*FLAGS, "-O2", "-fPIC", "-shared", "-fvisibility=default")

Samples = NDArray[np.int16]


class Event(NamedTuple):
    """sample: position in the stream. kind: START or END."""

    sample: int
    label: int
    kind: int
    score: float


class CEvent(ctypes.Structure):
    """ea_event"""

    _fields_ = (
        ("sample", ctypes.c_uint64),
        ("label", ctypes.c_uint32),
        ("kind", ctypes.c_int),
        ("score", ctypes.c_float),
    )


def compile_library(folder: Path, flags: Sequence[str] = (), compiler: str = "cc") -> ctypes.CDLL:
    """The engine with these flags. Skips without a compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: apt-get install {compiler.replace('cc', 'gcc', 1)}")
    path = Path(tempfile.mkdtemp(dir=folder)) / "engine.so"  # one name is loaded only once
    shutil.copy(_compiled(tuple(flags), compiler), path)
    return declare(ctypes.CDLL(str(path)))


@lru_cache(maxsize=16)
def _compiled(flags: tuple[str, ...], compiler: str) -> Path:
    """The file: several test modules want one of the same flags."""
    path = _kept_folder("engine") / "engine.so"
    sources = map(str, engine_sources())
    command = [compiler, *LIBRARY_FLAGS, *flags, *sources, "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def _kept_folder(name: str) -> Path:
    """One that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix=f"edge-audio-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """With the types of those functions whose arguments or results are not all int."""
    pointer, size, word, real = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_uint32,
        ctypes.c_float,
    )
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "ea_open": (ctypes.c_int, (pointer, pointer, size)),
        "ea_state_size": (size, (pointer,)),
        "ea_init": (ctypes.c_int, (pointer, pointer, pointer, size)),
        "ea_push": (ctypes.c_int, (pointer, pointer, size, pointer, size, pointer)),
        "ea_flush": (ctypes.c_int, (pointer, pointer, size, pointer)),
        "ea_reset": (None, (pointer,)),
        "ea_scores": (pointer, (pointer,)),
        "ea_embedding": (pointer, (pointer,)),
        "ea_embedding_dim": (word, (pointer,)),
        "ea_step_embedding": (pointer, (pointer, pointer)),
        "ea_n_steps": (ctypes.c_uint64, (pointer,)),
        "ea_n_samples": (ctypes.c_uint64, (pointer,)),
        "ea_set_threshold": (ctypes.c_int, (pointer, word, real, real)),
        "ea_set_related": (ctypes.c_int, (pointer, word)),
        "ea_log_mel": (None, (pointer, pointer, size, pointer, pointer)),
        "ea_begin": (None, (pointer, pointer, pointer, pointer)),
        "ea_step": (None, (pointer, pointer, pointer, pointer, pointer)),
        "ea_threshold": (ctypes.c_int, (pointer, word, pointer, pointer)),
        "ea_n_labels": (word, (pointer,)),
        "ea_label": (ctypes.c_char_p, (pointer, word)),
        "ea_sample_rate_hz": (word, (pointer,)),
        "ea_step_samples": (word, (pointer,)),
        "ea_image_crc32": (word, (pointer,)),
        "ea_network_size": (size, (pointer,)),
        "ea_scratch_size": (size, (pointer,)),
        "ea_model_size": (size, ()),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def aligned(n_bytes: int, offset: int = 0) -> NDArray[np.uint8]:
    """n_bytes that begin `offset` beyond a multiple of ALIGNMENT, filled with rubbish."""
    raw = np.full(n_bytes + 2 * ALIGNMENT, 0xA5, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT + offset
    return raw[start : start + n_bytes]


class Model:
    """ea_open of an image; `status` is what it returned."""

    def __init__(self, library: ctypes.CDLL, image: bytes, offset: int = 0) -> None:
        self.library = library
        self._image = aligned(len(image), offset)
        self._image[:] = np.frombuffer(image, np.uint8)
        self._memory = aligned(library.ea_model_size())
        self.address = self._memory.ctypes.data
        self.status: int = library.ea_open(self.address, self._image.ctypes.data, len(image))

    @property
    def n_labels(self) -> int:
        return int(self.library.ea_n_labels(self.address))

    @property
    def labels(self) -> list[str]:
        names = (self.library.ea_label(self.address, i) for i in range(self.n_labels))
        return [name.decode() for name in names]

    @property
    def step_samples(self) -> int:
        return int(self.library.ea_step_samples(self.address))

    @property
    def state_size(self) -> int:
        return int(self.library.ea_state_size(self.address))


def open_model(library: ctypes.CDLL, image: bytes) -> Model:
    """One that must be sound."""
    model = Model(library, image)
    assert model.status == OK
    return model


class Stream:
    """ea_init of a model in memory of its own; `status` is what the latest call returned."""

    def __init__(self, model: Model, n_missing: int = 0, offset: int = 0) -> None:
        """n_missing: bytes that its memory has less than it needs."""
        self.model = model
        self.library = model.library
        self._memory = aligned(model.state_size - n_missing, offset)
        handle = ctypes.c_void_p()
        self.status: int = self.library.ea_init(
            ctypes.byref(handle), model.address, self._memory.ctypes.data, len(self._memory)
        )
        self.handle = handle.value

    def push(self, samples: Samples, capacity: int | None = None) -> list[Event]:
        """capacity: of the event buffer; None = plenty."""
        samples = np.ascontiguousarray(samples, np.int16)
        return self._call(self.library.ea_push, (samples.ctypes.data, len(samples)), capacity)

    def flush(self, capacity: int | None = None) -> list[Event]:
        return self._call(self.library.ea_flush, (), capacity)

    def _call(self, function: Any, arguments: Sequence[Any], capacity: int | None) -> list[Event]:
        n_room = 4096 if capacity is None else capacity
        buffer = (CEvent * n_room)()
        n_events = ctypes.c_size_t(99)
        self.status = function(self.handle, *arguments, buffer, n_room, ctypes.byref(n_events))
        assert n_events.value <= n_room
        found = buffer[: n_events.value]
        return [Event(event.sample, event.label, event.kind, event.score) for event in found]

    def reset(self) -> None:
        self.library.ea_reset(self.handle)

    @property
    def scores(self) -> NDArray[np.float32]:
        """f32[n_labels], a copy."""
        content = ctypes.string_at(self.library.ea_scores(self.handle), 4 * self.model.n_labels)
        return np.frombuffer(content, np.float32)

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """f32[embedding_dim], None where there is none."""
        address = self.library.ea_embedding(self.handle)
        n = self.library.ea_embedding_dim(self.model.address)
        return np.frombuffer(ctypes.string_at(address, 4 * n), np.float32) if address else None

    @property
    def n_steps(self) -> int:
        return int(self.library.ea_n_steps(self.handle))

    @property
    def n_samples(self) -> int:
        return int(self.library.ea_n_samples(self.handle))

    def set_threshold(self, label: int, on: float, off: float) -> int:
        return int(self.library.ea_set_threshold(self.handle, label, on, off))

    def set_related(self, related: Related) -> int:
        return int(self.library.ea_set_related(self.handle, RELATED.index(related)))

    def threshold(self, label: int) -> tuple[float, float]:
        on, off = ctypes.c_float(), ctypes.c_float()
        arguments = (self.handle, label, ctypes.byref(on), ctypes.byref(off))
        assert self.library.ea_threshold(*arguments) == OK
        return on.value, off.value


def in_chunks(samples: Samples, sizes: Iterator[int]) -> Iterator[Samples]:
    """The samples in pieces of these sizes."""
    start = 0
    while start < len(samples):
        end = start + next(sizes)
        yield samples[start:end]
        start = end


def zoo_image(family: str, state: StateType = "float") -> bytes:
    """The engine image of `zoo_bundle`."""
    return build_image(zoo_bundle(family), state=state)


@lru_cache(maxsize=32)
def zoo_bundle(family: str, names: tuple[str, ...] = ()) -> Bundle:
    """A miniature student of the zoo, or "mixed"; all 20 labels have thresholds that random
    scores cross. names: of its labels; () = names that no two of are related."""
    student = make_mixed_student() if family == "mixed" else make_student(CONFIGS[family])
    scheme = SCHEMES["weight-only"]
    graph = prepare(student, scheme)
    labels = names or tuple(f"Label {i}" for i in range(graph.spec.scores.shape[1]))
    threshold = Threshold(on=0.5, off=0.4)
    manifest = Manifest(
        name=family,
        description="A student of the zoo",
        labels=labels,
        model=graph.spec,
        events=EventSpec(
            smoothing_s=0.08,
            min_on_s=0.08,
            min_off_s=0.16,
            thresholds=dict.fromkeys(labels, threshold),
        ),
        tolerance=scheme.tolerance,
    )
    files = {ENGINE_FILE: export_native(graph, scheme)}
    return save_bundle(_kept_folder("zoo") / family, manifest, files)


def sealed(body: bytes, version: int = IMAGE_VERSION) -> bytes:
    """An image with that content and a header that fits it."""
    words = np.array([version, 16 + len(body), zlib.crc32(body)], "<u4")
    return IMAGE_MAGIC + words.tobytes() + body


def noise(n: int, seed: int = 0) -> Samples:
    """Seconds of loud and of soft noise in turn."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(10.0 ** generator.uniform(0.5, 4.0, n // 4000 + 1), 4000)[:n]
    return (generator.normal(0.0, 1.0, n) * loudness).clip(-32768, 32767).astype(np.int16)


def whole_scores(model: Model, samples: Samples) -> np.ndarray:
    """Scores after a push of all samples at once."""
    stream = Stream(model)
    stream.push(samples)
    return stream.scores
