"""Which library of the engine is loaded: one of the package, the quickest that the CPU runs, as
long as it is made of the sources that are here; else one that is compiled."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_audio.backends import engine_library, open_backend
from edge_audio.backends.compiler import C, find_compiler
from edge_audio.backends.registry import installed_backends
from edge_audio.bundle.store import load_bundle
from edge_audio.engine.variants import (
    Variant,
    compile_arguments,
    file_name,
    machine_of,
    variants_of,
)
from tests.support import toy
from tests.support.paths import REPOSITORY
from tests.support.runtimes import require_runtimes

ENGINE_DIR = REPOSITORY / "firmware_bridge" / "engine"
MACHINE = variants_of(machine_of(os.uname().machine))


def compile_variant(variant: Variant, folder: Path, *flags: str) -> Path:
    compiler = find_compiler(C)
    if compiler is None:
        pytest.skip("needs a C compiler: apt install gcc")
    path = folder / file_name(variant)
    arguments = compile_arguments(ENGINE_DIR, variant, path)
    subprocess.run([*compiler, "-fPIC", *arguments, *flags], capture_output=True, check=True)
    return path


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of those for this machine, as in a wheel."""
    folder = tmp_path_factory.mktemp("lib")
    for variant in MACHINE:
        compile_variant(variant, folder, "-O1")
    return folder


@pytest.fixture
def packaged(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As if these had come with the package."""
    monkeypatch.setattr(engine_library, "LIBRARY_DIR", libraries)
    yield from fresh(libraries)


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As if none had."""
    monkeypatch.setattr(engine_library, "LIBRARY_DIR", tmp_path)
    yield from fresh(tmp_path)


def fresh(folder: Path) -> Iterator[Path]:
    engine_library.find_packaged.cache_clear()
    yield folder
    engine_library.find_packaged.cache_clear()


def scores() -> np.ndarray:
    samples = toy.noise(20 * 1280, seed=1).astype(np.float32) / 32768.0
    stream = open_backend(load_bundle("micro-int8"), "native").open_stream()  # type: ignore[attr-defined]
    return np.array(stream.push(samples))


def test_every_kind_of_cpu_gives_the_same_bits(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = ctypes.CDLL(str(packaged / file_name(MACHINE[0]))).ea_cpu_level()
    assert 0 <= level < len(MACHINE)
    expected = None
    for variant in MACHINE[: level + 1]:
        alone = packaged / "alone" / variant.name
        alone.mkdir(parents=True)
        (alone / file_name(MACHINE[0])).symlink_to(packaged / file_name(variant))
        monkeypatch.setattr(engine_library, "LIBRARY_DIR", alone)
        engine_library.find_packaged.cache_clear()
        found = scores()
        np.testing.assert_array_equal(found, found if expected is None else expected)
        expected = found


def test_the_quickest_library_that_the_cpu_runs_is_taken(packaged: Path) -> None:
    library = engine_library.load_engine()
    best = MACHINE[library.ea_cpu_level()]
    assert Path(vars(library)["_name"]).name == file_name(best)


def test_a_library_of_other_sources_is_left_alone(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine_library.is_compiled()
    monkeypatch.setattr(engine_library, "fingerprint_of", lambda folder: "of other sources")
    engine_library.find_packaged.cache_clear()
    assert not engine_library.is_compiled()


def test_what_is_no_library_of_this_machine_is_left_alone(without: Path) -> None:
    (without / file_name(MACHINE[0])).write_bytes(b"\x7fELF of another machine")
    assert not engine_library.is_compiled()


def test_auto_takes_the_engine_where_it_came_compiled(packaged: Path) -> None:
    assert installed_backends()[0] == "native"
    assert open_backend(load_bundle("micro-int8")).name == "native"


def test_auto_runs_no_compiler_where_there_is_another_runtime(without: Path) -> None:
    require_runtimes("litert")
    assert open_backend(load_bundle("micro-int8")).name == "litert"


def test_without_library_and_compiler_there_is_no_engine(
    without: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(without))
    assert not engine_library.is_available()


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        ("linux-x86_64", "x86_64"),
        ("manylinux2014_aarch64", "aarch64"),
        ("manylinux_2_31_armv7l", "armv7l"),
        ("macosx_11_0_arm64", "aarch64"),
        ("win_amd64", "x86_64"),
        ("linux_armv6l", "armv6l"),
        ("linux_riscv64", "riscv64"),
    ],
)
def test_machines_are_known_by_the_tags_of_wheels(platform: str, machine: str) -> None:
    assert machine_of(platform) == machine
    assert variants_of(machine)[0].name.startswith(machine)
