"""What is said when a stream begins: behind how many steps of silence should it?

    python benchmarks/first_second.py [--model tiny-int8] [--quiet-steps 0 --quiet-steps 25]

Clips that no shipped model was trained on (fold 5) are heard from their first sample, each as a
stream of its own. Of the first half second it counts the clips whose highest score has "Music"
without being listed so, "Silence", another label that is wrong, or one that is right: listed, or a
companion of a listed one. Beside that: how many clips have a listed label among the first one or
five, by the maximum of each label over a second and over CLIP_S; and what is said within a second
of rooms with nothing but coloured noise, -85 to -55 dBFS: the highest mean score of a label other
than "Silence", and that of "Silence".
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.companions import Companions, find_companions
from distill.data.folders import named_clip_list
from distill.mixing.mixtures import coloured_noise
from edge_audio.backends import open_backend
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.tagger import Tagger

SAMPLE_RATE_HZ = 16_000
HALF_STEPS, SECOND_STEPS = 6, 12  # whole steps of half a second, of a second
CLIP_S = 5.0
LEVELS_DBFS = np.linspace(-85.0, -55.0, 40)
HITS_AT = (1, 5)
KINDS = ("Music", "Silence", "wrong", "right")

Sounds = list[tuple[Clip, FloatArray]]


class Results(NamedTuple):
    """kinds: clips by what their first half second has on top. hits: shares of clips, of a second
    and of the clip, at each of HITS_AT. room: in noise, the label that is highest on average beside
    "Silence", with its score; silence: the score of that."""

    kinds: Counter[str]
    hits: list[float]
    room: tuple[str, float]
    silence: float


def held_out_sounds(clips: Sequence[Clip]) -> Sounds:
    """Clips of fold 5 with a label that last a second, cut to CLIP_S."""
    folder, n_samples = named_clip_list().parent, round(CLIP_S * SAMPLE_RATE_HZ)
    chosen = [clip for clip in clips if clip.fold == 5 and clip.labels and clip.duration_s >= 1.1]
    return [(clip, read_clip(folder / clip.path, SAMPLE_RATE_HZ)[:n_samples]) for clip in chosen]


def rooms() -> list[FloatArray]:
    """A second of noise each, of several colours and levels."""
    n_samples = round(1.1 * SAMPLE_RATE_HZ)
    return [
        coloured_noise(np.random.default_rng(seed), n_samples, float(level_dbfs))
        for seed, level_dbfs in enumerate(LEVELS_DBFS)
    ]


def behind(bundle: Bundle, n_steps: int) -> Bundle:
    """The same bundle with streams that begin behind that many steps of silence."""
    model = msgspec.structs.replace(bundle.manifest.model, quiet_steps=n_steps)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, model=model))


def kind_of(label: str, clip: Clip, companions: Companions) -> str:
    """One of KINDS."""
    if label in clip.labels or companions[label] & set(clip.labels):
        return "right"
    return label if label in KINDS else "wrong"


def is_hit(scores: FloatArray, n: int, clip: Clip, labels: Sequence[str]) -> bool:
    """Whether a listed label is among the first n."""
    return bool({labels[i] for i in np.argsort(-scores)[:n]} & set(clip.labels))


def measure(bundle: Bundle, sounds: Sounds, companions: Companions) -> Results:
    tagger = Tagger(bundle, open_backend(bundle), EventSpec())
    labels = tagger.labels

    def heard(samples: FloatArray) -> FloatArray:
        tagger.reset()
        return np.stack([step.scores for step in tagger.steps(samples)])

    kinds: Counter[str] = Counter()
    hits = []
    for clip, samples in sounds:
        scores = heard(samples)
        kinds[kind_of(labels[int(scores[:HALF_STEPS].max(0).argmax())], clip, companions)] += 1
        tops = scores[:SECOND_STEPS].max(0), scores.max(0)
        hits.append([is_hit(top, n, clip, labels) for top in tops for n in HITS_AT])
    mean = np.mean([heard(room)[:SECOND_STEPS].mean(0) for room in rooms()], axis=0)
    silence = labels.index("Silence")
    score = float(mean[silence])
    mean[silence] = 0.0
    highest = int(mean.argmax())
    shares = np.mean(hits, axis=0).tolist()
    return Results(kinds, shares, (labels[highest], float(mean[highest])), score)


def row(results: Results) -> list[str]:
    label, score = results.room
    counts = [str(results.kinds[kind]) for kind in KINDS]
    hits = [f"{100 * hit:.1f}" for hit in results.hits]
    return [*counts, *hits, f"{label} {score:.3f}", f"{results.silence:.3f}"]


@click.command()
@click.option("--model", "models", multiple=True, default=("tiny-int8",), show_default=True)
@click.option(
    "--quiet-steps",
    "numbers",
    type=click.IntRange(0),
    multiple=True,
    help="Steps of silence that a stream begins behind; default 0, and what the bundle says.",
)
def main(models: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    """Prints one row for each model and number of steps."""
    clips = read_clip_list(named_clip_list())
    sounds = held_out_sounds(clips)
    hits = [f"{name} hit@{n}" for name in ("1 s", f"{CLIP_S:g} s") for n in HITS_AT]
    table = Table("model", "behind", *KINDS, *hits, "room", "Silence", box=None)
    for model in models:
        bundle = load_bundle(Path(model) if Path(model).is_dir() else model)
        companions = find_companions(clips, bundle.manifest.labels)
        for n_steps in numbers or sorted({0, bundle.manifest.model.quiet_steps}):
            results = measure(behind(bundle, n_steps), sounds, companions)
            table.add_row(model, str(n_steps), *row(results))
    console = Console(width=130)
    console.print(f"{len(sounds)} clips, {len(LEVELS_DBFS)} rooms")
    console.print(table)


if __name__ == "__main__":
    main()
