"""Streams in threads of their own share a model, on every runtime."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from edge_audio.backends import BACKEND_NAMES
from edge_audio.tagging.tagger import Tagger
from tests.support import toy
from tests.support.runtimes import require_runtimes

N_STREAMS = 3


def heard(tagger: Tagger, samples: np.ndarray) -> list[Any]:
    """Scores of every step, and the embedding where it is given."""
    found = []
    for start in range(0, len(samples), 3_000):
        for step in tagger.steps(samples[start : start + 3_000]):
            found.append((step.scores, tagger.embedding if tagger.has_embedding else None))
    return found


@pytest.mark.parametrize("name", [name for name in BACKEND_NAMES if name != "executorch"])
def test_each_stream_hears_what_it_would_alone(name: str) -> None:
    require_runtimes(name)
    first = Tagger.open("micro-int8", name, embedding=name == "native")
    taggers = [first, *(first.another() for _ in range(N_STREAMS - 1))]
    streams = [toy.noise(32_000, seed=i) for i in range(N_STREAMS)]
    alone = [heard(first.another(), samples) for samples in streams]
    together: dict[int, list[Any]] = {}

    def run(i: int) -> None:
        together[i] = heard(taggers[i], streams[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(N_STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(alone):
        assert len(expected) == 24
        for (scores, embedding), (other_scores, other_embedding) in zip(
            expected, together[i], strict=True
        ):
            np.testing.assert_array_equal(scores, other_scores)
            np.testing.assert_array_equal(embedding, other_embedding)
