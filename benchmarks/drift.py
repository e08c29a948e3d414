"""Does an int8 model stay right for hours? One composed stream through every shipped int8 model and
through its float twin, an hour of silence, and the time of a step at both ends.

    python benchmarks/drift.py [--hours 6] [--plot docs/drift.png]

Prints, hour by hour, the largest norm of the whole state and the score error against the float
model; then the time of a step in the first minute and that of the same audio at the end, and after
the hour of silence (denormal numbers would slow it down). Exits with 1 if a state or an error
grows: the last hour beyond 1.5 times the first.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import torch
from long_stream import long_stream
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.base import State
from edge_audio.bundle.store import load_bundle, shipped_bundles
from edge_audio.features.frontend import Frontend, log_mel
from edge_audio.support.arrays import FloatArray
from quantize.build import BuildConfig, build_bundle

MAX_GROWTH = 1.5
MINUTE_STEPS = 750
N_ROUNDS = 20
SILENT_STEPS = 60 * MINUTE_STEPS


class Drift(msgspec.Struct, kw_only=True):
    """state_norm, mean_error, max_error: one value a minute. first_us, last_us, silent_us: of a
    step at the start, at the end and after an hour of silence."""

    name: str
    state_norm: list[float] = []
    mean_error: list[float] = []
    max_error: list[float] = []
    first_us: float = 0.0
    last_us: float = 0.0
    silent_us: float = 0.0

    def hourly(self, values: list[float]) -> FloatArray:
        """[hours]: the mean of each hour's minutes."""
        whole = values[: len(values) // 60 * 60]
        means: FloatArray = np.array(whole, np.float32).reshape(-1, 60).mean(1)
        return means

    @property
    def grows(self) -> bool:
        """Whether the last hour is beyond MAX_GROWTH times the first."""
        hours = self.hourly(self.state_norm), self.hourly(self.mean_error)
        return any(values[-1] > MAX_GROWTH * values[0] for values in hours)


def float_twin(name: str, folder: Path) -> Backend:
    """The float32 model that the int8 one was made from, on the same runtime."""
    checkpoint = Path("distill/checkpoints") / f"{name.removesuffix('-int8')}.pt"
    config = BuildConfig(f"{name}-float", "float", ("litert",))
    return open_backend(build_bundle(checkpoint, config, folder, lambda _: None))


class Listener:
    """One model on the stream, a minute at a time."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.state: State = backend.initial_state()

    def hear(self, blocks: FloatArray) -> FloatArray:
        """blocks [n, 1, frames_per_step, n_mels] -> scores [n, n_labels]."""
        scores = []
        for block in blocks:
            row, self.state = self.backend.step(block, self.state)
            scores.append(row)
        return np.stack(scores)

    @property
    def state_norm(self) -> float:
        return float(np.sqrt(sum(float(np.square(tensor).sum()) for tensor in self.state)))

    def step_us(self, blocks: FloatArray) -> float:
        """Mean time of a step, the least of several rounds, from the state as it is, which is left
        alone."""
        rounds_s = []
        for _ in range(N_ROUNDS):
            state, start_s = self.state, time.perf_counter()
            for block in blocks:
                state = self.backend.step(block, state)[1]
            rounds_s.append(time.perf_counter() - start_s)
        return 1e6 * min(rounds_s) / len(blocks)


def minutes(spec: Any, hours: int) -> Any:
    """Blocks [750, 1, frames_per_step, n_mels], minute by minute."""
    frontend, rows = Frontend(spec.frontend), np.zeros((0, spec.frontend.n_mels), np.float32)
    n_rows = MINUTE_STEPS * spec.frames_per_step
    for samples in long_stream(hours):
        rows = np.concatenate([rows, frontend.push(samples)])
        while len(rows) >= n_rows:
            yield rows[:n_rows].reshape(MINUTE_STEPS, *spec.frames.shape)
            rows = rows[n_rows:]


def measure(name: str, hours: int, folder: Path) -> Drift:
    """The whole course of one model."""
    int8 = Listener(open_backend(load_bundle(name), "litert"))
    twin, spec = Listener(float_twin(name, folder)), int8.backend.spec
    result, first = Drift(name=name), None
    console = Console(stderr=True)
    for blocks in track(minutes(spec, hours), name, total=60 * hours, console=console):
        if first is None:
            first = blocks
            result.first_us = int8.step_us(blocks)
        error = np.abs(int8.hear(blocks) - twin.hear(blocks))
        result.mean_error.append(float(error.mean()))
        result.max_error.append(float(error.max()))
        result.state_norm.append(int8.state_norm)
    assert first is not None
    result.last_us = int8.step_us(first)
    samples = np.zeros(spec.frontend.overlap_samples + spec.step_samples, np.float32)
    silence = log_mel(spec.frontend, samples)[None]
    int8.hear(np.broadcast_to(silence, (SILENT_STEPS, *silence.shape)))
    result.silent_us = int8.step_us(np.broadcast_to(silence, (MINUTE_STEPS, *silence.shape)))
    return result


def table(drifts: list[Drift]) -> Table:
    """First and last hour side by side."""
    columns = ("state norm, hour 1", "last hour", "mean error, hour 1", "last hour", "largest")
    times = ("us per step, start", "end", "after an hour of silence")
    result = Table("", *columns, *times, box=None)
    for one in drifts:
        norm, error = one.hourly(one.state_norm), one.hourly(one.mean_error)
        result.add_row(
            *(one.name, f"{norm[0]:.1f}", f"{norm[-1]:.1f}", f"{error[0]:.1e}", f"{error[-1]:.1e}"),
            *(f"{max(one.max_error):.3f}", f"{one.first_us:.0f}", f"{one.last_us:.0f}"),
            f"{one.silent_us:.0f}",
        )
    return result


def plot(drifts: list[Drift], path: Path) -> None:
    """Score error and state norm over the hours, one line a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    for one in drifts:
        hours = np.arange(1, len(one.mean_error) + 1) / 60
        above.plot(hours, one.mean_error, label=one.name, linewidth=1)
        below.plot(hours, one.state_norm, linewidth=1)
    above.set(yscale="log", ylabel="mean score error")
    below.set(yscale="log", ylabel="norm of the state", xlabel="hours")
    above.set_title("int8 against float32, one stream, a point a minute", fontsize="medium")
    above.legend(fontsize="small", ncols=4)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--hours", type=click.IntRange(2), default=6, show_default=True)
@click.option("--plot", "plot_path", type=click.Path(path_type=Path))
def main(hours: int, plot_path: Path | None) -> None:
    """Prints one table; exits with 1 if something grows."""
    torch.set_num_threads(1)
    names = [n for n in shipped_bundles() if n.endswith("-int8")]
    with tempfile.TemporaryDirectory() as folder:
        drifts = [measure(name, hours, Path(folder)) for name in names]
    Console(width=150).print(table(drifts))
    if plot_path is not None:
        plot(drifts, plot_path)
    if growing := [one.name for one in drifts if one.grows]:
        raise SystemExit(f"grows: {', '.join(growing)}")


if __name__ == "__main__":
    main()
