"""What listening costs, beside YAMNet, on this machine in this run, one thread each.

    python benchmarks/cpu_cost.py [--model tiny-int8] [--yamnet ../shared/peers/yamnet.tflite]

Whole process: CPU seconds (user and system) of a process that hears a long recording minus those
of one that hears a short one, per second of audio between them, so that start-up does not count.
The minimum of --repeats rounds is printed, since other work on a machine only ever adds time.
YAMNet gets 15,600 samples every 7,800 (50 % overlap), read with the same audio library.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line sets it

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import numpy as np
import soundfile as sf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_audio.backends import backends_for, open_backend
from edge_audio.bundle import load_bundle
from edge_audio.demo import DemoScene
from edge_audio.events import EventDetector
from edge_audio.frontend import Frontend

SAMPLE_RATE_HZ = 16_000
SHORT_S, LONG_S = 60, 660
N_PART_STEPS = 1000

YAMNET_PROCESS = """
import sys
import numpy as np
import soundfile as sf
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
input_id = interpreter.get_input_details()[0]["index"]
output_id = interpreter.get_output_details()[0]["index"]
interpreter.resize_tensor_input(input_id, [15600])
interpreter.allocate_tensors()
blocks = sf.blocks(sys.argv[2], 15600, overlap=7800, dtype="float32")
for block in blocks:
    if len(block) == 15600:
        interpreter.set_tensor(input_id, block)
        interpreter.invoke()
        top = int(np.argmax(interpreter.get_tensor(output_id)[0]))
"""


@dataclass(frozen=True)
class ProcessCost:
    """CPU milliseconds per audio second, and peak resident memory in MB."""

    cpu_ms_per_s: float
    peak_rss_mb: float


def run_process(command: list[str]) -> tuple[float, float]:
    """Runs a command to its end -> (CPU seconds, peak RSS in MB)."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_rss_mb = 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak_rss_mb = max(peak_rss_mb, _high_water_mb(process.pid))
        time.sleep(0.02)
    if status:
        raise click.ClickException(f"{' '.join(command)} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, peak_rss_mb


def _high_water_mb(pid: int) -> float:
    """VmHWM so far (ru_maxrss would count this script's own memory, which a child starts with)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    values = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(values[0]) / 1000.0 if values else 0.0


def process_cost(command: Callable[[Path], list[str]], folder: Path) -> ProcessCost:
    """Cost of a command on the long recording beyond its cost on the short one."""
    short_cpu_s, _ = run_process(command(folder / "short.wav"))
    long_cpu_s, peak_rss_mb = run_process(command(folder / "long.wav"))
    return ProcessCost(1e3 * (long_cpu_s - short_cpu_s) / (LONG_S - SHORT_S), peak_rss_mb)


def write_recordings(folder: Path) -> None:
    """The synthesised demo scene as two WAV files."""
    blocks = DemoScene(SAMPLE_RATE_HZ).blocks()
    pieces, n_samples = [], 0
    while n_samples < LONG_S * SAMPLE_RATE_HZ:
        pieces.append(next(blocks).samples)
        n_samples += len(pieces[-1])
    samples = np.concatenate(pieces)
    sf.write(folder / "short.wav", samples[: SHORT_S * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    sf.write(folder / "long.wav", samples[: LONG_S * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)


def part_costs(model: str, backend_name: str) -> dict[str, float]:
    """CPU milliseconds per audio second of each part, fed 80 ms (one step) at a time."""
    bundle = load_bundle(model)
    manifest = bundle.manifest
    spec = manifest.model
    backend = open_backend(bundle, backend_name)
    blocks = DemoScene(SAMPLE_RATE_HZ, block_ms=1e3 * spec.step_s).blocks()
    audio = [next(blocks).samples for _ in range(N_PART_STEPS)]
    assert len(audio[0]) == spec.step_samples
    frontend = Frontend(spec.frontend, backend.log_mel)
    frontend.push(np.zeros(spec.frontend.overlap_samples, np.float32))
    frames: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    detector = EventDetector(manifest.labels, manifest.events, spec.step_s)

    def hear() -> None:
        frames.extend(frontend.push(samples)[None] for samples in audio)

    def run() -> None:
        state = backend.initial_state()
        for block in frames:
            step_scores, state = backend.step(block, state)
            scores.append(step_scores)

    def detect() -> None:
        for number, row in enumerate(scores):
            detector.push(row, number * spec.step_s)

    return {
        name: 1e3 * _cpu_s(work) / (N_PART_STEPS * spec.step_s)
        for name, work in (("front end", hear), ("model", run), ("events", detect))
    }


def _cpu_s(work: Callable[[], None]) -> float:
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def first_score_s(model: str, backend_name: str) -> float:
    """Wall seconds from starting the command to its first line of scores, on the demo scene as
    fast as possible (in real time the first step adds its 95 ms of audio)."""
    command = listen_command(model, backend_name, "demo")
    command += ["--top", "1", "--no-realtime", "--duration", "1"]
    start_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        elapsed_s = time.perf_counter() - start_s
        process.stdout.read()
    return elapsed_s


def listen_command(model: str, backend_name: str, source: Path | str) -> list[str]:
    """`edge-audio listen` on a source, events as JSON lines."""
    options = ["--model", model, "--backend", backend_name, "--format", "jsonl"]
    return [sys.executable, "-m", "edge_audio", "listen", "--source", str(source), *options]


def pipe_command(model: str, backend_name: str, wav: Path) -> list[str]:
    """The same from a pipe, which comes in blocks of 80 ms as from a microphone (the 44 bytes of
    the WAV header are skipped)."""
    command = shlex.join(listen_command(model, backend_name, "-"))
    return ["sh", "-c", f"tail -c +45 {shlex.quote(str(wav))} | {command}"]


@dataclass(frozen=True)
class Row:
    """All rounds of one subject. `starts_s` and `parts` are measured where `backend` is given;
    `knows_rss`: the command is one
    process, not a pipe."""

    name: str
    command: Callable[[Path], list[str]]
    backend: str | None
    knows_rss: bool = True
    costs: list[ProcessCost] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)

    @property
    def cpu_ms_per_s(self) -> float:
        return min(cost.cpu_ms_per_s for cost in self.costs)

    def measure(self, model: str, folder: Path) -> None:
        """One more round."""
        self.costs.append(process_cost(self.command, folder))
        if self.backend is not None:
            self.parts.append(part_costs(model, self.backend))
            self.starts_s.append(first_score_s(model, self.backend))

    def cells(self, reference_ms_per_s: float) -> list[str]:
        """The row of the printed table."""
        names = self.parts[0] if self.parts else ()
        parts = [f"{name} {min(part[name] for part in self.parts):.2f}" for name in names]
        return [
            self.name,
            f"{self.cpu_ms_per_s:.2f}",
            f"{self.cpu_ms_per_s / reference_ms_per_s:.2f}",
            ", ".join(parts),
            f"{min(cost.peak_rss_mb for cost in self.costs):.0f}" if self.knows_rss else "",
            f"{min(self.starts_s):.2f}" if self.starts_s else "",
        ]


def subjects(model: str, yamnet: Path) -> list[Row]:
    """Our model on every installed runtime, and YAMNet where its file is there."""
    rows = []
    for backend in backends_for(load_bundle(model)):
        open_backend(load_bundle(model), backend)  # which compiles what is compiled once
        file, pipe = partial(listen_command, model, backend), partial(pipe_command, model, backend)
        rows.append(Row(f"{model}, {backend}, a file", file, backend))
        rows.append(Row(f"{model}, {backend}, live: 80 ms at a time", pipe, None, knows_rss=False))
    if yamnet.exists():
        process = [sys.executable, "-c", YAMNET_PROCESS, str(yamnet)]
        rows.append(Row("YAMNet, LiteRT", lambda wav: [*process, str(wav)], None))
    return rows


@click.command()
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--yamnet", type=click.Path(path_type=Path), default="../shared/peers/yamnet.tflite")
@click.option("--repeats", "n_repeats", default=3, show_default=True)
def main(model: str, yamnet: Path, n_repeats: int) -> None:
    """Prints one table: CPU per audio second, memory and start-up, beside YAMNet."""
    rows = subjects(model, yamnet)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recordings(folder)
        for _ in track(range(n_repeats), description="measuring", transient=True):
            for row in rows:  # interleaved, so that a busy minute hits all alike
                row.measure(model, folder)
    columns = ("CPU ms per audio s", "of YAMNet", "parts", "peak RSS MB", "first score s")
    table = Table("", *columns)
    reference = rows[-1].cpu_ms_per_s if yamnet.exists() else float("nan")
    for row in rows:
        table.add_row(*row.cells(reference))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
