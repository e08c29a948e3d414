"""What fuzz tests of audio share: how files are damaged, and what must hold of what is heard."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager

import numpy as np
import pytest

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Source
from tests.support.limits import peak_below

FUZZ_S = float(os.environ.get("EDGE_AUDIO_FUZZ_S", "10"))
"""How long a test that goes by time tries inputs."""

MAX_BYTES = 64e6  # of Python and numpy at once, for recordings of a few kilobytes


def little_memory() -> AbstractContextManager[None]:
    return peak_below(MAX_BYTES)


def hear(source: Source, max_s: float = 3600.0) -> list[Block]:
    """All blocks, which must be sound; refused audio is fine, in one line. Nothing else may be
    raised, and a few kilobytes hold no hour of audio."""
    blocks: list[Block] = []
    refusal = ""
    try:
        with source:
            for block in source.blocks():
                blocks.append(block)
                assert block.time_s < max_s
    except (SourceError, UsageError) as error:
        refusal = str(error)
    assert "\n" not in refusal
    end_s = 0.0
    for block in blocks:
        assert block.samples.dtype == np.float32
        assert block.samples.ndim == 1
        assert len(block.samples) > 0
        assert block.time_s == pytest.approx(end_s)
        end_s = block.time_s + len(block.samples) / source.sample_rate_hz
    return blocks


def damaged(intact: bytes, rng: random.Random) -> bytes:
    """Flipped bits, bytes set to extremes, cuts and repetitions, mostly in the header."""
    data = bytearray(intact)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        at = rng.randrange(min(len(data), rng.choice([64, 256, len(data)])) or 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 4] = rng.choice([bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f"])
            case 2:
                data[at : at + 2] = rng.choice([bytes(2), b"\xff\xff", b"\x00\x80"])
            case 3:
                del data[at + rng.randrange(1, 2_000) :]
            case 4:
                data[at:at] = data[at : at + rng.randrange(1, 500)]
            case 5:
                del data[at : at + rng.randrange(1, 500)]
    return bytes(data)
