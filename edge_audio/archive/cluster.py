"""Tagging on other machines by way of Dask, whose scheduler gives the files of a lost worker to
another. All machines see the recordings under the same paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import msgspec

from edge_audio.archive.job import MAX_REASON_CHARS, FileTags, Job, Tagged, failed, tag_file
from edge_audio.archive.pool import finished
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.text import encodable, one_line

N_IN_FLIGHT = 1000  # enough for hundreds of workers; workers may come while a run goes on
CONNECT_S = 10


def tag_on_cluster(job: Job, paths: Iterable[str], address: str) -> Iterator[Tagged]:
    """Tags files on the workers of the scheduler at `address`, in the order in which they are
    done. A file that has lost several workers becomes a result with an error.

    Raises UsageError if no scheduler or worker answers, EdgeAudioError if the cluster goes away or
    cannot run the job.
    """
    encoded = msgspec.msgpack.encode(job)
    with _connected(address) as client:
        from distributed import KilledWorker

        executor = client.get_executor(pure=False)

        def submit(path: str) -> Future[FileTags]:
            future: Future[FileTags] = executor.submit(tag_file, encoded, os.path.abspath(path))
            return future

        for path, future in finished(submit, iter(paths), N_IN_FLIGHT, {}):
            try:
                tags = msgspec.structs.replace(future.result(), path=encodable(path))
            except KilledWorker as error:
                reason = one_line(str(error), MAX_REASON_CHARS)
                tags = failed(path, f"{path}: all workers that tagged it died ({reason})")
            except CancelledError as error:
                raise EdgeAudioError(
                    f"the cluster at {address} went away: give the same command again once it is "
                    "back"
                ) from error
            except ModuleNotFoundError as error:
                raise EdgeAudioError(
                    f"a worker of {address} lacks {error.name!r}: install the same edge-audio on "
                    "all machines"
                ) from error
            yield path, tags


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--cluster needs the distributed package: pip install 'edge-audio[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address!r}: start one with `dask scheduler`, and give "
            "the address that it prints"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError as error:
            raise UsageError(
                f"the scheduler at {address} has no workers: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from error
        yield client
