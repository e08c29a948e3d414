"""The Android target, built once for all of its tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from firmware_bridge.builders.android import (
    LIBRARY_NAME,
    build_library,
)
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TOOLCHAINS
from tests.firmware_bridge.builders.android.android_build import (
    DIRECT_MEMORY_MB,
    JAVA_SOURCES,
    MODEL,
    Run,
    host_toolchain,
    image_of,
    jni_dirs,
    run,
    tool,
)
from tests.support.real_audio import soundscape


@pytest.fixture(scope="session")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of models, as NAME.bin, among other things."""
    folder = tmp_path_factory.mktemp("android")
    for model in ("micro-int8", MODEL):
        (folder / f"{model}.bin").write_bytes(image_of(model))
    return folder


@pytest.fixture(scope="session")
def samples(data_dir: Path) -> np.ndarray:
    """int16, 60 s."""
    return soundscape(data_dir, 60.0)


@pytest.fixture(scope="session")
def pcm(work_dir: Path, samples: np.ndarray) -> Path:
    path = work_dir / "samples.s16"
    path.write_bytes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def classes(work_dir: Path) -> Path:
    """All Java, compiled, for what Android versions of old take too."""
    folder = work_dir / "classes"
    compiler = tool("javac", "openjdk-17-jdk-headless")
    strict = ("-Xlint:all,-options", "-Werror", "--release", "8")
    run(compiler, *strict, "-h", work_dir / "headers", "-d", folder, *JAVA_SOURCES)
    return folder


@pytest.fixture(scope="session")
def java(work_dir: Path, classes: Path) -> Run:
    """Runs a class with arguments; `jar` may have it."""
    jni_dirs()
    build_library(host_toolchain(), work_dir / "host" / LIBRARY_NAME, has_libc=True)

    def run_class(name: str, *arguments: object, jar: Path | None = None) -> str:
        path = os.pathsep.join(map(str, [classes, *([jar] if jar else [])]))
        limits = ("-Xmx256m", f"-XX:MaxDirectMemorySize={DIRECT_MEMORY_MB}m")
        options = ("-Xcheck:jni", *limits, f"-Djava.library.path={work_dir / 'host'}")
        return run(tool("java", "openjdk-17-jre-headless"), *options, "-cp", path, name, *arguments)

    return run_class


@pytest.fixture(scope="session")
def check(java: Run) -> Run:
    """Runs EngineCheck."""
    return lambda *arguments: java("io.github.edgeaudio.engine.EngineCheck", *arguments)


@pytest.fixture(scope="session")
def android_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an app takes it."""
    jni_dirs()
    if TOOLCHAINS["android"].find() is None:
        pytest.skip(TOOLCHAINS["android"].missing)
    folder = tmp_path_factory.mktemp("android") / "built"
    made = build_firmware(load_bundle(MODEL), TARGETS["android"], folder)
    assert made.missing == ""
    return folder
