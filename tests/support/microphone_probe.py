"""Records from a microphone in a process of its own; see test_microphone.py.

Prints "started" after the first block, then one line of JSON: what happened. The samples go to
the .npy file named by the first argument, with lost ones as zeros.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from edge_audio.errors import SourceError
from edge_audio.sources.base import Block
from edge_audio.sources.microphone import Microphone
from edge_audio.sources.rest import Rest


def record(options: argparse.Namespace, blocks: list[Block]) -> dict[str, Any]:
    """Fills `blocks` until `options.seconds` of audio have passed or the microphone is gone."""
    rest = None if options.latency_s is None else Rest(options.latency_s)
    if rest is not None:
        rest.is_allowed = True
    microphone = Microphone(
        options.device,
        options.rate_hz,
        queue_s=options.queue_s,
        channel=options.channel,
        rest=rest,
    )
    error = None
    try:
        with microphone:
            for block in microphone.blocks():
                blocks.append(block)
                if len(blocks) == 1:
                    print("started", flush=True)
                    time.sleep(options.stall_s)
                if block.time_s >= options.seconds:
                    break
    except SourceError as failure:
        error = str(failure)
    return {
        "error": error,
        "name": microphone.name,
        "times_s": [block.time_s for block in blocks],
        "lengths": [len(block.samples) for block in blocks],
        "n_lost_samples": [block.n_lost_samples for block in blocks],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recording")
    parser.add_argument("--device")
    parser.add_argument("--channel", default="mix")
    parser.add_argument("--rate-hz", type=int, default=16_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--stall-s", type=float, default=0.0)
    parser.add_argument("--latency-s", type=float)
    parser.add_argument("--queue-s", type=float, default=4.0)
    options = parser.parse_args()
    blocks: list[Block] = []
    report = record(options, blocks)
    pieces = [np.pad(block.samples, (block.n_lost_samples, 0)) for block in blocks]
    np.save(options.recording, np.concatenate([np.zeros(0, np.float32), *pieces]))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
