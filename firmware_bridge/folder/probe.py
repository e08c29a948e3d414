"""What an image needs, asked of the engine itself: a small program that runs on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import msgspec

from edge_audio.errors import EdgeAudioError
from firmware_bridge.toolchains import (
    INCLUDE_DIR,
    TARGETS_DIR,
    TOOLCHAINS,
    compile_program,
    engine_sources,
)

EXECUTABLE_SUFFIX = ".exe" if os.name == "nt" else ""
LANES = (1, 4, 8)  # frames that builds for different CPUs transform together


class ImageFacts(msgspec.Struct, frozen=True):
    """Sizes of a model and of one stream of it.

    mixers: bit k is set where a block has a mixer of kind k. map_channels: the most that a
    convolution has. related_bytes: of the lists of related labels, 0 where there are none.
    state_bytes: of a stream in all; network_bytes: of its recurrent state; scratch_bytes: of its
    working memory. Pointers have 8 bytes, so that none of them is too small for a CPU on which
    they have 4.
    """

    crc32: int
    n_labels: int
    n_convs: int
    n_blocks: int
    mixers: int
    map_channels: int
    sample_rate_hz: int
    step_samples: int
    state_bytes: int
    network_bytes: int
    scratch_bytes: int
    front_end_bytes: int
    label_bytes: int
    threshold_bytes: int
    related_bytes: int


def probe_image(image: bytes) -> dict[int, ImageFacts]:
    """The facts for each number of lanes in LANES. Raises EdgeAudioError where there is no C
    compiler, or if the engine refuses the image."""
    with tempfile.TemporaryDirectory(prefix="edge-audio-") as scratch:
        path = Path(scratch) / "image.bin"
        path.write_bytes(image)
        return {n_lanes: _probe(path, n_lanes) for n_lanes in LANES}


def _probe(image: Path, n_lanes: int) -> ImageFacts:
    program = image.with_name(f"probe_{n_lanes}{EXECUTABLE_SUFFIX}")
    program.write_bytes(_probe_program(n_lanes))
    program.chmod(0o700)
    done = subprocess.run([program, image], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgeAudioError(f"the engine refuses the model: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=ImageFacts)


@lru_cache(maxsize=len(LANES))
def _probe_program(n_lanes: int) -> bytes:
    """The executable file, compiled once in a process."""
    sources = [*engine_sources(), TARGETS_DIR / "probe" / "probe.c"]
    flags = ("-DEA_PLAIN", f"-DEA_LANES={n_lanes}", "-O0")
    with tempfile.TemporaryDirectory(prefix="edge-audio-") as scratch:
        program = Path(scratch) / f"probe{EXECUTABLE_SUFFIX}"
        compile_program(TOOLCHAINS["host"], sources, program, [INCLUDE_DIR], flags)
        return program.read_bytes()
