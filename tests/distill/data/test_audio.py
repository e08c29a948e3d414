"""Clips are decoded whole, or the error names them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from distill.data.audio import length_of, read_clip
from edge_audio.errors import SourceError
from tests.distill.workshop import damage


def test_clips_are_decoded_to_mono_at_the_wanted_rate(tmp_path: Path) -> None:
    time_s = np.arange(44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    sf.write(tmp_path / "stereo.wav", np.stack([tone, np.zeros_like(tone)], 1), 44_100, "FLOAT")
    samples = read_clip(tmp_path / "stereo.wav", 16_000)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert (samples.dtype, samples.shape) == (np.dtype(np.float32), (16_000,))
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)


def test_file_without_usable_samples_is_named(tmp_path: Path) -> None:
    for name, reason in damage(tmp_path).items():
        with pytest.raises(SourceError, match=f"{name}.*{reason}"):
            read_clip(tmp_path / name, 16_000)


@pytest.mark.parametrize("claim", [0, (1 << 36) - 1])
def test_lengths_that_nobody_knew_are_counted(tmp_path: Path, claim: int) -> None:
    """FLAC from a pipe says 0 samples, and damage anything."""
    path = tmp_path / "piped.flac"
    sf.write(path, np.full(5_000, 0.5), 16_000)
    content = bytearray(path.read_bytes())
    stated = int.from_bytes(content[18:26], "big")  # the last 36 bits
    content[18:26] = (stated >> 36 << 36 | claim).to_bytes(8, "big")
    path.write_bytes(content)
    assert length_of(path) == (5_000, 16_000)
    assert len(read_clip(path, 16_000)) == 5_000


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_clips_of_names_that_are_not_utf8_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    sf.write(os.fsencode(path), np.full(160, 0.5), 16_000)
    assert len(read_clip(path, 16_000)) == 160


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_a_clip_is_named_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    # In a process of its own, which can be ended where it waits
    program = (
        "import sys; from pathlib import Path; from distill.data.audio import read_clip; "
        "read_clip(Path(sys.argv[1]), 16_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, pipe],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"cannot read {pipe}: it is not a file" in done.stderr
