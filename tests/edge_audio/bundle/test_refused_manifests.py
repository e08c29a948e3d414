"""What earlier versions fell for, each by itself: manifests that ask for what no model needs are
refused in one line that names it, at little cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_audio.bundle.manifest import MAX_MANIFEST_BYTES, SCHEMA_VERSION
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import BundleError
from tests.edge_audio.bundle.hostile_bundles import (
    MB,
    RAW,
    Edit,
    assert_one_line,
    dumped,
    frontend,
    nested,
    shape,
)
from tests.support import toy
from tests.support.limits import peak_below


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose manifest is overwritten again and again."""
    return toy.save_toy(tmp_path_factory.mktemp("fuzz") / "toy", tflite=b"T", onnx=b"O").path


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return toy.save_toy(tmp_path / "toy", tflite=b"T" * 64, onnx=b"O" * 64)


def label(text: str) -> Edit:
    return lambda m: m["labels"].__setitem__(11, text)


def embedding(**changes: Any) -> Edit:
    tensor = {"name": "embedding", "shape": [1, 4], "dtype": "float32"}
    return lambda m: m["model"].update(embedding=tensor | changes)


REFUSED: dict[str, tuple[Edit, str]] = {
    "giant shape": (shape(0, [1, 2**40]), "at most 4194304 elements"),
    "giant in all": (shape(0, [2**22]), "at most 4194304 elements"),
    "empty shape": (shape(0, []), "'fast' must have 1 to 8 sizes"),
    "nine dimensions": (shape(0, [1] * 9), "'fast' must have 1 to 8 sizes"),
    "negative size": (shape(1, [1, -3, -4]), "'slow' must have 1 to 8 sizes"),
    "zero size": (shape(0, [1, 0]), "'fast' must have 1 to 8 sizes"),
    "nameless tensor": (lambda m: m["model"]["state"][0].update(name=""), "tensor name ''"),
    "dtype": (lambda m: m["model"]["state"][0].update(dtype="float64"), "float64"),
    "frames int8": (lambda m: m["model"]["frames"].update(dtype="int8"), "must be float32"),
    "scores int16": (lambda m: m["model"]["scores"].update(dtype="int16"), "must be float32"),
    "two outputs of one name": (
        lambda m: m["model"]["scores"].update(name="fast_next"),
        "'fast_next' is that of a next state too",
    ),
    "embedding of other dimensions": (embedding(shape=[4]), r"shape \(1, embedding_dim\)"),
    "embedding int8": (embedding(dtype="int8"), "'embedding' must be float32"),
    "embedding as scores": (embedding(name="scores"), "output tensor names must be unique"),
    "embedding as state": (embedding(name="slow_next"), "is that of a next state too"),
    "rate beyond floats": (frontend(sample_rate_hz=10**400), "sample_rate_hz <= 384000"),
    "rate zero": (frontend(sample_rate_hz=0), "sample_rate_hz"),
    "giant transform": (frontend(fft_size=2**30), "fft_size <= 8192"),
    "odd transform": (frontend(fft_size=500), "power of two"),
    "giant window": (frontend(window_samples=2**40, fft_size=2**40), "fft_size <= 8192"),
    "many bands": (frontend(n_mels=2_000, fft_size=8_192), "at most 256"),
    "no floor": (frontend(log_floor=1e-300), "log_floor"),
    "no scale": (frontend(log_scale=1e-300), "log_scale"),
    "no mean": (frontend(log_mean=-1e300), "log_mean"),
    "no band": (frontend(min_hz=7_999.999_999_9), "min_hz"),
    "latency": (lambda m: m["model"].update(latency_ms=-1), "latency_ms"),
    "tolerance": (lambda m: m["tolerance"].update(scores=-1), "tolerances must be"),
    "duration": (lambda m: m["events"].update(min_off_s=-1), "min_off_s must be"),
    "recall": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(recall=2),
        "recall must be within",
    ),
    "alarms": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(alarms_per_hour=-1),
        "alarms_per_hour must be",
    ),
    "positives": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(n_positives=-1),
        "n_positives",
    ),
    "empty label": (label(" "), "label"),
    "label of two lines": (label("a\nb"), "label 'a b'"),
    "label with terminal code": (label("\x1b[2J"), "label"),
    "endless label": (label("x" * 201), r"label 'xxx.*\.\.\.'"),
    "empty name": (lambda m: m.update(name=""), "name ''"),
    "description": (lambda m: m.update(description="a\x1b[2Jb"), "control codes"),
    "provenance": (lambda m: m.update(provenance={"a": ["\x9b2J"]}), "control codes"),
    "deep provenance": (lambda m: m.update(provenance={"a": nested(40)}), "nested at most"),
    "newer": (lambda m: m.update(schema_version=SCHEMA_VERSION + 1), "update edge-audio"),
    "much newer": (lambda m: m.update(schema_version=10**400), r"00\.\.\.: update edge-audio"),
    "older": (lambda m: m.update(schema_version=0), "export it again"),
    "long unknown field": (lambda m: m.update({"x" * 9_000: 1}), "unknown field"),
    "coloured unknown field": (lambda m: m.update({"\x1b[31m\n": 1}), "unknown field"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_model_needs_is_refused_in_one_line(saved: Bundle, kind: str) -> None:
    edit, message = REFUSED[kind]
    (saved.path / "manifest.json").write_bytes(dumped(edit))
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(saved.path)
    assert_one_line(caught.value, saved.path)


@pytest.mark.parametrize("filler", [b"[],", b'"",', b'{"a":[]},'])
def test_a_full_size_manifest_takes_little_memory(folder: Path, filler: bytes) -> None:
    head = RAW[: RAW.rindex(b'"provenance"')]
    n_fillers = (MAX_MANIFEST_BYTES - len(head) - 40) // len(filler)
    raw = head + b'"provenance": {"a": [' + filler * n_fillers + b"0]}}"
    assert 0.9 * MAX_MANIFEST_BYTES < len(raw) <= MAX_MANIFEST_BYTES
    with peak_below(64 * MB):
        (folder / "manifest.json").write_bytes(raw)
        load_bundle(folder)
