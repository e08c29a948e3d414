"""Tagging on a Dask cluster of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from edge_audio.archive.cluster import tag_on_cluster
from edge_audio.archive.job import make_job
from edge_audio.archive.pool import tag_in_processes
from edge_audio.bundle.store import load_bundle
from tests.support import toy
from tests.support.command_line import error_line, records, run

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster() -> Iterator[object]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_lost_worker_costs_no_file_and_doubles_none(cluster: object, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.wav") for i in range(30)]
    for i, path in enumerate(paths):
        soundfile.write(path, toy.noise(16_000 * 10, seed=i), 16_000)
    bundle = load_bundle("tiny-int8")
    manifest = bundle.manifest
    job = make_job(bundle, "auto", manifest.events, 3, manifest.labels)
    pids = [worker.process.pid for worker in cluster.workers.values()]  # type: ignore[attr-defined]
    results = tag_on_cluster(job, paths, cluster.scheduler_address)  # type: ignore[attr-defined]
    found = [next(results)]
    os.kill(pids[0], signal.SIGKILL)
    found += results
    assert sorted(path for path, _ in found) == sorted(paths)
    assert dict(found) == dict(tag_in_processes(job, paths, n_jobs=1))


def test_the_command_writes_the_same_table(cluster: object, tmp_path: Path) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", toy.noise(32_000, seed=i), 16_000)
    out = tmp_path / "out.jsonl"
    address = cluster.scheduler_address  # type: ignore[attr-defined]
    run("tag", tmp_path, "--out", out, "--cluster", address)
    assert records(out.read_text()) == records(run("tag", tmp_path, "--format", "jsonl").stdout)


def test_nobody_at_the_address_is_one_line(bursts_wav: Path) -> None:
    done = run("tag", bursts_wav, "--cluster", "tcp://127.0.0.1:9", ok=False)
    assert "no Dask scheduler" in error_line(done, 2)


def test_tagging_on_this_machine_does_not_load_dask() -> None:
    code = "import sys, edge_audio.cli.tag; print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
