"""Audio from strangers: any bytes in a pipe or file, any numbers in an array."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_audio.bundle.store import Bundle
from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.pcm import StdinPcm
from edge_audio.sources.samples import SAMPLE_FORMATS
from edge_audio.tagging.tagger import Tagger
from tests.support import toy
from tests.support.fuzzing import damaged, hear, little_memory

pytestmark = pytest.mark.filterwarnings("error")
TONE = (0.3 * np.sin(np.arange(12_000) / 9)).astype(np.float32)


def fuzz(max_examples: int) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=max_examples, deadline=None, suppress_health_check=checks, database=None
    )


# Pipes


SIGNALLING_NAN = b"\x00\x00\x81\x7f"
INFINITIES = np.array([np.inf, -np.inf] * 50, "<f4").tobytes()  # whose mean is none
HUGE = np.full(100, np.finfo(np.float32).max, "<f4").tobytes()  # whose sum is infinite


class Pipe(io.RawIOBase):
    """Delivers bytes in pieces of the given sizes, as a pipe does."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._stream, self._sizes, self._i = io.BytesIO(data), sizes, 0

    def read(self, n: int = -1) -> bytes:
        self._i += 1
        return self._stream.read(min(n, self._sizes[self._i % len(self._sizes)]))


@fuzz(150)
@given(
    data=st.binary(max_size=3_000),
    sample_format=st.sampled_from(SAMPLE_FORMATS),
    rate_hz=st.sampled_from([1, 7, 8_000, 16_000, 44_100, 384_000]),
    n_channels=st.integers(1, 9),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=4),
)
@example(data=b"RIFFxxxx", sample_format="u8", rate_hz=8_000, n_channels=1, sizes=[1])
@example(data=SIGNALLING_NAN, sample_format="f32le", rate_hz=1, n_channels=1, sizes=[1])
@example(data=INFINITIES, sample_format="f32le", rate_hz=16_000, n_channels=2, sizes=[3])
@example(data=HUGE, sample_format="f32le", rate_hz=44_100, n_channels=2, sizes=[700])
def test_any_bytes_in_a_pipe_are_audio_or_refused(
    data: bytes, sample_format: str, rate_hz: int, n_channels: int, sizes: list[int]
) -> None:
    def source(sizes: list[int]) -> StdinPcm:
        return StdinPcm(Pipe(data, sizes), rate_hz, sample_format, n_channels)  # type: ignore[arg-type]

    with little_memory():
        cut, whole = hear(source(sizes)), hear(source([10_000]))
    found, expected = (
        np.concatenate([np.zeros(0, np.float32), *(block.samples for block in blocks)])
        for blocks in (cut, whole)
    )
    np.testing.assert_array_equal(found, expected)


# Files


def encoded(suffix: str, subtype: str, rate_hz: int = 16_000, n_channels: int = 1) -> bytes:
    file = io.BytesIO()
    frames = np.repeat(TONE[:, None], n_channels, axis=1)
    soundfile.write(file, frames, rate_hz, format=suffix, subtype=subtype)
    return file.getvalue()


INTACT = {
    "wav": encoded("WAV", "PCM_16", n_channels=2),
    "float.wav": encoded("WAV", "FLOAT", 44_100),
    "adpcm.wav": encoded("WAV", "IMA_ADPCM", 8_000),
    "flac": encoded("FLAC", "PCM_16"),
    "ogg": encoded("OGG", "VORBIS"),
    "opus": encoded("OGG", "OPUS", 48_000),
    "mp3": encoded("MP3", "MPEG_LAYER_III", 44_100),
    "aiff": encoded("AIFF", "PCM_24"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("suffix", INTACT)
def test_damaged_files_are_heard_or_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(INTACT[suffix])
    assert hear(AudioFile(path))
    rng = random.Random(suffix)
    for _ in range(400):
        path.write_bytes(damaged(INTACT[suffix], rng))
        with little_memory():
            hear(AudioFile(path))


def wav(rate_hz: int = 16_000, n_channels: int = 1, n_data_bytes: int = 8_000) -> bytes:
    """A header that says so, before 8 kB of noise."""
    n_frame_bytes = 2 * n_channels & 0xFFFF
    n_bytes_per_s = rate_hz * n_frame_bytes & 0xFFFFFFFF
    chunk = struct.pack("<HHIIHH", 1, n_channels, rate_hz, n_bytes_per_s, n_frame_bytes, 16)
    data = struct.pack("<4sI", b"data", n_data_bytes) + random.Random(0).randbytes(8_000)
    head = struct.pack("<4sI4s4sI", b"RIFF", (36 + n_data_bytes) & 0xFFFFFFFF, b"WAVE", b"fmt ", 16)
    return head + chunk + data


@pytest.mark.parametrize("rate_hz", [0, 1, 999, 1_000_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_rates_that_no_sound_has_are_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "rate.wav"
    path.write_bytes(wav(rate_hz))
    with pytest.raises(SourceError), AudioFile(path) as source:
        list(source.blocks())


@pytest.mark.parametrize("n_channels", [0, 1, 7, 1_024, 1_025, 2**15, 2**16 - 1])
@pytest.mark.parametrize("n_data_bytes", [0, 1, 7_999, 8_001, 2**31, 2**32 - 1])
def test_headers_that_lie_about_sizes_cost_nothing(
    tmp_path: Path, n_channels: int, n_data_bytes: int
) -> None:
    path = tmp_path / "size.wav"
    path.write_bytes(wav(16_000, n_channels, n_data_bytes))
    with little_memory():
        hear(AudioFile(path))


def test_many_channels_at_a_high_rate_are_read_in_small_blocks(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(wav(1_000_000, 512, 2_000_000_000))
    with path.open("ab") as file:
        file.truncate(2_000_000_000)  # takes no room on the disk
    with little_memory(), AudioFile(path) as source:
        assert len(next(iter(source.blocks())).samples) > 0


# Arrays

WILD = [np.nan, np.inf, -np.inf, 1e308, -1e300, 1e38, 1.0000001, -0.0, 1e-38, 1e-45, 5e-324, 0.3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy")


def scores(bundle: Bundle, chunks: list[NDArray[Any]]) -> NDArray[np.float32]:
    """Of all steps, from a fresh tagger."""
    tagger = Tagger(bundle, toy.NumpyBackend())
    steps = [step for chunk in chunks for _, step, _ in tagger.steps(chunk)]
    return np.array(steps).reshape(-1, len(tagger.labels))


@fuzz(60)
@example(seed=0, values=[1e308], share=1.0, dtype=np.float64, cuts=[])  # their mean overflows
@given(
    seed=st.integers(0, 1_000),
    values=st.lists(st.sampled_from(WILD), min_size=1, max_size=8),
    share=st.sampled_from([0.0001, 0.01, 0.5, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    cuts=st.lists(st.integers(0, 16_000), max_size=6),
)
def test_wild_numbers_sound_like_silence_or_full_scale_in_any_chunks(
    bundle: Bundle, seed: int, values: list[float], share: float, dtype: type, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    pcm = toy.noise(16_000, seed).astype(np.float64) / 32_768
    at = rng.random(len(pcm)) < share
    with np.errstate(over="ignore"):
        pcm[at] = rng.choice(values, at.sum())
        pcm = pcm.astype(dtype)
    found = scores(bundle, np.split(pcm, sorted(cuts)))
    tame: np.ndarray = np.clip(np.where(np.isnan(pcm), 0.0, pcm), -1.0, 1.0).astype(dtype)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, scores(bundle, [tame]))


@pytest.mark.parametrize("code", np.typecodes["All"])
@pytest.mark.parametrize("shape", [(), (0,), (800,), (800, 1), (2, 3, 4)])
def test_arrays_of_any_type_and_shape_are_heard_or_refused(
    bundle: Bundle, code: str, shape: tuple[int, ...]
) -> None:
    tagger = Tagger(bundle, toy.NumpyBackend())
    pcm = np.zeros(shape, code)
    fits = pcm.dtype in (np.int16, np.float32, np.float64) and pcm.ndim == 1
    if fits:
        tagger.push(pcm)
    else:
        with pytest.raises(UsageError):
            tagger.push(pcm)
    assert tagger.time_s == (pcm.size / 16_000 if fits else 0.0)
