"""Recordings tagged by worker processes, which may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from edge_audio.archive.job import Job, Tagged, failed, tag_file

ResultT = TypeVar("ResultT")


def n_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def finished(
    submit: Callable[[str], Future[ResultT]],
    paths: Iterator[str],
    n_in_flight: int,
    pending: dict[Future[ResultT], str],
) -> Iterator[tuple[str, Future[ResultT]]]:
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


@dataclass(frozen=True)
class Work(Generic[ResultT]):
    """What is done with each file: do(job, path). It and the job are pickled for every worker.
    fail(path, problem): the result for a file that killed its worker twice."""

    do: Callable[[Any, str], ResultT]
    job: object
    fail: Callable[[str, str], ResultT]


def tag_in_processes(job: Job, paths: Iterable[str], n_jobs: int) -> Iterator[Tagged]:
    """Tags files in n_jobs processes, in the order in which they are done."""
    return in_processes(Work(tag_file, msgspec.msgpack.encode(job), failed), paths, n_jobs)


def in_processes(
    work: Work[ResultT], paths: Iterable[str], n_jobs: int
) -> Iterator[tuple[str, ResultT]]:
    """The results of files from n_jobs processes, in the order in which they are done.

    When a worker dies, whatever was in flight is done once more, each file alone, so that the
    one which kills its worker is found and becomes a result with an error.
    """
    remaining = iter(paths)
    while suspects := (yield from _until_crash(work, remaining, n_jobs)):
        for path in suspects:
            if (yield from _until_crash(work, iter([path]), n_jobs=1)):
                problem = "its worker died twice: out of memory, or a decoder that crashes on it"
                yield path, work.fail(path, f"{path}: {problem}")


def _until_crash(
    work: Work[ResultT], paths: Iterator[str], n_jobs: int
) -> Generator[tuple[str, ResultT], None, list[str]]:
    """Returns the files that were in flight when a worker died, in the order in which they were
    handed out; none if all are done."""
    pending: dict[Future[ResultT], str] = {}
    with _pool(n_jobs) as pool:
        for path, future in finished(partial(_submit, pool, work), paths, 2 * n_jobs, pending):
            try:
                result = future.result()
            except BrokenProcessPool:
                return list(pending.values())
            yield path, result
    return []


def _submit(pool: ProcessPoolExecutor, work: Work[ResultT], path: str) -> Future[ResultT]:
    try:
        return pool.submit(work.do, work.job, path)
    except BrokenProcessPool as error:
        future: Future[ResultT] = Future()
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


def in_order(paths: Iterable[str], results: Iterable[tuple[str, ResultT]]) -> Iterator[ResultT]:
    """Results in the order of the paths, each as soon as those before it are there, and none kept
    for longer than that: they may be large. A path that comes twice has one result."""
    paths, results, found = list(paths), iter(results), dict[str, ResultT]()
    n_wanted = Counter(paths)
    for path in paths:
        while path not in found:
            done, result = next(results)
            found[done] = result
            del result
        n_wanted[path] -= 1
        yield found[path] if n_wanted[path] else found.pop(path)
