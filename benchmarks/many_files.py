"""Whether recordings are tagged sooner as streams of one BatchTagger than one after the other.

    python benchmarks/many_files.py FILES... [--model tiny-int8] [--backend native]

Prints the speed of both, the least time of rounds in turn, and their ratio. Both are told the same
samples from memory in the same blocks, by one thread, and must find the same events: reading files
takes the same either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
from in_turn import least_s

from edge_audio import BatchTagger, Event, Tagger
from edge_audio.sources.audio_file import LONG_BLOCK_MS, AudioFile
from edge_audio.support.arrays import FloatArray

N_ROUNDS = 7
Found = list[list[Event]]  # of each recording


def samples_of(path: Path, rate_hz: int) -> FloatArray:
    with AudioFile(str(path), rate_hz, LONG_BLOCK_MS) as source:
        return np.concatenate([block.samples for block in source.blocks()])


def one_by_one(tagger: Tagger, recordings: list[FloatArray], n_block: int) -> Found:
    found = []
    for samples in recordings:
        events = []
        for start in range(0, len(samples), n_block):
            events += tagger.push(samples[start : start + n_block])
        found.append(events + tagger.flush())
    return found


def together(tagger: BatchTagger, recordings: list[FloatArray], n_block: int) -> Found:
    """A stream that has ended goes on with the next recording."""
    found: Found = [[] for _ in recordings]
    waiting = iter(enumerate(recordings))
    heard = dict(zip(range(tagger.n_streams), waiting, strict=False))  # stream -> number, the rest
    while heard:
        whole = [stream for stream, (_, rest) in heard.items() if len(rest) >= n_block]
        if whole:
            blocks = np.stack([heard[stream][1][:n_block] for stream in whole])
            for stream, event in tagger.push(blocks, whole):
                found[heard[stream][0]].append(event)
        for stream, (number, rest) in list(heard.items()):
            if len(rest) >= n_block:
                heard[stream] = number, rest[n_block:]
                continue
            found[number] += [event for _, event in tagger.push(rest[np.newaxis], [stream])]
            found[number] += tagger.flush(stream)
            del heard[stream]
            heard.update(zip([stream], waiting, strict=False))
    return found


def timed_s(way: Callable[[], Found]) -> float:
    start_s = time.process_time()
    way()
    return time.process_time() - start_s


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", default="tiny-int8", show_default=True)
@click.option("--backend", default="native", show_default=True)
@click.option("--streams", "n_streams", default=32, show_default=True)
def main(files: tuple[Path, ...], model: str, backend: str, n_streams: int) -> None:
    """Tags the files in both ways."""
    tagger = Tagger.open(model, backend)
    batch = BatchTagger.open(model, n_streams, backend)
    recordings = [samples_of(path, tagger.sample_rate_hz) for path in files]
    n_block = round(LONG_BLOCK_MS * tagger.sample_rate_hz / 1000)
    ways = (
        partial(one_by_one, tagger, recordings, n_block),
        partial(together, batch, recordings, n_block),
    )
    if ways[0]() != ways[1]():
        raise click.ClickException("the events are not the same")
    times_s = least_s([partial(timed_s, way) for way in ways], N_ROUNDS)
    audio_s = sum(map(len, recordings)) / tagger.sample_rate_hz
    names = "one by one", f"{n_streams} streams"
    for name, seconds in zip(names, times_s, strict=True):
        print(f"{name:12} {audio_s / seconds:8.0f} times real time")
    print(
        f"{model} on {tagger.backend.name}, {len(files)} files, {audio_s:.0f} s of audio: "
        f"together {times_s[0] / times_s[1]:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
