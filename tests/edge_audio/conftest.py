"""What tests of listening share: a toy computed by numpy, and a device that tags by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from tests.support import toy
from tests.support.real_audio import soundscape
from tests.support.serial_cable import Cable, Device
from tests.support.serial_parts import build_device

DURATION_S = 20.0


@pytest.fixture
def computed_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taggers of this process run the toy in numpy, whichever runtimes are installed."""
    name = "edge_audio.tagging.tagger.open_backend"
    monkeypatch.setattr(name, lambda bundle, backend: toy.NumpyBackend())


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = load_bundle("micro-int8")
    folder = tmp_path_factory.mktemp("device")
    return build_device(folder, build_image(bundle), len(bundle.manifest.labels))


@pytest.fixture(scope="session")
def samples(data_dir: Path) -> np.ndarray:
    return soundscape(data_dir, DURATION_S)


@pytest.fixture(scope="session")
def recording(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "street.pcm"
    path.write_bytes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path / "port")
    cable.plug()
    yield cable
    cable.close()


@pytest.fixture
def device(program: Path, recording: Path, cable: Cable) -> Iterator[Callable[[int], Device]]:
    """Starts a device on the cable, which plays so many times faster than real time (0: as fast
    as it can). The one before it has to be killed."""
    started: list[Device] = []

    def start(speed: int = 0) -> Device:
        started.append(Device(program, recording, cable, speed))
        return started[-1]

    yield start
    for each in started:
        each.kill()
