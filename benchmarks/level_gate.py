"""What the level gate saves in silence, and whether anything else is heard with it.

    python benchmarks/level_gate.py [--model tiny-int8] [--gate-dbfs -60]

Minutes of recordings that no shipped model was trained on, with silence between them, are heard
in blocks of 80 ms, as a microphone delivers, with and without the gate. CPU is that of tagger and
model alone, with the gate over without it, one right behind the other. Events are compared one by
one: those with another time, and those that only one of the two runs has. Scores are compared in
all steps that reach the level.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line sets it

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import click
import numpy as np
import soundfile as sf
from rich.console import Console
from rich.table import Table

from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from edge_audio.events.detector import Event
from edge_audio.tagging.tagger import Tagger

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 1_280
PIECE_S = 60.0
SCENES = ((0.0, 10), (0.5, 10), (0.9, 10), (0.99, 2))  # share of silence, pieces of sound
FLOORS_DBFS = (None, -75.0)  # of the silence: digital, and as noisy as a quiet microphone


@dataclass(frozen=True)
class Run:
    """What one pass over a scene brought."""

    cpu_s: float
    skipped: float
    scores: np.ndarray
    events: list[Event]


def pieces(n_pieces: int) -> list[np.ndarray]:
    """float32 pieces of PIECE_S, from clips spread over the manifest."""
    clip_list = named_clip_list()
    folder = clip_list.parent
    clips = [clip for clip in read_clip_list(clip_list) if clip.fold == 5]
    total_s = sum(clip.duration_s for clip in clips)
    chosen = clips[:: max(1, int(total_s / (n_pieces * PIECE_S)))]
    sound = np.concatenate([sf.read(folder / clip.path, dtype="float32")[0] for clip in chosen])
    n_samples = round(PIECE_S * SAMPLE_RATE_HZ)
    return [sound[i * n_samples : (i + 1) * n_samples] for i in range(n_pieces)]


def scene(sounds: list[np.ndarray], silent: float, floor_dbfs: float | None) -> np.ndarray:
    """The sounds, each before silence, which makes up that share of the whole."""
    rng = np.random.default_rng(0)
    rms = 0.0 if floor_dbfs is None else 10 ** (floor_dbfs / 20)
    n_quiet = round(PIECE_S * silent / (1.0 - silent) * SAMPLE_RATE_HZ)
    parts = []
    for sound in sounds:
        quiet = np.float32(rms) * rng.standard_normal(n_quiet, dtype=np.float32)
        parts += [sound, quiet]
    return np.concatenate(parts)


def blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), BLOCK_SAMPLES):
        yield samples[start : start + BLOCK_SAMPLES]


def hear(model: str, samples: np.ndarray, gate_dbfs: float | None) -> Run:
    """One pass; the scores f16[n_steps, n_labels], since hours of them are kept."""
    tagger = Tagger.open(model, gate_dbfs=gate_dbfs)
    scores, events = [], []
    start_s = time.process_time()
    for block in blocks(samples):
        for _, step_scores, found in tagger.steps(block):
            scores.append(step_scores.astype(np.float16))
            events += found
    events += tagger.flush()
    cpu_s = time.process_time() - start_s
    return Run(cpu_s, tagger.n_skipped_steps / tagger.n_steps, np.array(scores), events)


def moved_and_lost(a: list[Event], b: list[Event]) -> tuple[int, int]:
    """How many events have another time, and how many only one of the runs has."""
    exact = [Counter((e.kind, e.label, round(e.time_s, 3)) for e in run) for run in (a, b)]
    kinds = [Counter((e.kind, e.label) for e in run) for run in (a, b)]
    n_different = (exact[0] - exact[1]).total()
    n_lost = ((kinds[0] - kinds[1]) + (kinds[1] - kinds[0])).total()
    return max(0, n_different - (kinds[0] - kinds[1]).total()), n_lost


def score_difference(a: Run, b: Run, samples: np.ndarray, gate_dbfs: float) -> float:
    """The largest in steps that reach the level."""
    n_steps = min(len(a.scores), (len(samples) - 240) // BLOCK_SAMPLES)
    steps = samples[240 : 240 + n_steps * BLOCK_SAMPLES].reshape(n_steps, -1)
    is_loud = np.square(steps).mean(axis=1) >= 10 ** (gate_dbfs / 10)
    differences = np.abs(a.scores[:n_steps][is_loud] - b.scores[:n_steps][is_loud])
    return float(differences.max())


@click.command()
@click.option("--model", "models", multiple=True, default=("tiny-int8",), show_default=True)
@click.option("--gate-dbfs", default=-60.0, show_default=True)
def main(models: tuple[str, ...], gate_dbfs: float) -> None:
    """Prints one row for each model, floor and share of silence."""
    columns = ("model", "floor", "silent", "CPU", "skipped")
    table = Table(*columns, "events", "moved", "lost or new", "largest score difference")
    sounds = pieces(max(n_pieces for _, n_pieces in SCENES))
    for model in models:
        for floor_dbfs in FLOORS_DBFS:
            for silent, n_pieces in SCENES:
                samples = scene(sounds[:n_pieces], silent, floor_dbfs)
                always, gated = (hear(model, samples, gate) for gate in (None, gate_dbfs))
                n_moved, n_lost = moved_and_lost(always.events, gated.events)
                difference = score_difference(always, gated, samples, gate_dbfs)
                table.add_row(
                    model,
                    "digital" if floor_dbfs is None else f"{floor_dbfs:g} dBFS",
                    f"{silent:.0%}",
                    f"{gated.cpu_s / always.cpu_s:.2f}",
                    f"{gated.skipped:.1%}",
                    str(len(always.events)),
                    str(n_moved),
                    str(n_lost),
                    f"{difference:.4f}",
                )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
