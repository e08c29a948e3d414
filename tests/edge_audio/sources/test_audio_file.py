"""Files, pipes and pacing: real files of every format, real processes at the other end."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.base import Block, Source, Timeline, paced
from edge_audio.sources.pcm import StdinPcm
from edge_audio.sources.samples import SAMPLE_FORMATS
from tests.support.command_line import error_line, run

# suffix, rate, channels, subtype, tolerance of the level (lossy encoders alter it)
FORMATS = [
    ("wav", 8_000, 2, "PCM_16", 1e-3),
    ("wav", 44_100, 1, "PCM_16", 1e-3),
    ("wav", 48_000, 2, "PCM_24", 1e-3),
    ("wav", 16_000, 1, "FLOAT", 1e-3),
    ("wav", 11_025, 1, "PCM_U8", 0.02),
    ("flac", 96_000, 6, "PCM_24", 1e-3),
    ("ogg", 44_100, 2, "VORBIS", 0.05),
    ("ogg", 48_000, 1, "OPUS", 0.05),
    ("mp3", 44_100, 2, "MPEG_LAYER_III", 0.15),
    ("mp3", 16_000, 1, "MPEG_LAYER_III", 0.15),
]


def tone(rate_hz: int, n_channels: int = 1, seconds: float = 3.0) -> NDArray[np.float32]:
    """A 1 kHz tone of amplitude 0.5: f32[n, n_channels]."""
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    mono = 0.5 * np.sin(2 * np.pi * 1000.0 * t_s)
    return np.repeat(mono[:, None], n_channels, axis=1).astype(np.float32)


def write(path: Path, frames: NDArray[np.float32], rate_hz: int, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, frames, rate_hz, subtype=subtype)
    return path


def joined(blocks: list[Block]) -> NDArray[np.float32]:
    """All samples, after checking that the blocks follow each other without a gap."""
    ends = np.cumsum([len(block.samples) for block in blocks])
    starts_s = np.array([0, *ends[:-1]]) / 16_000
    assert [block.time_s for block in blocks] == pytest.approx(starts_s)
    return np.concatenate([block.samples for block in blocks])


def hear(source: Source) -> NDArray[np.float32]:
    with source:
        return joined(list(source.blocks()))


def assert_is_the_tone(heard: NDArray[np.float32], tolerance: float) -> None:
    middle = heard[16_000:32_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 1000
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=tolerance)


@pytest.mark.parametrize(("suffix", "rate_hz", "n_channels", "subtype", "tolerance"), FORMATS)
def test_file_of_any_format_keeps_length_level_and_pitch(
    tmp_path: Path, suffix: str, rate_hz: int, n_channels: int, subtype: str, tolerance: float
) -> None:
    path = write(tmp_path / f"tone.{suffix}", tone(rate_hz, n_channels), rate_hz, subtype)
    with AudioFile(path) as source:
        assert source.duration_s == pytest.approx(3.0, abs=0.1)  # mp3 pads to its own frames
        heard = joined(list(source.blocks()))
    assert len(heard) == pytest.approx(48_000, abs=1600)
    assert_is_the_tone(heard, tolerance)


def test_file_samples_do_not_depend_on_the_block_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write(tmp_path / "noise.wav", rng.uniform(-1, 1, (30_011, 2)).astype("f4"), 44_100)
    whole = hear(AudioFile(path, block_ms=10_000.0))
    for block_ms in (0.01, 7.3, 80.0):
        np.testing.assert_array_equal(hear(AudioFile(path, block_ms=block_ms)), whole)


@pytest.mark.parametrize(("block_ms", "n_block"), [(80.0, 1_280), (7.3, 117), (10_000.0, 160_000)])
def test_blocks_are_as_long_as_they_are_to_be_and_at_their_times(
    tmp_path: Path, block_ms: float, n_block: int
) -> None:
    rng = np.random.default_rng(0)
    path = write(tmp_path / "noise.wav", rng.uniform(-1, 1, (100_011, 1)).astype("f4"), 44_100)
    with AudioFile(path, block_ms=block_ms) as source:
        blocks = list(source.blocks())
    assert {len(block.samples) for block in blocks[:-1]} <= {n_block}
    assert 0 < len(blocks[-1].samples) <= n_block
    assert [block.time_s for block in blocks] == [i * n_block / 16_000 for i in range(len(blocks))]


@pytest.mark.parametrize("n_channels", [1, 2])
def test_16_bit_samples_are_as_libsndfile_scales_them(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "all.wav"
    pcm = np.arange(-32_768, 32_768).astype(np.int16)
    soundfile.write(path, np.stack([pcm] * n_channels, axis=1), 16_000)
    with AudioFile(path, channel="1") as source:
        heard = np.concatenate([block.samples for block in source.blocks()])
    np.testing.assert_array_equal(
        heard, soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]
    )


def test_three_hour_file_is_streamed_in_flat_memory(tmp_path: Path) -> None:
    minute = (np.random.default_rng(0).integers(0, 256, 60 * 8_000) - 128).astype(np.int16) << 8
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8_000, 1, "PCM_U8") as file:
        for _ in range(180):
            file.write(minute)
    process = psutil.Process()
    resident_bytes: list[int] = []
    n_samples = 0
    with AudioFile(tmp_path / "long.wav") as source:
        for block in source.blocks():
            n_samples += len(block.samples)
            if block.time_s >= 60 * len(resident_bytes):
                resident_bytes.append(process.memory_info().rss)
    assert n_samples == 3 * 3600 * 16_000
    assert max(resident_bytes) - resident_bytes[0] < 5e6  # all samples would be 691e6


def test_what_keeps_a_file_from_being_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder that a service may not enter, which is not a file that is missing."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(UsageError, match=r"closed\.wav: Permission denied"):
        AudioFile(tmp_path / "closed.wav").__enter__()


def test_missing_file_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            hear(AudioFile(path))


def test_corrupt_or_empty_file_is_a_source_error_that_names_it(tmp_path: Path) -> None:
    intact = write(tmp_path / "intact.wav", tone(16_000), 16_000).read_bytes()
    files = {
        "zero_bytes.wav": b"",
        "text.wav": b"this is no audio at all, whatever the name says\n" * 100,
        "corrupt_header.wav": bytes(20) + intact[20:],
        "header_only.wav": write(tmp_path / "none.wav", tone(8_000)[:0], 8_000).read_bytes(),
        "zero_bytes.mp3": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=re.escape(name)) as caught:
            hear(AudioFile(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16")])
def test_truncated_file_is_heard_up_to_its_end_and_then_an_error(
    tmp_path: Path, suffix: str, subtype: str
) -> None:
    path = write(tmp_path / f"cut.{suffix}", tone(16_000, seconds=6.0), 16_000, subtype)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    heard: list[Block] = []
    cut_short = pytest.raises(SourceError, match=r"cut.* truncated")
    with cut_short, AudioFile(path, block_ms=100.0) as source:
        heard.extend(source.blocks())  # keeps what came before the error
    assert len(joined(heard)) > 3 * 16_000
    assert_is_the_tone(joined(heard), 1e-3)


def test_truncated_mp3_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.mp3", tone(44_100), 44_100, "MPEG_LAYER_III")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SourceError, match="truncated"):
        hear(AudioFile(path))


def test_wav_of_unknown_length_is_no_truncated_file(tmp_path: Path) -> None:
    """Encoders that write into a pipe cannot go back and fill in the sizes."""
    path = write(tmp_path / "piped.wav", tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(hear(AudioFile(path))) == 48_000


def test_real_clips_are_read_to_their_stated_length(data_dir: Path) -> None:
    suffixes = {".wav", ".flac", ".ogg", ".mp3"}
    clips = sorted(path for path in (data_dir / "audio").rglob("*") if path.suffix in suffixes)
    for clip in random.Random(0).sample(clips, 60):
        with AudioFile(clip) as source:
            heard = joined(list(source.blocks()))
            assert len(heard) == pytest.approx(source.duration_s * 16_000, abs=1)


def encode(samples: NDArray[np.float32], sample_format: str) -> bytes:
    """The samples as libsndfile writes them headerless: an encoder that is not ours."""
    kinds = {"u": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
    subtype = next(kinds[key] for key in kinds if sample_format.startswith(key))
    endian = "BIG" if sample_format.endswith("be") else "LITTLE"
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, subtype, endian, format="RAW")
    return file.getvalue()


@pytest.mark.parametrize("sample_format", SAMPLE_FORMATS)
def test_raw_pcm_of_any_format_equals_what_was_encoded(sample_format: str) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5_000).astype(np.float32)
    heard = hear(StdinPcm(io.BytesIO(encode(samples, sample_format)), sample_format=sample_format))
    step = {"u8": 2**-7, "s16le": 2**-15, "s16be": 2**-15}.get(sample_format, 2**-23)
    np.testing.assert_allclose(heard, samples, atol=step)


SLOW_WRITER = """
import sys, time
data = sys.stdin.buffer.read()
for start in range(0, len(data), 1013):  # prime: chunks end within samples
    sys.stdout.buffer.write(data[start : start + 1013])
    sys.stdout.buffer.flush()
    time.sleep(0.001)
"""


@pytest.mark.parametrize("sample_format", ["s16le", "s24le"])
def test_pipe_of_odd_chunks_equals_one_read(tmp_path: Path, sample_format: str) -> None:
    encoded = encode(tone(44_100, 2, seconds=0.5).reshape(-1), sample_format)
    (tmp_path / "pcm").write_bytes(encoded)
    form: dict[str, Any] = {"rate_hz": 44_100, "sample_format": sample_format, "n_channels": 2}
    with (
        (tmp_path / "pcm").open("rb") as file,
        subprocess.Popen(
            [sys.executable, "-c", SLOW_WRITER], stdin=file, stdout=subprocess.PIPE
        ) as writer,
    ):
        assert writer.stdout is not None
        piped = hear(StdinPcm(cast("BinaryIO", writer.stdout), **form))
    np.testing.assert_array_equal(piped, hear(StdinPcm(io.BytesIO(encoded), **form)))
    assert len(piped) == 8_000


def test_pipe_delivers_what_has_come_without_waiting_for_more() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        blocks = StdinPcm(stream).blocks()
        for n_samples in (1, 100, 37):
            pipe.write(bytes(2 * n_samples))
            assert len(next(blocks).samples) == n_samples  # would wait for ever otherwise


def test_incomplete_last_sample_is_dropped() -> None:
    encoded = encode(np.full(101, 0.5, np.float32), "s16le")
    assert len(hear(StdinPcm(io.BytesIO(encoded[:-1])))) == 100
    assert len(hear(StdinPcm(io.BytesIO(encoded), n_channels=2))) == 50


def test_wrong_use_of_stdin_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="choose one of u8, s16le"):
        StdinPcm(io.BytesIO(), sample_format="s17")
    with pytest.raises(UsageError, match="must be positive"):
        StdinPcm(io.BytesIO(), rate_hz=0)
    with pytest.raises(SourceError, match="before any audio"):
        hear(StdinPcm(io.BytesIO()))
    beside = io.BytesIO(b"\0\x05\x16\x07".ljust(4_096, b"\0"))
    with pytest.raises(UsageError, match="an AppleDouble file of macOS"):
        hear(StdinPcm(beside))
    terminal, other_end = os.openpty()
    with os.fdopen(terminal, "rb") as stream, pytest.raises(UsageError, match="a terminal"):
        hear(StdinPcm(stream))
    os.close(other_end)


def test_gap_is_stated_by_the_block_after_it_and_counts_as_time() -> None:
    timeline = Timeline(48_000, 16_000)
    before = [*timeline.push(np.zeros(48_000, np.float32)), *timeline.skip(24_000)]
    assert sum(len(block.samples) for block in before) == 16_000
    assert list(timeline.push(np.zeros(1, np.float32), has_unknown_gap=True)) == []
    after = [*timeline.push(np.zeros(48_000, np.float32)), *timeline.flush()]
    assert (after[0].time_s, after[0].n_lost_samples) == (1.5, 8_000)
    assert after[0].has_unknown_gap
    assert (after[1].n_lost_samples, after[1].has_unknown_gap) == (0, False)


def test_paced_blocks_never_come_before_a_microphone_could_deliver_them() -> None:
    blocks = [Block(np.zeros(800, np.float32), 0.05 * k) for k in range(5)]
    start_s = time.monotonic()
    for block, original in zip(paced(blocks, 16_000), blocks, strict=True):
        assert block is original
        assert time.monotonic() - start_s >= block.time_s + 0.05


def test_a_file_without_a_header_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    """soundfile goes by the name, and raises a TypeError for want of a rate."""
    path = tmp_path / "dump.RAW"
    path.write_bytes(bytes(32_000))
    with pytest.raises(SourceError, match=r"has no header .* --source - --rate"), AudioFile(path):
        pass
    assert "has no header" in error_line(run("listen", "--source", path, ok=False), 1)
