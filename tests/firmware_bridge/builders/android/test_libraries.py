"""The libraries for phones: what is in them, and what they compute under emulators with a made-up
JNI."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from firmware_bridge.builders.android import (
    ABIS,
    ANDROID_DIR,
    IMAGE_PATH,
    LIBRARY_NAME,
    abi_toolchain,
    build_library,
)
from firmware_bridge.toolchains import INCLUDE_DIR
from tests.firmware_bridge.builders.android.android_build import (
    HERE,
    MODEL,
    Run,
    host_toolchain,
    image_of,
    jni_dirs,
    run,
    tool,
)
from tests.support.paths import REPOSITORY

NATIVE_PREFIX = "Java_io_github_edgeaudio_engine_EdgeAudioNative_native"
SOFT_FLOAT_FLAG = 2  # in the second byte of e_flags


def test_c_and_java_agree_on_methods_and_numbers(classes: Path, work_dir: Path) -> None:
    header_name = "io_github_edgeaudio_engine_EdgeAudioNative"
    header = work_dir / "headers" / f"{header_name}.h"
    pairs = re.findall(r"#define " + header_name + r"_(\w+) (\d+)L", header.read_text())
    other_names = {"MORE_EVENTS": "MORE_EVENTS", "EVENT_BYTES": "sizeof(ea_event)"}
    status = {"BAD_ARGUMENT", "BAD_IMAGE", "BAD_VERSION", "BAD_HASH", "UNALIGNED", "TOO_SMALL"}
    status |= {"TOO_LARGE", "ALIGNMENT"}
    checks = [
        f"typedef char check_{name}[("
        f"{other_names.get(name, f'EA_{name}' if name in status else name)}) == {value} ? 1 : -1];"
        for name, value in pairs
    ]
    assert len(checks) == 19
    source = work_dir / "agreement.c"
    lines = [f'#include "{header}"', f'#include "{ANDROID_DIR / "jni.c"}"', *checks]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    warnings = "-Wall -Wextra -Wconversion -Wshadow -Wpedantic -Wmissing-prototypes -Werror"
    includes = [f"-I{path}" for path in (INCLUDE_DIR, *jni_dirs())]
    compiler = host_toolchain().require()
    run(*compiler, "-std=c99", *warnings.split(), *includes, "-c", source, "-o", os.devnull)


def native_methods() -> set[str]:
    (source,) = ANDROID_DIR.rglob("EdgeAudioNative.java")
    return set(re.findall(r"native [\w\[\]]+ native(\w+)\(", source.read_text(encoding="utf-8")))


@pytest.mark.parametrize("abi", ABIS)
def test_a_library_needs_nothing_and_exports_its_methods_only(
    android_folder: Path, abi: str
) -> None:
    readelf = tool("readelf", "binutils")
    library = android_folder / "jniLibs" / abi / LIBRARY_NAME
    dynamic = run(readelf, "--dynamic", "--wide", library)
    assert "NEEDED" not in dynamic
    assert "TEXTREL" not in dynamic
    assert f"[{LIBRARY_NAME}]" in dynamic
    names = re.findall(
        r"(FUNC|OBJECT|NOTYPE) +GLOBAL \w+ +(\w+) (\S+)", run(readelf, "-W", "--dyn-syms", library)
    )
    assert all(place != "UND" for _, place, _ in names)
    assert {name for *_, name in names} == {NATIVE_PREFIX + name for name in native_methods()}
    loads = re.findall(r"LOAD .* (0x\w+)$", run(readelf, "--segments", "--wide", library), re.M)
    assert loads
    assert set(loads) == {"0x4000"}


def test_the_folder_is_what_an_app_takes(android_folder: Path) -> None:
    files = {str(x.relative_to(android_folder)) for x in android_folder.rglob("*") if x.is_file()}
    package = "io/github/edgeaudio/engine"
    assert {x for x in files if x.split("/")[0] in ("jniLibs", "java", "kotlin", "assets")} == {
        *(f"jniLibs/{abi}/{LIBRARY_NAME}" for abi in ABIS),
        f"java/{package}/EdgeAudioNative.java",
        *(f"kotlin/{package}/{name}.kt" for name in ("EdgeAudio", "Listener")),
        str(IMAGE_PATH),
    }
    assert (android_folder / IMAGE_PATH).read_bytes() == image_of(MODEL)


def test_sizes_on_the_page_are_right(android_folder: Path) -> None:
    page = (REPOSITORY / "docs" / "android.md").read_text(encoding="utf-8")
    said = {name: int(size) for name, size in re.findall(r"^\| .*`(.+)` \| (\d+) \|$", page, re.M)}
    library_bytes = {
        abi: (android_folder / "jniLibs" / abi / LIBRARY_NAME).stat().st_size for abi in ABIS
    }
    models = ("micro-int8", "tiny-int8", "tiny-xlstm-int8", "small-int8")
    n_bytes = library_bytes | {model: len(image_of(model)) for model in models}
    assert said == pytest.approx({name: n / 1000 for name, n in n_bytes.items()}, rel=0.1)


# ABI -> compiler of the driver, with its package; emulator, with its arguments.
DRIVERS = {
    "arm64-v8a": (
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
        ("qemu-aarch64-static", "-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu"),
    ),
    "armeabi-v7a": (
        ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"),
        ("qemu-arm-static", "-cpu", "cortex-a7", "-L", "/usr/arm-linux-gnueabihf"),
    ),
    "x86_64": (("x86_64-linux-gnu-gcc", "gcc"), ()),
}


@pytest.mark.parametrize("abi", ABIS)
def test_a_library_computes_what_the_jvm_does_here(
    android_folder: Path, check: Run, work_dir: Path, pcm: Path, abi: str
) -> None:
    """The phone's own file, called through a made-up JNI."""
    (compiler, packages), emulator = DRIVERS[abi]
    driver = work_dir / f"driver-{abi}"
    includes = [f"-I{path}" for path in jni_dirs()]
    command = (tool(compiler, packages), "-std=gnu99", "-O1", "-Wall", "-Wextra", "-Werror")
    run(*command, *includes, HERE / "jni_driver.c", "-o", driver, "-ldl")
    if emulator:
        tool(emulator[0], "qemu-user-static")
    library = work_dir / f"{abi}.so"
    content = bytearray((android_folder / "jniLibs" / abi / LIBRARY_NAME).read_bytes())
    if abi == "armeabi-v7a":  # glibc refuses floats in integer registers; here none are passed
        content[0x25] &= ~SOFT_FLOAT_FLAG & 0xFF
    library.write_bytes(content)
    text = run(*emulator, driver, library, work_dir / f"{MODEL}.bin", pcm, 1000)
    assert text == check("events", work_dir / f"{MODEL}.bin", pcm, "array:1000")


def test_two_builds_are_the_same_bytes(android_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / LIBRARY_NAME
    build_library(abi_toolchain("arm64-v8a"), output)
    built = android_folder / "jniLibs" / "arm64-v8a" / LIBRARY_NAME
    assert output.read_bytes() == built.read_bytes()
