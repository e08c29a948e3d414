"""The Java of the Android target, without Android: on a JVM of this machine with a library compiled
for it, it hears what Python hears."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.events.detector import Event
from edge_audio.events.policy import ONE_SOUND
from edge_audio.tagging.tagger import Tagger
from tests.firmware_bridge.builders.android.android_build import (
    DIRECT_MEMORY_MB,
    MODEL,
    Row,
    Run,
    floats,
    parsed,
)

SCORE_TOLERANCE = 0.005  # the engine rounds activations to 16 bits, LiteRT does not


def expected(bundle: Bundle, events: Sequence[Event]) -> tuple[list[Row], list[float]]:
    labels = bundle.manifest.labels
    rate_hz = bundle.manifest.model.frontend.sample_rate_hz
    rows: list[Row] = [(x.kind, round(x.time_s * rate_hz), labels.index(x.label)) for x in events]
    return rows, [x.score for x in events]


@pytest.mark.parametrize("model", ["micro-int8", MODEL])
def test_events_are_those_of_the_python_tagger(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray, model: str
) -> None:
    """With LiteRT: where a score nearly touches its threshold, an event may be a step off."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    tagger = Tagger.open(model, "litert", policy=ONE_SOUND)
    pushed, last_scores = tagger.push(samples), tagger.scores.copy()
    rows, scores = expected(tagger.bundle, [*pushed, *tagger.flush()])
    text = check("events", work_dir / f"{model}.bin", pcm, "array:1000")
    found_rows, found_scores = parsed(text)
    assert len(rows) >= 10
    assert [row[::2] for row in found_rows] == [row[::2] for row in rows]  # kinds and labels
    n_off = np.abs([a[1] - b[1] for a, b in zip(found_rows, rows, strict=True)])
    assert n_off.max() <= tagger.bundle.manifest.model.step_samples
    assert np.mean(n_off > 0) <= 0.1
    np.testing.assert_allclose(found_scores, scores, atol=SCORE_TOLERANCE)
    (line,) = re.findall(r"^scores (.*)$", text, re.MULTILINE)
    np.testing.assert_allclose(floats(line.split()), last_scores, atol=SCORE_TOLERANCE)
    assert f"heard {len(samples)} " in text


def test_events_are_exactly_those_of_the_python_tagger_with_this_engine(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray
) -> None:
    tagger = Tagger.open(MODEL, "native", policy=ONE_SOUND)
    pushed, last_scores = tagger.push(samples), tagger.scores.copy()
    events = [*pushed, *tagger.flush()]
    text = check("events", work_dir / f"{MODEL}.bin", pcm, "array:1000")
    assert parsed(text) == expected(tagger.bundle, events)
    (line,) = re.findall(r"^scores (.*)$", text, re.MULTILINE)
    assert floats(line.split()).tobytes() == last_scores.tobytes()


def test_pieces_of_any_length_give_the_same_bits(check: Run, work_dir: Path, pcm: Path) -> None:
    plans = ("array:1000", "offset:37", "offset:50000", "buffer:1280", "buffer:9999999")
    texts = {check("events", work_dir / f"{MODEL}.bin", pcm, plan) for plan in plans}
    assert len(texts) == 1


def test_streams_on_two_threads_do_not_mix(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray
) -> None:
    image, other = work_dir / f"{MODEL}.bin", work_dir / "backwards.s16"
    other.write_bytes(samples[::-1].astype("<i2").tobytes())
    alone = [check("events", image, path, "array:1280") for path in (pcm, other)]
    assert alone[0] != alone[1]
    assert check("threads", image, pcm, other).split("---\n") == [*alone, ""]


def test_a_stream_can_be_closed_while_threads_use_it(check: Run, work_dir: Path, pcm: Path) -> None:
    text = check("together", work_dir / f"{MODEL}.bin", pcm)
    assert text.splitlines() == 2 * ["the stream is closed: make a new one"]


def test_memory_is_freed_with_the_objects(check: Run, work_dir: Path) -> None:
    image = work_dir / f"{MODEL}.bin"
    assert 300 * image.stat().st_size > 2 * DIRECT_MEMORY_MB * 2**20
    assert check("many", image) == f"{300 * 2}\n"


def test_facts_are_those_of_the_bundle(check: Run, work_dir: Path) -> None:
    path = work_dir / f"{MODEL}.bin"
    manifest = load_bundle(MODEL).manifest
    lines = check("facts", path).splitlines()
    assert f"rate {manifest.model.frontend.sample_rate_hz}" in lines
    assert f"step {manifest.model.step_samples}" in lines
    assert f"crc32 {int.from_bytes(path.read_bytes()[12:16], 'little')}" in lines
    labels = [line.split(" ", 3) for line in lines if line.startswith("label ")]
    assert [name for *_, name in labels] == list(manifest.labels)
    for _, on, off, name in labels:
        threshold = manifest.events.thresholds.get(name)
        pair = (threshold.on, threshold.off) if threshold else (0.0, 0.0)
        np.testing.assert_array_equal(floats([on, off]), np.array(pair, np.float32))


def test_a_label_may_have_any_character(check: Run, work_dir: Path) -> None:
    image = (work_dir / f"{MODEL}.bin").read_bytes()
    body = image[16:].replace(b"Speech\0", "é🐶".encode() + b"\0", 1)
    path = work_dir / "characters.bin"
    path.write_bytes(image[:12] + zlib.crc32(body).to_bytes(4, "little") + body)
    assert " é🐶\n" in check("facts", path)
