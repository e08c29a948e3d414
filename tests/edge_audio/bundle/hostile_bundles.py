"""What tests of hostile bundles share: a valid manifest and how to spoil it, and what must hold of
whatever opens or is refused."""

from __future__ import annotations

import copy
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from edge_audio.backends import State
from edge_audio.backends.base import require_embedding, zero_state
from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import ModelSpec
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.cli.models import sections
from edge_audio.errors import BundleError, EdgeAudioError
from edge_audio.tagging.tagger import Tagger
from tests.support import toy

MODEL_FILES = {"litert": "model.tflite", "onnx": "model.onnx"}  # of the runtimes tested here
MB = 1 << 20
Edit = Callable[[Any], object]


def fuzz(max_examples: int) -> settings:
    """The same examples in every run of the same tests."""
    return settings(max_examples=max_examples, deadline=None, derandomize=True, database=None)


VALID: Any = json.loads(msgspec.json.encode(toy.MANIFEST))
VALID["labels"], VALID["events"]["thresholds"]["Band 0"]["on"] = list(toy.LABELS), 0.75
VALID["files"] = {name: {"sha256": "0" * 64, "n_bytes": 1} for name in ("model.tflite", "CARD.md")}
VALID["provenance"] = {"seed": 1, "metrics": {"mAP": 0.5}, "commands": ["a", "b\nc"]}
RAW = json.dumps(VALID).encode()


def dumped(edit: Edit) -> bytes:
    """The valid manifest after an edit; NaN, Infinity and lone surrogates are written too."""
    manifest = copy.deepcopy(VALID)
    edit(manifest)
    return json.dumps(manifest).encode()


def edit_on_disk(bundle: Bundle, edit: Edit) -> Bundle:
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))
    return bundle


OPENED: list[str] | None = None  # where the hook below writes, if it should


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(arguments[0], str | bytes):
        OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


@contextmanager
def only_opens_in(folder: Path) -> Iterator[None]:
    """Fails where a file outside the folder is opened within."""
    global OPENED  # noqa: PLW0603
    OPENED = []
    try:
        yield
        outside = {path for path in OPENED if Path(path).resolve().parent != folder.resolve()}
    finally:
        OPENED = None
    assert not outside


def assert_one_line(error: EdgeAudioError, folder: Path | None = None) -> None:
    text = str(error).replace(str(folder), "")
    assert text.isprintable()  # no line break, no terminal code, no half of a character
    assert 10 < len(text) < 400


class DeafBackend:
    """Fits any manifest and hears nothing."""

    name = "deaf"
    log_mel = None

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def initial_state(self) -> State:
        return zero_state(self.spec)

    def step(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        assert np.isfinite(frames).all()
        assert frames.shape == self.spec.frames.shape
        return np.zeros(self.spec.scores.shape[1], np.float32), state

    def embed(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        require_embedding(self.spec)
        assert self.spec.embedding is not None
        return (
            self.step(frames, state)[0],
            np.zeros(self.spec.embedding.shape[1], np.float32),
            state,
        )


def assert_consistent(bundle: Bundle) -> None:
    """It can be listened with, shown and written again, at no great cost."""
    manifest = bundle.manifest
    for name in manifest.files:
        assert (bundle.path / name).resolve().parent == bundle.path.resolve()
    assert sum(array.nbytes for array in zero_state(manifest.model)) <= 16 * MB
    tagger = Tagger(bundle, DeafBackend(manifest.model))
    samples = toy.noise(min(3 * manifest.model.step_samples, 40_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagger.push(samples)
        tagger.flush()
    for title, (_, lines) in sections(bundle):
        for line in "\n".join([title, *lines]).replace("\t", " ").split("\n"):
            assert all(ord(char) >= 32 and not 127 <= ord(char) < 160 for char in line)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


def check(folder: Path, raw: bytes) -> bool:
    """Whether a bundle with this manifest opens; if it does not, that is said in one line."""
    (folder / "manifest.json").write_bytes(raw)
    with only_opens_in(folder):
        try:
            bundle = load_bundle(folder)
        except BundleError as error:
            assert_one_line(error, folder)
            return False
        for name in bundle.manifest.files:
            try:
                bundle.read(name)
            except BundleError as error:
                assert_one_line(error, folder)
    assert_consistent(bundle)
    return True


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """A few bytes overwritten, cut out or put in; sometimes the end is gone."""
    content = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        n_gone = draw(st.integers(0, 3))
        content[start : start + n_gone] = draw(st.binary(max_size=3))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


def shape(n: int, sizes: list[int]) -> Edit:
    return lambda m: m["model"]["state"][n].update(shape=sizes)


def frontend(**changes: float) -> Edit:
    return lambda m: m["model"]["frontend"].update(changes)
