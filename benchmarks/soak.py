"""Whether listening stays as it began: memory, lost audio and open files over a long time.

    python benchmarks/soak.py --hours 24                 # accelerated: audio through a pipe
    python benchmarks/soak.py --microphone --minutes 30  # wall clock: a virtual sound card

Runs `edge-audio listen` with a log, clips and metrics as a process of its own and looks at it from
outside. Accelerated audio comes from `long_stream`; the microphone hears the same audio, played by
a real sound server. Exits with 1 if audio was lost, or if the last quarter of the run took more
memory than the second by over 5 %.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import click
import numpy as np
import psutil
from long_stream import SAMPLE_RATE_HZ, long_stream
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.virtual_sound_card import VirtualSoundCard

MAX_GROWTH = 1.05
_LOOK_EVERY_S = 1.0


@click.command(help=__doc__)
@click.option("--hours", default=24.0, help="Of audio through the pipe.")
@click.option("--microphone", "is_live", is_flag=True, help="The virtual sound card instead.")
@click.option("--minutes", default=30.0, help="Of wall clock, with --microphone.")
@click.option("--clips/--no-clips", "has_clips", default=True, help="Record clips as well.")
@click.option("--model", default="tiny-int8")
def main(hours: float, is_live: bool, minutes: float, has_clips: bool, model: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, clips = folder / "log.jsonl", folder / "clips"
        places = ["--json", str(log), *(["--clips", str(clips)] if has_clips else [])]
        command = [sys.executable, "-m", "edge_audio", "listen", "--model", model, *places]
        command += ["--format", "none"]
        if is_live:
            looks, summary = hear_microphone(command, folder, 60.0 * minutes)
        else:
            looks, summary = hear_pipe(command, hours)
        n_records = sum(len(path.read_bytes().splitlines()) for path in folder.glob("log.jsonl*"))
        n_clips = len(list(clips.rglob("*.flac")))
    is_flat = report(looks)
    click.echo(f"{summary}\n{n_records} records in the log, {n_clips} clips")
    if not is_flat or " nothing lost" not in summary:
        sys.exit("not as it began")


Look = tuple[float, int, int, int]  # seconds, bytes of RSS, open files, threads


def hear_pipe(command: list[str], hours: float) -> tuple[list[Look], str]:
    """As fast as it goes."""
    process = subprocess.Popen(
        [*command, "--source", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    feeder = threading.Thread(target=feed, args=(process.stdin, hours), daemon=True)
    feeder.start()
    looks = list(watch(process))
    feeder.join()
    return looks, last_line(process)


def feed(pipe: IO[bytes], hours: float) -> None:
    for block in long_stream(hours):
        pipe.write(np.round(block * 32767.0).astype("<i2").tobytes())
    pipe.close()


def hear_microphone(command: list[str], folder: Path, duration_s: float) -> tuple[list[Look], str]:
    """At the speed of sound, for duration_s."""
    with sound_card(folder / "sound") as card:
        arguments = ["--source", "mic", "--reconnect", "--duration", str(duration_s)]
        process = subprocess.Popen(
            [*command, *arguments], env=card.environment, stderr=subprocess.PIPE
        )
        threading.Thread(target=play, args=(card, duration_s), daemon=True).start()
        looks = list(watch(process))
        return looks, last_line(process)


@contextmanager
def sound_card(folder: Path) -> Iterator[VirtualSoundCard]:
    card = VirtualSoundCard(folder)
    try:
        yield card
    finally:
        card.close()


def play(card: VirtualSoundCard, duration_s: float) -> None:
    with suppress(BrokenPipeError):  # the sound card is gone: the run has ended
        for block in long_stream(2.0 * duration_s / 3600.0):
            card.play(block, SAMPLE_RATE_HZ).wait()


def watch(process: subprocess.Popen[bytes]) -> Iterator[Look]:
    """A look at the process once a second until it ends."""
    start_s, seen = time.monotonic(), psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory = seen.memory_info().rss
            yield time.monotonic() - start_s, memory, seen.num_fds(), seen.num_threads()
        except psutil.NoSuchProcess:
            return
        time.sleep(_LOOK_EVERY_S)


def last_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    lines = process.stderr.read().decode().splitlines()
    if process.wait() != 0 or not lines:
        sys.exit("\n".join([*lines, f"ended with {process.returncode}"]))
    return lines[-1]


def report(looks: list[Look]) -> bool:
    """Prints a row for each quarter of the run; whether memory stayed where it was."""
    table = Table("quarter", "until, s", "RSS, MB, median", "highest", "open files", "threads")
    medians = []
    for number, part in enumerate(np.array_split(np.array(looks), 4), 1):
        rss_mb = part[:, 1] / 1e6
        medians.append(float(np.median(rss_mb)))
        counts = [f"{part[:, column].max():.0f}" for column in (2, 3)]
        figures = (f"{part[-1, 0]:.0f}", f"{medians[-1]:.1f}", f"{rss_mb.max():.1f}", *counts)
        table.add_row(str(number), *figures)
    Console().print(table)
    return medians[-1] <= MAX_GROWTH * medians[1]


if __name__ == "__main__":
    main()
