"""Which schemes give the same events on every runtime? One student in every scheme, each export on
ten minutes of clips that it was not trained on.

    python benchmarks/agreement.py [--model tiny] [--scheme weight-only]

Prints, per scheme, how far the scores of the other runtimes are from those of LiteRT, and how many
of the events differ in kind, label or time.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from edge_audio.backends import backends_for, open_backend
from edge_audio.bundle.store import load_bundle
from edge_audio.tagging.compare import difference, trace
from quantize.build import BuildConfig, build_bundle
from quantize.schemes import SCHEMES

SAMPLE_RATE_HZ = 16_000


def recording(duration_s: float) -> NDArray[np.float32]:
    """Clips of fold 5, evenly spread over the manifest, one after the other."""
    clip_list = named_clip_list()
    clips = [clip for clip in read_clip_list(clip_list) if clip.fold == 5]
    total_s = sum(clip.duration_s for clip in clips)
    chosen = clips[:: max(1, int(total_s / duration_s))]
    samples = [read_clip(clip_list.parent / clip.path, SAMPLE_RATE_HZ) for clip in chosen]
    return np.concatenate(samples)[: round(duration_s * SAMPLE_RATE_HZ)]


def rows(model: str, scheme: str, samples: NDArray[np.float32], folder: Path) -> list[list[str]]:
    """One line for each runtime but the first."""
    config = BuildConfig(f"{model}-{scheme}", scheme, like=f"{model}-int8")
    checkpoint = Path(f"distill/checkpoints/{model}.pt")
    path = build_bundle(checkpoint, config, folder, lambda _: None).path
    bundle = load_bundle(str(path))
    others = [name for name in backends_for(bundle) if name != "litert"]
    if not others:
        raise click.UsageError("there is no other runtime than LiteRT: nothing to compare")
    first = trace(bundle, open_backend(bundle, "litert"), [samples])
    lines = []
    for name in others:
        found = difference(first, trace(bundle, open_backend(bundle, name), [samples]))
        n_different = max(len(found.only_first), len(found.only_second))
        n_events = found.n_equal + len(found.only_first)
        apart = f"{found.max_error:.1e}", f"{found.mean_error:.1e}"
        lines.append([scheme, name, *apart, f"{n_different} of {n_events}"])
    return lines


@click.command()
@click.option("--model", default="tiny", show_default=True)
@click.option("--scheme", "schemes", type=click.Choice(list(SCHEMES)), multiple=True)
@click.option("--minutes", type=click.FloatRange(1), default=10.0, show_default=True)
def main(model: str, schemes: tuple[str, ...], minutes: float) -> None:
    """Prints one table; of all schemes unless some are named."""
    torch.set_num_threads(1)
    samples = recording(60.0 * minutes)
    columns = ("scheme", "LiteRT against", "scores apart by", "on average", "events that differ")
    table = Table(*columns, box=None)
    with tempfile.TemporaryDirectory() as folder:
        for scheme in schemes or SCHEMES:
            for line in rows(model, scheme, samples, Path(folder)):
                table.add_row(*line)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
