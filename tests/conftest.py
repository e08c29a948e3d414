"""What every test has: its kind, the folders of real audio, and fixtures that several share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import soundfile
from hypothesis import settings

from edge_audio.bundle.store import Bundle
from tests.support import toy
from tests.support.command_line import SAMPLES
from tests.support.kinds import KINDS, QUICK, is_left_out, kinds_of, kinds_of_place, missing_library
from tests.support.paths import REPOSITORY
from tests.support.shared_folders import point_to_shared_folders, shared_clip_list
from tests.support.virtual_sound_card import VirtualSoundCard, missing_packages

settings.register_profile("edge-audio", deadline=None, print_blob=True)  # how to repeat a failure
settings.load_profile("edge-audio")
point_to_shared_folders()  # before test modules are imported, and for what they start


def pytest_configure(config: pytest.Config) -> None:
    for name, what in {**KINDS, QUICK: "need no more than `make check` installs"}.items():
        config.addinivalue_line("markers", f"{name}: {what}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What -m leaves out is not imported: libraries that it needs may not be installed."""
    return is_left_out(config.option.markexpr, _place(collection_path)) or None


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Files that cannot be imported, for want of a library, are skipped by name."""
    reason = missing_library(kinds_of_place(_place(module_path)))
    if reason is None:
        return None
    module: SkippedModule = SkippedModule.from_parent(parent, path=module_path)
    module.reason = reason
    return module


class SkippedModule(pytest.Module):
    reason: str

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip(self.reason, allow_module_level=True)


def _place(path: Path) -> str:
    """What the node ids of all tests of a file or folder begin with."""
    return path.relative_to(REPOSITORY).as_posix() + ("/" if path.is_dir() else "::")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for kind in kinds_of(item.nodeid, getattr(item, "fixturenames", ())):
            item.add_marker(kind)


@pytest.fixture(scope="session")
def clip_list() -> Path:
    """The list of all real audio."""
    return shared_clip_list()


@pytest.fixture(scope="session")
def data_dir(clip_list: Path) -> Path:
    """The folder of real audio."""
    return clip_list.parent


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
