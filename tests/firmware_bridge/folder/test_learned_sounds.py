"""`firmware build --sounds`: what was taught on the host is a label on the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import build_image
from edge_audio.learning.learn import learn
from edge_audio.sounds.opening import with_sounds
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TOOLCHAINS, compile_program
from tests.firmware_bridge.firmware_runs import run_program
from tests.support.taught import BACKEND, bundle_with_negatives, write_beeps


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_with_negatives(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def taught(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The model with an oven beside its own labels."""
    folder = tmp_path_factory.mktemp("house")
    path = folder / "house.sounds"
    learn("Oven", write_beeps(folder), sounds=path, model=plain.path, backend=BACKEND)
    return with_sounds(plain, path)


def test_a_device_gives_the_scores_of_the_host(taught: Bundle, tmp_path: Path) -> None:
    made = build_firmware(taught, TARGETS["c"], tmp_path / "oven", ("Dog", "Oven"))
    assert made.labels == ("Dog", "Oven")
    assert "Oven" not in made.silent_labels
    folder = made.path
    sources = [*folder.glob("src/*.c"), *folder.glob("port/*.c"), *folder.glob("test/*.c")]
    includes = [folder / name for name in ("src", "port", "test")]
    compile_program(TOOLCHAINS["host"], sources, tmp_path / "self_test", includes)
    assert '"result":"ok"' in run_program([tmp_path / "self_test"])


def test_own_labels_keep_their_bytes_and_a_sound_takes_little(
    plain: Bundle, taught: Bundle
) -> None:
    assert build_image(taught, ("Dog", "Siren")) == build_image(plain, ("Dog", "Siren"))
    more = len(build_image(taught, ("Dog", "Siren", "Oven"))) - len(
        build_image(plain, ("Dog", "Siren"))
    )
    assert 0 < more <= 2048
