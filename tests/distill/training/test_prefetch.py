"""Batches that are made ahead come in order, fail in their turn, and leave no thread behind."""

from __future__ import annotations

import threading
import time

import pytest

from distill.training.prefetch import prefetched


def test_results_come_in_order_from_one_thread_that_is_ahead() -> None:
    done: list[int] = []
    threads = set()

    def work(job: int) -> int:
        threads.add(threading.get_ident())
        done.append(job)
        return job * job

    results = prefetched(work, range(10), n_ahead=3)
    assert next(results) == 0
    deadline_s = time.monotonic() + 10
    while len(done) < 4 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert done == [0, 1, 2, 3], "not further than it may"
    assert list(results) == [job * job for job in range(1, 10)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_comes_in_its_turn() -> None:
    def work(job: int) -> int:
        if job == 2:
            raise OSError("no batch")
        return job

    results = prefetched(work, range(5), n_ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no batch"):
        next(results)


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    results = prefetched(lambda job: job, range(1000), n_ahead=2)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
