"""Where the CPU time of a listener in real time goes: each part woken every 80 ms, in turn.

    python benchmarks/waking_parts.py [--model tiny-int8] [--duration-s 10]

CPU ms per second of sound of the whole process, the demo scene, on the C engine; least of the
rounds. The first rows are floors: they do nothing that could be left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ctypes
import time
from collections.abc import Callable
from functools import partial

import click
import numpy as np
from in_turn import least_s
from rich.console import Console
from rich.table import Table

from edge_audio.backends.native import NativeBackend, NativeStream
from edge_audio.backends.registry import open_backend
from edge_audio.bundle.store import load_bundle
from edge_audio.sources.base import Block, paced
from edge_audio.sources.demo import DemoScene
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.tagger import Tagger

BLOCK_S, REST_S = 0.08, 0.32  # while something sounds, and while nothing does
WARM_S, N_ROUNDS = 2.0, 3

Push = Callable[[FloatArray], object]


def one_call(backend: NativeBackend, samples: FloatArray) -> Push:
    """The same block again and again, by a call whose arguments are made once."""
    stream, n_labels = NativeStream(backend), backend.spec.scores.shape[1]
    scores = np.empty((2, n_labels), np.float32)
    addresses = (array.ctypes.data for array in (stream.memory, samples, scores))
    memory, audio, found = map(ctypes.c_void_p, addresses)
    call = partial(backend.library.ea_block_push, memory, audio, len(samples), found, None, 2)

    def push(_: FloatArray, kept: object = (stream, samples, scores)) -> None:
        call(backend.scratch)

    return push


def cpu_s(push: Push, samples: FloatArray, rate_hz: int, block_s: float) -> float:
    """CPU seconds per second of sound, once WARM_S are over."""
    n_block = round(block_s * rate_hz)
    pieces = range(0, len(samples) - n_block + 1, n_block)
    blocks = (Block(samples[i : i + n_block], i / rate_hz) for i in pieces)
    start_s = begun_s = heard_s = 0.0
    for block in paced(blocks, rate_hz):
        if heard_s <= WARM_S:
            start_s, begun_s = time.process_time(), heard_s
        push(block.samples)
        heard_s = block.time_s + block_s
    return (time.process_time() - start_s) / (heard_s - begun_s)


@click.command()
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--duration-s", default=10.0, show_default=True, help="Of each part and round.")
def main(model: str, duration_s: float) -> None:
    """Prints one row per part."""
    bundle = load_bundle(model)
    backend = open_backend(bundle, "native")
    if not isinstance(backend, NativeBackend):
        raise SystemExit("the C engine is needed")
    rate_hz = bundle.manifest.model.frontend.sample_rate_hz
    scene = DemoScene(rate_hz).first(WARM_S + duration_s).astype(np.float32)
    tagger = Tagger(bundle, backend)
    parts: dict[str, tuple[Push, float]] = {
        "waking alone": (lambda _: None, BLOCK_S),
        "one call of the engine, its arguments made once": (
            one_call(backend, scene[: round(BLOCK_S * rate_hz)].copy()),
            BLOCK_S,
        ),
        "a stream: arrays in, scores out": (NativeStream(backend).push, BLOCK_S),
        "`Tagger.push`, events out": (tagger.push, BLOCK_S),
        "the same, every 320 ms": (tagger.another().push, REST_S),
    }
    ways = [partial(cpu_s, push, scene, rate_hz, block_s) for push, block_s in parts.values()]
    table = Table("woken every 80 ms", "CPU ms/s")
    for name, found_s in zip(parts, least_s(ways, N_ROUNDS), strict=True):
        table.add_row(name, f"{1e3 * found_s:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
