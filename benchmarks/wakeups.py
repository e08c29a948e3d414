"""What waking costs a listener in real time, and what --latency saves while nothing sounds.

    python benchmarks/wakeups.py [--model tiny-int8] [--duration-s 30] [--noise-dbfs -60]

`edge-audio listen` hears steady noise by way of PortAudio and a virtual sound card (PulseAudio, as
in the tests; Linux alone), once for each latency. Wake-ups are the voluntary context switches of
all of its threads, those of PortAudio and PulseAudio's client among them, which no setting saves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from edge_audio.support.arrays import FloatArray
from tests.support.virtual_sound_card import VirtualSoundCard

RATE_HZ = 16_000
WARM_UP_S = 6.0  # loading the model, and what is usual in the room
LATENCIES_S = (0.0, 0.16, 0.32, 0.64)


class Spent(NamedTuple):
    """By a process, since its start."""

    n_wakeups: int
    cpu_s: float


class Cost(NamedTuple):
    """For a second of sound."""

    n_wakeups: float
    cpu_ms: float


def spent(pid: int) -> Spent:
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = [line.split() for status in statuses for line in status.splitlines()]
    n_wakeups = sum(int(line[1]) for line in lines if line[0] == "voluntary_ctxt_switches:")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime, stime
    return Spent(n_wakeups, ticks / os.sysconf("SC_CLK_TCK"))


def cost(card: VirtualSoundCard, model: str, latency_s: float, duration_s: float) -> Cost:
    options = ["--model", model, "--source", "mic", "--format", "none"]
    command = [sys.executable, "-m", "edge_audio", "listen", *options, "--latency", str(latency_s)]
    with subprocess.Popen(command, env=card.environment, stderr=subprocess.PIPE) as process:
        time.sleep(WARM_UP_S)
        before = spent(process.pid)
        time.sleep(duration_s)
        after = spent(process.pid)
        if process.poll() is not None:
            raise SystemExit(process.stderr.read().decode() if process.stderr else "it ended")
        process.terminate()
    n_wakeups = (after.n_wakeups - before.n_wakeups) / duration_s
    return Cost(n_wakeups, 1000.0 * (after.cpu_s - before.cpu_s) / duration_s)


def play(card: VirtualSoundCard, samples: FloatArray) -> None:
    with suppress(BrokenPipeError):  # the card closes before the noise ends
        card.play(samples, RATE_HZ)


@click.command()
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--duration-s", default=30.0, show_default=True, help="Of each run.")
@click.option("--noise-dbfs", default=-60.0, show_default=True, help="RMS level of the noise.")
def main(model: str, duration_s: float, noise_dbfs: float) -> None:
    """Prints one row per latency."""
    n_samples = round(len(LATENCIES_S) * (duration_s + WARM_UP_S + 5.0) * RATE_HZ)
    random = np.random.default_rng(0)
    gain = 10.0 ** (noise_dbfs / 20.0)
    noise = (gain * random.standard_normal(n_samples)).astype(np.float32)
    table = Table("latency s", "wake-ups/s", "CPU ms/s")
    with tempfile.TemporaryDirectory() as folder:
        card = VirtualSoundCard(Path(folder) / "card")
        try:
            threading.Thread(target=play, args=(card, noise), daemon=True).start()
            for latency_s in LATENCIES_S:
                one = cost(card, model, latency_s, duration_s)
                table.add_row(f"{latency_s:g}", f"{one.n_wakeups:.1f}", f"{one.cpu_ms:.2f}")
        finally:
            card.close()
    Console().print(table)


if __name__ == "__main__":
    main()
