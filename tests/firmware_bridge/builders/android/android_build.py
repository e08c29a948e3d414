"""What the tests of the Android target share: compilers, sources, and what EngineCheck prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from firmware_bridge.builders.android import (
    ANDROID_DIR,
    JNI_MISSING,
    find_jni_dirs,
)
from firmware_bridge.toolchains import TOOLCHAINS, Toolchain

HERE = Path(__file__).parent
JAVA_SOURCES = [
    *sorted((ANDROID_DIR / "java").rglob("*.java")),
    *sorted((HERE / "java").rglob("*.java")),
]
HANG_S = 120  # reached only by what never ends
MODEL = "tiny-int8"
DIRECT_MEMORY_MB = 32  # that the JVM may take beside its heap
TRAPS = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")

Run = Callable[..., str]


def run(*command: object, environment: Mapping[str, str] | None = None) -> str:
    """stdout of a command that has to succeed."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        encoding="utf-8",
        timeout=HANG_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}{done.stdout}"
    assert "native method" not in done.stdout + done.stderr  # what -Xcheck:jni complains of
    return done.stdout


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return path


def jni_dirs() -> list[Path]:
    found = find_jni_dirs()
    if found is None:
        pytest.skip(JNI_MISSING)
    return found


def host_toolchain() -> Toolchain:
    """A library for this machine, which stops at undefined behaviour."""
    host = TOOLCHAINS["host"]
    if host.find() is None:
        pytest.skip(host.missing)
    flags = (*host.flags, "-fPIC", "-fvisibility=hidden", *TRAPS)
    return replace(host, flags=flags, link_flags=("-shared",))


def image_of(model: str) -> bytes:
    return build_image(load_bundle(model))


Row = tuple[str, int, int]


def parsed(text: str) -> tuple[list[Row], list[float]]:
    """(kind, sample, label) and the score of each event that EngineCheck printed."""
    found = re.findall(r"^(start|end) (\d+) (\d+) ([0-9a-f]{8})$", text, re.MULTILINE)
    rows = [(kind, int(sample), int(label)) for kind, sample, label, _ in found]
    return rows, [float(number) for number in floats([bits for *_, bits in found])]


def floats(words: Sequence[str]) -> np.ndarray:
    return np.array([int(word, 16) for word in words], np.uint32).view(np.float32)
