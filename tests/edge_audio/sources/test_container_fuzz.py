"""Files that were damaged, cut and joined at random, of every kind that is heard at all.

EDGE_AUDIO_FUZZ_S=600 make test ARGS='-k container_fuzz'    # as long as wished
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_audio.errors import SourceError
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.base import Block
from edge_audio.sources.pcm import StdinPcm
from tests.support.fuzzing import FUZZ_S, damaged, hear, little_memory
from tests.support.inputs import HEARD, INPUTS, LIBSNDFILE

pytestmark = [
    pytest.mark.filterwarnings("error::RuntimeWarning"),
    pytest.mark.timeout(60 + 4 * FUZZ_S),
]
EDGES_S = 0.06  # of each MP3, for what its encoder adds

JOINABLE = {
    "wav": [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "ULAW")],
    "aiff": [("AIFF", "PCM_16"), ("AIFF", "PCM_24")],
    "flac": [("FLAC", "PCM_16"), ("FLAC", "PCM_24")],
    "ogg": [("OGG", "VORBIS"), ("OGG", "OPUS")],
    "mp3": [("MP3", "MPEG_LAYER_III")],
}


def a_while(seed: str) -> Iterator[random.Random]:
    """Random numbers for one input after the other, until the time is over."""
    rng, end_s = random.Random(seed), time.monotonic() + FUZZ_S
    while time.monotonic() < end_s:
        yield rng


def recording(rng: random.Random, kind: str, subtype: str) -> tuple[bytes, float]:
    """A tone of a random rate, number of channels and length, and this length in seconds."""
    rate_hz = rng.choice([16_000, 24_000, 48_000])
    n_frames = rng.randrange(rate_hz // 4, rate_hz)
    tone = 0.3 * np.sin(np.arange(n_frames) / 9)
    frames = np.repeat(tone[:, None], rng.choice([1, 2]), axis=1)
    file = io.BytesIO()
    soundfile.write(file, frames, rate_hz, format=kind, subtype=subtype)
    return file.getvalue(), n_frames / rate_hz


@pytest.mark.parametrize("suffix", JOINABLE)
def test_joined_files_are_heard_one_after_the_other(suffix: str, tmp_path: Path) -> None:
    rng, path = random.Random(suffix), tmp_path / f"joined.{suffix}"
    for _ in range(10):
        parts = [recording(rng, *rng.choice(JOINABLE[suffix])) for _ in range(rng.randint(2, 4))]
        path.write_bytes(b"".join(data for data, _ in parts))
        with AudioFile(path) as source:
            heard_s = sum(len(block.samples) for block in source.blocks()) / 16_000
        slack_s = EDGES_S * len(parts) if suffix == "mp3" else 1e-3 * len(parts)
        assert heard_s == pytest.approx(sum(s for _, s in parts), abs=slack_s)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64", "rf64"])
def test_samples_are_heard_to_where_they_were_cut(suffix: str, tmp_path: Path) -> None:
    rng, path = random.Random(suffix), tmp_path / f"cut.{suffix}"
    for _ in range(20):
        data, _ = recording(rng, suffix.upper(), "PCM_16")
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate_hz, n_frame_bytes = file.samplerate, 2 * file.channels
            n_header_bytes = len(data) - file.frames * n_frame_bytes
        n_bytes = rng.randrange(len(data) // 2, len(data) - 100)
        path.write_bytes(data[:n_bytes])
        blocks: list[Block] = []
        with pytest.raises(SourceError, match="truncated"), AudioFile(path) as source:
            blocks.extend(source.blocks())  # keeps what came before the error
        heard_s = sum(len(block.samples) for block in blocks) / 16_000
        expected_s = (n_bytes - n_header_bytes) / n_frame_bytes / rate_hz
        assert heard_s == pytest.approx(expected_s, abs=2e-3)


@pytest.mark.parametrize("by", [LIBSNDFILE, "media"])
def test_damaged_cut_and_joined_files_are_heard_or_refused(
    by: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av", reason="makes the inputs")
    chosen = [
        x for x in INPUTS if x.outcome == HEARD and (x.by == LIBSNDFILE) == (by == LIBSNDFILE)
    ]
    intact = {one.name: bytes(one.make()) for one in chosen}
    for rng in a_while(by):
        name = rng.choice(list(intact))
        data = intact[name]
        if rng.random() < 0.3:
            data += intact[rng.choice(list(intact))]
        if rng.random() < 0.3:
            data = data[rng.randrange(len(data)) :]
        path = tmp_path / name
        path.write_bytes(damaged(data, rng))
        with little_memory():
            hear(AudioFile(path))
            hear(StdinPcm(io.BytesIO(path.read_bytes())))
        assert "Traceback" not in capfd.readouterr().err
