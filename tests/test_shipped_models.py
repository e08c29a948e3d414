"""The models that come with the package, on real sounds that they were never trained on.

ESC clips of fold 5 were held out of the shipped models' training.
"""

from __future__ import annotations

import json
import operator
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from command_line import listening, run
from virtual_sound_card import VirtualSoundCard

from distill.data import read_manifest
from distill.evaluate import held_out_clips
from distill.recipe import Recipe
from edge_audio.bundle import load_bundle, shipped_bundles
from edge_audio.sinks import Segment, SegmentSink
from edge_audio.tagger import Tagger

MAX_BUNDLE_BYTES = 2_000_000
MAX_TINY_INT8_BYTES = 1_000_000
MAX_LATENCY_MS = 160.0
BUDGETS = {"micro": (40_000, 1.5), "tiny": (150_000, 5.0), "small": (1_000_000, 30.0)}
"""Parameters without the head, and million multiply-accumulates per second, by size."""

HEARD_WITHIN_S = 3.0
CLIPS = {  # label -> a clip in which it sounds
    "Dog": "audio/esc10/5-203128-A.ogg",
    "Crowing, cock-a-doodle-doo": "audio/esc10/5-200334-A.ogg",
}
SHIPPED = shipped_bundles()


def segments(tagger: Tagger, pcm: np.ndarray) -> list[Segment]:
    sink = SegmentSink()
    for event in [*tagger.push(pcm), *tagger.flush()]:
        sink.on_event(event)
    return sink.segments


def soundscape(data_dir: Path, n_clips: int) -> np.ndarray:
    """int16: held-out clips one after the other, evenly chosen from the folder."""
    paths = sorted((data_dir / "audio" / "esc10").glob("5-*.ogg"))
    chosen = paths[:: max(1, len(paths) // n_clips)][:n_clips]
    return np.concatenate([soundfile.read(path, dtype="int16")[0] for path in chosen])


def test_the_default_models_are_shipped() -> None:
    assert set(SHIPPED) == {
        "micro-int8",
        "small-int8",
        "tiny",
        "tiny-int8",
        "tiny-int8-executorch",
        "tiny-xlstm-int8",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_latency_and_cost_are_within_what_is_promised(name: str) -> None:
    manifest = load_bundle(name).manifest
    facts = manifest.provenance
    assert manifest.model.latency_ms <= MAX_LATENCY_MS
    max_parameters, max_mmac_per_s = BUDGETS[name.partition("-")[0]]
    assert facts["n_parameters_without_head"] <= max_parameters
    assert facts["mmac_per_s"] <= max_mmac_per_s
    assert len(manifest.labels) == 527


def test_int8_bundles_are_small_and_smaller_than_float() -> None:
    n_bytes = {
        name: sum(entry.n_bytes for entry in load_bundle(name).manifest.files.values())
        for name in SHIPPED
    }
    assert max(size for name, size in n_bytes.items() if name.endswith("-int8")) < MAX_BUNDLE_BYTES
    assert n_bytes["tiny-int8"] < min(MAX_TINY_INT8_BYTES, n_bytes["tiny"] / 2)


def test_stated_precision_and_recall_are_those_of_real_events(data_dir: Path) -> None:
    """Over every clip that the recipe held out, through the Tagger as a user runs it."""
    manifest = load_bundle("tiny-int8").manifest
    recipe = msgspec.convert(manifest.provenance["recipe"], Recipe)
    clips = [
        clip
        for clip in held_out_clips(recipe, read_manifest(data_dir))
        if clip.tier in recipe.split.tiers
    ]
    tagger = Tagger.open("tiny-int8")
    heard = [labels_heard(tagger, data_dir / clip.path) for clip in clips]
    for label, threshold in manifest.events.thresholds.items():
        fired = [label in labels for labels in heard]
        listed = [label in clip.labels for clip in clips]
        n_hits = sum(map(operator.and_, fired, listed))
        assert sum(listed) == threshold.n_positives
        # one clip more or less: the threshold is stored with four digits
        assert abs(n_hits - threshold.recall * threshold.n_positives) <= 1.1, label
        assert abs(sum(fired) * threshold.precision - n_hits) <= 1.1, label


def labels_heard(tagger: Tagger, path: Path) -> set[str]:
    """Labels of the events in a clip and half a second of silence after it."""
    tagger.reset()
    pcm, _ = soundfile.read(path, dtype="int16")
    events = tagger.push(np.concatenate([pcm, np.zeros(8_000, np.int16)]))
    return {event.label for event in events}


@pytest.mark.parametrize("label", CLIPS)
def test_a_clip_played_into_the_microphone_is_named_within_three_seconds(
    data_dir: Path, virtual_sound_card: VirtualSoundCard, label: str
) -> None:
    options = ("--source", "mic", "--format", "jsonl", "--top", 1)
    with listening(*options, env=virtual_sound_card.environment) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "scores"  # it listens
        virtual_sound_card.play(data_dir / CLIPS[label], 16_000)
        start_s = time.monotonic()
        for line in process.stdout:
            record = json.loads(line)
            if record["kind"] == "start" and record["label"] == label:
                break
            assert time.monotonic() - start_s < HEARD_WITHIN_S, f"no {label} by {record}"


def test_silence_starts_no_event() -> None:
    assert segments(Tagger.open("tiny-int8"), np.zeros(30 * 16_000, np.int16)) == []


def test_scores_after_an_hour_are_those_of_a_fresh_stream(data_dir: Path) -> None:
    """Invariant 5, with real sounds: nothing builds up in the state."""
    last_minute = soundscape(data_dir, n_clips=12)
    scene = soundscape(data_dir, n_clips=40)
    old, fresh = Tagger.open("tiny-int8"), Tagger.open("tiny-int8")
    step_samples = round(old.bundle.manifest.model.step_s * old.sample_rate_hz)
    n_rounds = 3600 * old.sample_rate_hz // len(scene)
    for _ in range(n_rounds):
        old.push(scene)
    old.push(np.zeros(-n_rounds * len(scene) % step_samples, np.int16))  # to the grid of steps
    old_scores, fresh_scores = all_scores(old, last_minute), all_scores(fresh, last_minute)
    # The old stream's first step still waits for the end of its last window. From 40 s on, five
    # times the longest memory, nothing of the past may be left.
    assert np.abs(old_scores[501:701] - fresh_scores[500:700]).max() <= 0.02


def all_scores(tagger: Tagger, pcm: np.ndarray) -> np.ndarray:
    """f32[n_steps, n_labels]"""
    return np.stack([scores for _, scores, _ in tagger.stream(pcm)])


def test_verify_passes_for_every_shipped_model() -> None:
    for name in SHIPPED:
        assert run("verify", name).stdout.count("ok") >= 1
