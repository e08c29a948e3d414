"""Recordings tagged by worker processes, which may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice

import msgspec

from edge_audio.archive.job import FileTags, Job, failed, tag_file

Tagged = tuple[str, FileTags]  # with the path as it was handed in


def finished(
    submit: Callable[[str], Future[FileTags]],
    paths: Iterator[str],
    n_in_flight: int,
    pending: dict[Future[FileTags], str],
) -> Iterator[tuple[str, Future[FileTags]]]:
    """Keeps n_in_flight files submitted, and yields each as soon as it is done.

    pending: what has been submitted and not dealt with yet, in that order, for the caller to see.
    """
    while True:
        for path in islice(paths, n_in_flight - len(pending)):
            pending[submit(path)] = path
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            yield pending[future], future
            del pending[future]


def tag_in_processes(job: Job, paths: Iterable[str], n_jobs: int) -> Iterator[Tagged]:
    """Tags files in n_jobs processes, in the order in which they are done.

    When a worker dies, whatever was in flight is tagged once more, each file alone, so that the
    one which kills its worker is found and becomes a result with an error.
    """
    encoded, remaining = msgspec.msgpack.encode(job), iter(paths)
    while suspects := (yield from _until_crash(encoded, remaining, n_jobs)):
        for path in suspects:
            if (yield from _until_crash(encoded, iter([path]), n_jobs=1)):
                problem = "its worker died twice: out of memory, or a decoder that crashes on it"
                yield path, failed(path, f"{path}: {problem}")


def _until_crash(
    job: bytes, paths: Iterator[str], n_jobs: int
) -> Generator[Tagged, None, list[str]]:
    """Returns the files that were in flight when a worker died, in the order in which they were
    handed out; none if all are done."""
    pending: dict[Future[FileTags], str] = {}
    with _pool(n_jobs) as pool:
        for path, future in finished(partial(_submit, pool, job), paths, 2 * n_jobs, pending):
            try:
                tags = future.result()
            except BrokenProcessPool:
                return list(pending.values())
            yield path, tags
    return []


def _submit(pool: ProcessPoolExecutor, job: bytes, path: str) -> Future[FileTags]:
    try:
        return pool.submit(tag_file, job, path)
    except BrokenProcessPool as error:
        future: Future[FileTags] = Future()
        future.set_exception(error)
        return future


@contextmanager
def _pool(n_jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which are killed if the block is left early."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_jobs, context, _start_worker)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def in_order(paths: Iterable[str], results: Iterable[Tagged]) -> Iterator[FileTags]:
    """Results in the order of the paths, each as soon as those before it are there."""
    results, found = iter(results), {}
    for path in paths:
        while path not in found:
            done, tags = next(results)
            found[done] = tags
        yield found[path]
