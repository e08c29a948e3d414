"""How fast an archive is tagged: one process, two, and a cluster of two on this machine.

    python benchmarks/archive.py FOLDER [--model tiny-int8] [--backend native] [--files 400]

Prints files per second, hours of audio per hour, and the largest resident memory of the command
and of a worker. The whole command is timed, start-up included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
import pyarrow.compute
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from edge_audio.archive.search import expand

MIB = 1 << 20


def measure(files: list[Path], *options: str) -> tuple[float, float, float, float]:
    """Seconds of wall time, hours of audio, MiB of the command and of its largest worker."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        command = [sys.executable, "-m", "edge_audio", "tag", "--out", str(out), *options]
        start_s, peaks = time.monotonic(), [0.0, 0.0]
        process = subprocess.Popen([*command, *map(str, files)], stderr=subprocess.DEVNULL)
        while process.poll() is None:
            peaks = [max(pair) for pair in zip(peaks, resident_mib(process.pid), strict=True)]
            time.sleep(0.1)
        seconds = time.monotonic() - start_s
        durations = parquet.read_table(out.with_name("out-files.parquet"))["duration_s"]
    return seconds, pyarrow.compute.sum(durations).as_py() / 3600, peaks[0], peaks[1]


def resident_mib(pid: int) -> tuple[float, float]:
    try:
        process = psutil.Process(pid)
        children = [child.memory_info().rss / MIB for child in process.children()]
        return process.memory_info().rss / MIB, max(children, default=0.0)
    except psutil.NoSuchProcess:
        return 0.0, 0.0


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--backend", default="native", show_default=True, help="As of edge-audio tag.")
@click.option("--files", "n_files", default=400, show_default=True)
def main(folder: Path, model: str, backend: str, n_files: int) -> None:
    """Tags up to n_files of a folder in three ways."""
    from distributed import LocalCluster

    files = list(expand([folder], print))[:n_files]
    table = Table("", "files/s", "hours per hour", "command MiB", "worker MiB")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        ways = {
            "--jobs 1": ("--jobs", "1"),
            "--jobs 2": ("--jobs", "2"),
            "--cluster, 2 workers": ("--cluster", cluster.scheduler_address),
        }
        for name, options in ways.items():
            chosen = ("--model", model, "--backend", backend, *options)
            seconds, hours, own_mib, worker_mib = measure(files, *chosen)
            speed = hours * 3600 / seconds
            worker = f"{worker_mib:.0f}" if "jobs" in name else "-"
            row = (f"{len(files) / seconds:.1f}", f"{speed:.0f}", f"{own_mib:.0f}", worker)
            table.add_row(name, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
