"""Draws docs/report.png: what `edge-audio report` makes of three hours of faint noise in which
held-out clips sound at random.

    python benchmarks/report_picture.py [--hours 3] [--out docs/report.png]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import soundfile
from numpy.typing import NDArray

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list

RATE_HZ = 16_000
SECONDS_APART = 60.0


def recording(hours: float) -> NDArray[np.float32]:
    """Clips of fold 5, one a minute on average, over noise at -60 dBFS."""
    clip_list, rng = named_clip_list(), np.random.default_rng(0)
    clips = [clip for clip in read_clip_list(clip_list) if clip.fold == 5]
    n_samples = round(3600.0 * hours * RATE_HZ)
    samples = (1e-3 * rng.standard_normal(n_samples)).astype(np.float32)
    for index in rng.integers(0, len(clips), round(3600.0 * hours / SECONDS_APART)):
        sound = read_clip(clip_list.parent / clips[index].path, RATE_HZ)
        start = int(rng.integers(0, n_samples - len(sound)))
        samples[start : start + len(sound)] += 0.5 * sound
    return np.clip(samples, -1.0, 1.0)


def edge_audio(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "edge_audio", *map(str, arguments)], check=True)


@click.command()
@click.option("--hours", type=click.FloatRange(0.01), default=3.0, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default="docs/report.png", show_default=True
)
def main(hours: float, out: Path) -> None:
    """Writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        sound, log = Path(folder) / "hours.wav", Path(folder) / "sounds.jsonl"
        soundfile.write(sound, recording(hours), RATE_HZ)
        edge_audio("listen", "--source", sound, "--format", "none", "--json", log)
        edge_audio("report", log, "--out", out)


if __name__ == "__main__":
    main()
