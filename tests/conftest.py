"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import soundfile

from edge_audio.bundle.store import Bundle
from tests.support import toy
from tests.support.command_line import SAMPLES
from tests.support.paths import REPOSITORY
from tests.support.virtual_sound_card import VirtualSoundCard, missing_packages

SHARED = REPOSITORY.parent / "shared"
for name in ("data", "peers"):  # also for the commands that tests run
    if (SHARED / name).is_dir():
        os.environ.setdefault(f"EDGE_AUDIO_{name.upper()}", str(SHARED / name))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real audio with its manifest.csv: $EDGE_AUDIO_DATA or ../shared/data."""
    folder = Path(os.environ.get("EDGE_AUDIO_DATA", SHARED / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"no real audio: {folder} has no manifest.csv (set EDGE_AUDIO_DATA)")
    return folder


@pytest.fixture
def make_sound_card(tmp_path: Path) -> Iterator[Callable[..., VirtualSoundCard]]:
    """Makes virtual sound cards of any rate_hz and n_channels."""
    missing = missing_packages()
    if missing:
        pytest.skip(f"no virtual sound card: apt install {' '.join(missing)}")
    cards: list[VirtualSoundCard] = []

    def make(rate_hz: int = 16_000, n_channels: int = 1) -> VirtualSoundCard:
        cards.append(VirtualSoundCard(tmp_path / f"card{len(cards)}", rate_hz, n_channels))
        return cards[-1]

    yield make
    for card in cards:
        card.close()


@pytest.fixture
def virtual_sound_card(make_sound_card: Callable[..., VirtualSoundCard]) -> VirtualSoundCard:
    """One with a 16 kHz mono room: `.environment`, `.play(sound, rate_hz)`, `.kill()`."""
    return make_sound_card()


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The toy model of toy.py, exported for every runtime."""
    pytest.importorskip("litert_torch", reason="needs the export extra to build the toy model")
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy", **toy.exported())


@pytest.fixture(scope="session")
def model(toy_bundle: Bundle) -> Sequence[object]:
    """The command-line arguments that choose the toy model."""
    return ("--model", toy_bundle.path)


@pytest.fixture(scope="session")
def bursts_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """command_line.SAMPLES as a WAV file."""
    path = tmp_path_factory.mktemp("audio") / "bursts.wav"
    soundfile.write(path, SAMPLES, 16_000, subtype="PCM_16")
    return path
