"""Work that is done ahead of time, so that a training step never waits for its batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def prefetched(
    work: Callable[[_Job], _Result], jobs: Iterable[_Job], n_ahead: int
) -> Generator[_Result, None, None]:
    """work(job) of each job, in order, from a thread that is up to `n_ahead` results ahead. An
    exception is raised in its turn; closing the generator ends the thread."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    waiting: deque[Future[_Result]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
