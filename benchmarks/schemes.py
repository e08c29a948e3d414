"""What each quantization scheme costs and keeps, for each family of students: accuracy on ESC-50
fold 1, drift over hours, bytes, time per step on every runtime. The state-width table.

    python benchmarks/schemes.py [--hours 6] [--only tiny]

Published students are fine-tuned on ESC folds 2 to 5 (half an hour each, once; kept in runs/, where
`edge-audio evaluate --folds` finds them too) and exported in every scheme. Accuracy is that of the
exported model, streaming on LiteRT. Drift is the mean difference of all scores from those of the
float model, in the first and in the last hour of one composed stream. Times are the least of many
rounds over all rows, one thread: a busy minute of the machine falls on all alike.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import math
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import click
import msgspec
import numpy as np
import torch
from long_stream import long_stream
from rich.console import Console
from rich.table import Table

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.fold_data import FineTuning, FoldData
from distill.evaluation.folds import clip_logits, fold_classifier
from distill.evaluation.metrics import wilson
from distill.progress import tracked
from distill.runs.toml import read_toml
from distill.scoring.clips import BundleScorer
from distill.training.trainer import load_student
from edge_audio.backends import Backend, backends_for, open_backend
from edge_audio.bundle.manifest import Tolerance
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.features.frontend import Frontend
from edge_audio.support.arrays import FloatArray
from quantize.build import BuildConfig, build_bundle
from quantize.graph.parity import backend_scores
from quantize.schemes import SCHEMES

FOLD = 1
RECIPES = {
    "micro": "folds.toml",
    "tiny": "folds.toml",
    "small": "folds.toml",
    "tiny-xlstm": "folds_small.toml",
}
"""Model -> how its student becomes a classifier of the fold."""

FAMILIES = {"ssm-lti": "SSM", "mlstm": "mLSTM"}
STATE_BYTES = {"float32": 4, "int16": 2, "int8": 1}
N_TIMED_STEPS, N_ROUNDS = 200, 60


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model in one scheme. n_right: of n_clips. *_hour_error: see the top. step_us: by
    runtime, once timed."""

    model: str
    family: str
    scheme: str
    n_right: int
    n_clips: int
    first_hour_error: float
    last_hour_error: float
    model_bytes: int
    state_bytes: int
    step_us: dict[str, float] = {}


@cache
def fold_data(recipe_name: str, checkpoint: Path, runs_dir: Path) -> FoldData:
    fine_tuning = read_toml(Path("distill/recipes") / recipe_name, FineTuning)
    return FoldData(load_student(checkpoint)[1], fine_tuning, runs_dir / "cache", 1)


def classifier(model: str, runs_dir: Path) -> Path:
    """The checkpoint that has not heard the fold; trained if it is not there."""
    checkpoint = Path(f"distill/checkpoints/{model}.pt")
    name = load_student(checkpoint)[1].name
    done = runs_dir / f"{name}-folds" / f"fold-{FOLD}" / "classifier.pt"
    if done.exists():
        return done
    data = fold_data(RECIPES[model], checkpoint, runs_dir)
    return fold_classifier(checkpoint, data, runs_dir, FOLD)


def exported(checkpoint: Path, scheme: str) -> Bundle:
    """The classifier in a scheme, for all runtimes; kept beside its checkpoint."""
    folder = checkpoint.parent / scheme
    if folder.exists():
        return load_bundle(str(folder))
    config = BuildConfig(scheme, scheme, tolerance=Tolerance(frames=2e-3, scores=1.0))
    return build_bundle(checkpoint, config, folder.parent, lambda _: None)


def count_right(bundle: Bundle) -> tuple[int, int]:
    """Clips of the fold that get the right one of the 50 classes, and all of them."""
    clip_list = named_clip_list()
    clips = [clip for clip in read_clip_list(clip_list) if clip.is_esc and clip.fold == FOLD]
    scorer, labels = BundleScorer(bundle), bundle.manifest.labels
    found = (
        labels[int(clip_logits(scorer, read_clip(clip_list.parent / clip.path, 16_000)).argmax())]
        for clip in clips
    )
    n_right = sum(name == clip.esc50_class for name, clip in zip(found, clips, strict=True))
    return n_right, len(clips)


@cache
def stream_frames(frontend: FrontendSpec, hours: int) -> FloatArray:
    """Log-mel [T, n_mels] of the composed stream; six hours take half a gigabyte."""
    stream = Frontend(frontend)
    return np.concatenate([stream.push(samples) for samples in long_stream(hours)])


def hourly_scores(bundle: Bundle, hours: int) -> list[FloatArray]:
    """Scores [n_steps, n_labels] of one hour after the other, in one stream."""
    model = bundle.manifest.model
    scores = backend_scores(open_backend(bundle), stream_frames(model.frontend, hours))
    return np.array_split(scores, hours)


def hourly_errors(bundle: Bundle, float_hours: list[FloatArray]) -> list[float]:
    """Mean absolute difference from the float model, hour by hour."""
    hours = hourly_scores(bundle, len(float_hours))
    return [float(np.abs(a - b).mean()) for a, b in zip(hours, float_hours, strict=True)]


@cache
def noise(shape: tuple[int, ...]) -> FloatArray:
    """f32[N_TIMED_STEPS, *shape], spread about as log-mel frames are."""
    rng = np.random.default_rng(0)
    return rng.normal(-0.6, 0.6, (N_TIMED_STEPS, *shape)).astype(np.float32)


def step_us(backend: Backend) -> float:
    """Microseconds per step of one round, state copies included."""
    blocks, state = noise(backend.spec.frames.shape), backend.initial_state()
    start_s = time.perf_counter()
    for block in blocks:
        state = backend.step(block, state)[1]
    return 1e6 * (time.perf_counter() - start_s) / N_TIMED_STEPS


def measure(model: str, checkpoint: Path, hours: int, console: Console) -> Iterator[Row]:
    """One row for each scheme."""
    float_hours = hourly_scores(exported(checkpoint, "float"), hours)
    mixer = msgspec.to_builtins(load_student(checkpoint)[0].config.mixer)
    for scheme in SCHEMES:
        console.print(f"{model} {scheme}")
        bundle = exported(checkpoint, scheme)
        spec, errors = bundle.manifest.model, hourly_errors(bundle, float_hours)
        n_right, n_clips = count_right(bundle)
        yield Row(
            model=model,
            family=FAMILIES[mixer["kind"]],
            scheme=scheme,
            n_right=n_right,
            n_clips=n_clips,
            first_hour_error=errors[0],
            last_hour_error=errors[-1],
            model_bytes=bundle.manifest.files["model.tflite"].n_bytes,
            state_bytes=sum(math.prod(t.shape) * STATE_BYTES[t.dtype] for t in spec.state),
        )


def timed(rows: list[Row], runs_dir: Path) -> list[Row]:
    """The rows with the times of now."""
    backends = []
    for row in rows:
        bundle = exported(classifier(row.model, runs_dir), row.scheme)
        backends.append({name: open_backend(bundle, name) for name in backends_for(bundle)})
    best = [dict.fromkeys(of_row, math.inf) for of_row in backends]
    for _ in tracked(range(N_ROUNDS), "timing"):
        for of_row, times in zip(backends, best, strict=True):
            for name, backend in of_row.items():
                times[name] = min(times[name], step_us(backend))
    return [
        msgspec.structs.replace(row, step_us=times) for row, times in zip(rows, best, strict=True)
    ]


def kept(paths: Sequence[Path]) -> list[Row]:
    """What former runs kept."""
    return [row for path in paths for row in msgspec.json.decode(path.read_bytes(), type=list[Row])]


def table(rows: list[Row]) -> Table:
    """As printed."""
    result = Table(
        *("model", "family", "scheme", "ESC-50 fold 1, %", "error, hour 1", "last hour"),
        *("model kB", "state B", "us per step: LiteRT", "ExecuTorch", "ONNX"),
        box=None,
    )
    for row in rows:
        right = wilson(row.n_right, row.n_clips)
        interval = f"({100 * right.low:.1f}-{100 * right.high:.1f})"
        times = (f"{row.step_us.get(x, math.nan):.0f}" for x in ("litert", "executorch", "onnx"))
        result.add_row(
            *(row.model, row.family, row.scheme, f"{100 * right.value:.1f} {interval}"),
            *(f"{row.first_hour_error:.1e}", f"{row.last_hour_error:.1e}"),
            *(f"{row.model_bytes / 1e3:.0f}", f"{row.state_bytes:,}", *times),
        )
    return result


@click.command()
@click.option("--hours", type=click.IntRange(2), default=6, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(RECIPES)))
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Keep the figures.")
@click.option(
    "--again",
    "former_paths",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Take all but the times from what --json kept.",
)
def main(
    hours: int,
    only: tuple[str, ...],
    runs_dir: Path,
    json_path: Path | None,
    former_paths: tuple[Path, ...],
) -> None:
    """Prints one table: every model in every scheme."""
    torch.set_num_threads(1)
    progress, rows = Console(stderr=True), kept(former_paths)
    for model in () if former_paths else only or RECIPES:
        rows += measure(model, classifier(model, runs_dir), hours, progress)
    rows = timed(rows, runs_dir)
    Console(width=150).print(table(rows))
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")


if __name__ == "__main__":
    main()
