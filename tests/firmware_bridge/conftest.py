"""What tests of firmware share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_audio.engine.image import StateType
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.folder.codegen import Firmware
from firmware_bridge.target_table import TARGETS
from tests.firmware_bridge.firmware_runs import LABELS, Make, open_sensitive, require_compiler
from tests.support.real_audio import soundscape

REAL_S = 60.5  # clips have not quite as many samples as they should
SILENCE_S = 6.0  # numbers get so small that not all CPUs treat them alike by default


@pytest.fixture(scope="session")
def recording(data_dir: Path) -> NDArray[np.int16]:
    """A minute of real sounds with silence in their middle, 16 kHz."""
    sounds = soundscape(data_dir, REAL_S)
    middle = len(sounds) // 2
    silence = np.zeros(round(SILENCE_S * 16_000), np.int16)
    return np.concatenate([sounds[:middle], silence, sounds[middle:]])


@pytest.fixture(scope="session")
def pcm(recording: NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording as programs read it."""
    path = tmp_path_factory.mktemp("pcm") / "in.pcm"
    path.write_bytes(recording.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """(model, target, state, labels) -> its folder, written once in a session. Skips where the
    compiler is missing."""
    made: dict[tuple[object, ...], Firmware] = {}

    def build(
        model: str,
        target: str,
        state: StateType | None = None,
        labels: Sequence[str] = LABELS,
    ) -> Firmware:
        require_compiler(target)
        key = (model, target, state or TARGETS[target].state, tuple(labels))
        if key not in made:
            out_dir = tmp_path_factory.mktemp("firmware") / target
            bundle = open_sensitive(model)
            made[key] = build_firmware(bundle, TARGETS[target], out_dir, labels, state)
        if made[key].missing:
            pytest.skip(made[key].missing)
        return made[key]

    return build
