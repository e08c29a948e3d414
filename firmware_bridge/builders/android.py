"""The Android target's folder: the engine as a JNI library for each kind of phone, its Java and
Kotlin sources, and the engine image as an asset."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_audio.errors import EdgeAudioError
from firmware_bridge.builders.base import BuildJob, Built
from firmware_bridge.toolchains import (
    COMMON_FLAGS,
    INCLUDE_DIR,
    SECTION_FLAGS,
    TOOLCHAINS,
    Toolchain,
    compile_program,
    engine_sources,
)

ANDROID_DIR = Path(__file__).parents[1] / "targets" / "android"
LIBRARY_NAME = "libedge_audio.so"
IMAGE_PATH = Path("assets", "model.bin")
API_LEVEL = 29

JNI_MISSING = "needs jni.h of a JDK: apt-get install openjdk-17-jdk-headless, or set JAVA_HOME"

# Freestanding: there is no C library to call, and compilers then make no calls of their own.
LIBRARY_FLAGS = (
    "-ffreestanding",
    "-fPIC",
    "-fvisibility=hidden",
    *SECTION_FLAGS,
)
_LINK_FLAGS = (
    "-shared",
    "-nostdlib",
    "-s",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,-z,defs",
    "-Wl,-z,max-page-size=16384",  # Android 15 has phones with pages of 16 KB
    f"-Wl,-soname,{LIBRARY_NAME}",
)
# 32-bit: floats are passed as Android does it, in integer registers, but computed by the VFP,
# which zig does not do for its own Android target. Nothing of glibc is in it. Tables to unwind
# the stack with would need functions of a library.
_ABI_FLAGS = {
    "arm64-v8a": ("-target", f"aarch64-linux-android.{API_LEVEL}"),
    "armeabi-v7a": (
        *("-target", "arm-linux-gnueabihf", "-mcpu=generic+v7a+neon", "-mfloat-abi=softfp"),
        *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    ),
    "x86_64": ("-target", f"x86_64-linux-android.{API_LEVEL}", "-mcpu=x86_64_v2"),
}
ABIS = tuple(_ABI_FLAGS)


def abi_toolchain(abi: str) -> Toolchain:
    """The compiler of the JNI library for one of ABIS."""
    return replace(
        TOOLCHAINS["android"],
        flags=(*COMMON_FLAGS, *_ABI_FLAGS[abi], *LIBRARY_FLAGS),
        link_flags=_LINK_FLAGS,
    )


def find_jni_dirs() -> list[Path] | None:
    """Folders of jni.h and of the jni_md.h that it includes; None without a JDK."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if compiler := shutil.which("javac"):
        homes.append(Path(compiler).resolve().parents[1])
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    for home in homes:
        folder = home / "include"
        if (folder / "jni.h").is_file():
            return [folder, *(path.parent for path in sorted(folder.glob("*/jni_md.h")))]
    return None


def library_sources() -> list[Path]:
    """All C files of the library."""
    return [*sorted(ANDROID_DIR.glob("*.c")), *engine_sources()]


def build_library(
    toolchain: Toolchain, output: Path, extra_flags: Sequence[str] = (), has_libc: bool = False
) -> None:
    """has_libc: the toolchain has headers of its own for jni.h. Raises EdgeAudioError."""
    jni_dirs = find_jni_dirs()
    if jni_dirs is None:
        raise EdgeAudioError(f"target android {JNI_MISSING}")
    shims = [] if has_libc else [ANDROID_DIR / "include"]
    include_dirs = [INCLUDE_DIR, *shims, *jni_dirs]
    compile_program(toolchain, library_sources(), output, include_dirs, extra_flags)


def build_android(job: BuildJob) -> Built:
    """What `write_android_folder` writes, unless there is no JDK. Raises EdgeAudioError."""
    if find_jni_dirs() is None:
        return Built(missing=JNI_MISSING)
    write_android_folder(job.folder, job.image)
    return Built(tuple(job.folder / "jniLibs" / abi / LIBRARY_NAME for abi in ABIS))


def write_android_folder(folder: Path, image: bytes, abis: Sequence[str] = ABIS) -> None:
    """Compiles and writes jniLibs/ABI/libedge_audio.so, java/, kotlin/ and assets/model.bin.

    image: the engine image. Raises EdgeAudioError, if zig or a JDK is missing too, or OSError.
    """
    for abi in abis:
        build_library(abi_toolchain(abi), folder / "jniLibs" / abi / LIBRARY_NAME)
    for language in ("java", "kotlin"):
        shutil.copytree(ANDROID_DIR / language, folder / language, dirs_exist_ok=True)
    (folder / IMAGE_PATH).parent.mkdir(parents=True, exist_ok=True)
    (folder / IMAGE_PATH).write_bytes(image)
