"""A changed model file never reaches its runtime, and one with the right hash that is no model ends
in one line. Native runtimes may crash on such, so they meet them in a process of its own only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.backends import installed_backends, open_backend
from edge_audio.bundle.store import MODELS_DIR, Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BackendError, BundleError
from tests.edge_audio.bundle.hostile_bundles import MODEL_FILES, RAW, assert_one_line, damaged, fuzz
from tests.support import toy


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return toy.save_toy(tmp_path / "toy", tflite=b"T" * 64, onnx=b"O" * 64)


@contextmanager
def fake_runtimes() -> Iterator[list[bytes]]:
    """Runtimes that only note what they are given; no native code is run."""
    seen: list[bytes] = []

    def note(*arguments: Any, model_content: bytes | None = None, **_: Any) -> None:
        seen.append(arguments[0] if model_content is None else model_content)
        raise ValueError("fake")

    runtime = MagicMock(Interpreter=note, InferenceSession=note)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("ai_edge_litert", "ai_edge_litert.interpreter", "onnxruntime"):
            patch.setitem(sys.modules, module, runtime)
        yield seen


MODEL = np.random.default_rng(0).bytes(300)


def flipped(bit: int) -> bytes:
    content = bytearray(MODEL)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


@pytest.mark.parametrize("name", MODEL_FILES)
@fuzz(60)
@given(content=damaged(MODEL) | st.integers(0, 8 * len(MODEL) - 1).map(flipped))
def test_changed_model_is_refused_before_the_runtime_sees_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed"
    bundle = save_bundle(path, toy.MANIFEST, {MODEL_FILES[name]: MODEL})
    (path / MODEL_FILES[name]).write_bytes(content)
    expected, message = (BackendError, "fake") if content == MODEL else (BundleError, "altered")
    with fake_runtimes() as seen:
        with pytest.raises(expected, match=message):
            open_backend(bundle, name)
        assert seen == ([MODEL] if content == MODEL else [])


@pytest.mark.parametrize("name", MODEL_FILES)
def test_unchanged_model_does_reach_the_runtime(tmp_path: Path, name: str) -> None:
    bundle = save_bundle(tmp_path / "b", toy.MANIFEST, {MODEL_FILES[name]: MODEL})
    with fake_runtimes() as seen, pytest.raises(BackendError, match="fake"):
        open_backend(bundle, name)
    assert seen == [MODEL]


def part_of_shipped(name: str, file: str, end: int) -> bytes:
    """Its beginning; rubbish too where no model is shipped."""
    path = MODELS_DIR / name / file
    return path.read_bytes()[:end] if path.is_file() else b"?" * end


OPEN_ALL = """
import json, sys
from pathlib import Path
from edge_audio.backends import open_backend
from edge_audio.bundle.store import load_bundle

for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_backend(load_bundle(folder), sys.argv[2])
        result = ("opened", "")
    except Exception as error:
        result = (type(error).__name__, str(error))
    print(json.dumps([folder.name, *result]), flush=True)
"""


@pytest.mark.parametrize("name", MODEL_FILES)
def test_rubbish_with_the_right_hash_ends_in_one_line(tmp_path: Path, name: str) -> None:
    if name not in installed_backends():
        pytest.skip(f"the {name} runtime is not installed")
    rng = np.random.default_rng(1)
    rubbish = {
        "noise": rng.bytes(5_000),
        "tflite-header": b"\x1c\0\0\0TFL3" + rng.bytes(500),
        "tflite-zeros": b"\x1c\0\0\0TFL3" + bytes(500),
        "protobuf": b"\x08\x08\x3a\xff\xff\xff\xff\x0f" + bytes(50),
        "deep-protobuf": b"\x3a\x7e" * 64,
        "json": RAW,
        **{
            f"cut-{end}-{file}": part_of_shipped("micro-int8", file, end)
            for file in MODEL_FILES.values()
            for end in (8, 1_000, 60_000)
        },
    }
    for kind, content in rubbish.items():
        toy.save_toy(tmp_path / kind, tflite=content, onnx=content)
    command = [sys.executable, "-c", OPEN_ALL, str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [kind for kind, *_ in results] == sorted(rubbish)
    for kind, error, message in results:
        assert (kind, error) == (kind, "BackendError")
        assert message.isprintable()


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("other", ["micro-int8", "tiny-xlstm-int8"])
def test_model_of_another_bundle_is_refused_by_tensor_name(
    tmp_path: Path, name: str, other: str
) -> None:
    if name not in installed_backends() or not {"tiny-int8", other} <= {*shipped_bundles()}:
        pytest.skip(f"the {name} runtime or {other} is not installed")
    manifest = load_bundle("tiny-int8").manifest
    swapped = {MODEL_FILES[name]: load_bundle(other).read(MODEL_FILES[name])}
    bundle = save_bundle(tmp_path / "swapped", manifest, swapped)
    with pytest.raises(BackendError, match=r"does not fit its manifest: tensor '\w+' is") as caught:
        open_backend(bundle, name)
    assert_one_line(caught.value)


def test_model_swapped_without_its_hash_is_refused(saved: Bundle, tmp_path: Path) -> None:
    other = toy.save_toy(tmp_path / "other", tflite=b"U" * 64)
    (other.path / "model.tflite").replace(saved.path / "model.tflite")
    with pytest.raises(BundleError, match=r"model\.tflite was altered"):
        open_backend(saved, "litert")
