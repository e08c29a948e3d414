"""The Android target, without Android: its Java and Kotlin on a JVM of this machine with a library
compiled for it, and the libraries for phones under emulators, with a made-up JNI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.engine.image import build_image
from edge_audio.events.detector import Event
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.builders.android import (
    ABIS,
    ANDROID_DIR,
    IMAGE_PATH,
    JNI_MISSING,
    LIBRARY_NAME,
    abi_toolchain,
    build_library,
    find_jni_dirs,
)
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import INCLUDE_DIR, TOOLCHAINS, Toolchain
from tests.support.paths import REPOSITORY
from tests.support.real_audio import soundscape

HERE = Path(__file__).parent
ROOT = REPOSITORY
JAVA_SOURCES = [
    *sorted((ANDROID_DIR / "java").rglob("*.java")),
    *sorted((HERE / "java").rglob("*.java")),
]
KOTLIN_SOURCES = [*sorted((ANDROID_DIR / "kotlin").rglob("*.kt")), HERE / "java" / "TaggerCheck.kt"]
KOTLIN_PACKAGE = "kotlin-compiler@2.2.20"
KOTLIN_DIR = ROOT / "build" / "kotlin" / "node_modules" / "kotlin-compiler"
NATIVE_PREFIX = "Java_io_github_edgeaudio_engine_EdgeAudioNative_native"
HANG_S = 120  # reached only by what never ends
DIRECT_MEMORY_MB = 32
SCORE_TOLERANCE = 0.005  # the engine rounds activations to 16 bits, LiteRT does not
MODEL = "tiny-int8"
TRAPS = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
SOFT_FLOAT_FLAG = 2  # in the second byte of e_flags

# Just what Listener.kt uses of Android: types that fit together, not a proof that Android has them.
ANDROID_OUTLINE = {
    "Annotation.kt": """package android.annotation
        annotation class SuppressLint(vararg val value: String)""",
    "Content.kt": """package android.content
        import java.io.InputStream
        class Assets { fun open(name: String): InputStream = name.byteInputStream() }
        abstract class Context {
            val assets = Assets()
            abstract fun <T> getSystemService(type: Class<T>): T
        }""",
    "Media.kt": """package android.media
        object AudioFormat { const val CHANNEL_IN_MONO = 16; const val ENCODING_PCM_16BIT = 2 }
        object MediaRecorder {
            object AudioSource { const val UNPROCESSED = 9; const val VOICE_RECOGNITION = 6 }
        }
        class AudioManager {
            fun getProperty(key: String): String? = key
            companion object { const val PROPERTY_SUPPORT_AUDIO_SOURCE_UNPROCESSED = "" }
        }
        class AudioRecord(source: Int, rate: Int, channel: Int, encoding: Int, nBytes: Int) {
            val state = source + rate + channel + encoding + nBytes
            fun startRecording() {}
            fun read(pcm: ShortArray, first: Int, n: Int): Int = pcm.size - first - n
            fun release() {}
            companion object {
                const val STATE_INITIALIZED = 1
                fun getMinBufferSize(rate: Int, channel: Int, encoding: Int) =
                    rate + channel + encoding
            }
        }""",
}

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


# Events and scores


Row = tuple[str, int, int]


def parsed(text: str) -> tuple[list[Row], list[float]]:
    """(kind, sample, label) and the score of each event that EngineCheck printed."""
    found = re.findall(r"^(start|end) (\d+) (\d+) ([0-9a-f]{8})$", text, re.MULTILINE)
    rows = [(kind, int(sample), int(label)) for kind, sample, label, _ in found]
    return rows, [float(number) for number in floats([bits for *_, bits in found])]


def floats(words: Sequence[str]) -> np.ndarray:
    return np.array([int(word, 16) for word in words], np.uint32).view(np.float32)


def expected(bundle: Bundle, events: Sequence[Event]) -> tuple[list[Row], list[float]]:
    labels = bundle.manifest.labels
    rate_hz = bundle.manifest.model.frontend.sample_rate_hz
    rows: list[Row] = [(x.kind, round(x.time_s * rate_hz), labels.index(x.label)) for x in events]
    return rows, [x.score for x in events]


@pytest.mark.parametrize("model", ["micro-int8", MODEL])
def test_events_are_those_of_the_python_tagger(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray, model: str
) -> None:
    """With LiteRT: where a score nearly touches its threshold, an event may be a step off."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    tagger = Tagger.open(model, "litert")
    pushed, last_scores = tagger.push(samples), tagger.scores.copy()
    rows, scores = expected(tagger.bundle, [*pushed, *tagger.flush()])
    text = check("events", work_dir / f"{model}.bin", pcm, "array:1000")
    found_rows, found_scores = parsed(text)
    assert len(rows) >= 10
    assert [row[::2] for row in found_rows] == [row[::2] for row in rows]  # kinds and labels
    n_off = np.abs([a[1] - b[1] for a, b in zip(found_rows, rows, strict=True)])
    assert n_off.max() <= tagger.bundle.manifest.model.step_samples
    assert np.mean(n_off > 0) <= 0.1
    np.testing.assert_allclose(found_scores, scores, atol=SCORE_TOLERANCE)
    (line,) = re.findall(r"^scores (.*)$", text, re.MULTILINE)
    np.testing.assert_allclose(floats(line.split()), last_scores, atol=SCORE_TOLERANCE)
    assert f"heard {len(samples)} " in text


def test_events_are_exactly_those_of_the_python_tagger_with_this_engine(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray
) -> None:
    tagger = Tagger.open(MODEL, "native")
    pushed, last_scores = tagger.push(samples), tagger.scores.copy()
    events = [*pushed, *tagger.flush()]
    text = check("events", work_dir / f"{MODEL}.bin", pcm, "array:1000")
    assert parsed(text) == expected(tagger.bundle, events)
    (line,) = re.findall(r"^scores (.*)$", text, re.MULTILINE)
    assert floats(line.split()).tobytes() == last_scores.tobytes()


def test_pieces_of_any_length_give_the_same_bits(check: Run, work_dir: Path, pcm: Path) -> None:
    plans = ("array:1000", "offset:37", "offset:50000", "buffer:1280", "buffer:9999999")
    texts = {check("events", work_dir / f"{MODEL}.bin", pcm, plan) for plan in plans}
    assert len(texts) == 1


def test_streams_on_two_threads_do_not_mix(
    check: Run, work_dir: Path, pcm: Path, samples: np.ndarray
) -> None:
    image, other = work_dir / f"{MODEL}.bin", work_dir / "backwards.s16"
    other.write_bytes(samples[::-1].astype("<i2").tobytes())
    alone = [check("events", image, path, "array:1280") for path in (pcm, other)]
    assert alone[0] != alone[1]
    assert check("threads", image, pcm, other).split("---\n") == [*alone, ""]


def test_a_stream_can_be_closed_while_threads_use_it(check: Run, work_dir: Path, pcm: Path) -> None:
    text = check("together", work_dir / f"{MODEL}.bin", pcm)
    assert text.splitlines() == 2 * ["the stream is closed: make a new one"]


def test_memory_is_freed_with_the_objects(check: Run, work_dir: Path) -> None:
    image = work_dir / f"{MODEL}.bin"
    assert 300 * image.stat().st_size > 2 * DIRECT_MEMORY_MB * 2**20
    assert check("many", image) == f"{300 * 2}\n"


def test_facts_are_those_of_the_bundle(check: Run, work_dir: Path) -> None:
    path = work_dir / f"{MODEL}.bin"
    manifest = load_bundle(MODEL).manifest
    lines = check("facts", path).splitlines()
    assert f"rate {manifest.model.frontend.sample_rate_hz}" in lines
    assert f"step {manifest.model.step_samples}" in lines
    assert f"crc32 {int.from_bytes(path.read_bytes()[12:16], 'little')}" in lines
    labels = [line.split(" ", 3) for line in lines if line.startswith("label ")]
    assert [name for *_, name in labels] == list(manifest.labels)
    for _, on, off, name in labels:
        threshold = manifest.events.thresholds.get(name)
        pair = (threshold.on, threshold.off) if threshold else (0.0, 0.0)
        np.testing.assert_array_equal(floats([on, off]), np.array(pair, np.float32))


def test_a_label_may_have_any_character(check: Run, work_dir: Path) -> None:
    image = (work_dir / f"{MODEL}.bin").read_bytes()
    body = image[16:].replace(b"Speech\0", "é🐶".encode() + b"\0", 1)
    path = work_dir / "characters.bin"
    path.write_bytes(image[:12] + zlib.crc32(body).to_bytes(4, "little") + body)
    assert " é🐶\n" in check("facts", path)


# Mistakes


FINE = "fine"
IMAGE, CLOSED = "ImageException", "IllegalStateException"
ARGUMENT, BOUNDS = "IllegalArgumentException", "IndexOutOfBoundsException"
NULL = "NullPointerException"
MISTAKES = {
    "empty image": IMAGE,
    "text": IMAGE,
    "truncated image": IMAGE,
    "half an image": IMAGE,
    "longer image": IMAGE,
    "altered image": IMAGE,
    "other version": IMAGE,
    "null array": NULL,
    "null buffer": NULL,
    "unaligned image": FINE,
    "null model": NULL,
    "null samples": NULL,
    "null sample buffer": NULL,
    "negative offset": BOUNDS,
    "negative length": BOUNDS,
    "beyond the end": BOUNDS,
    "overflowing length": BOUNDS,
    "nothing at the end": FINE,
    "heap buffer": ARGUMENT,
    "wrong byte order": ARGUMENT,
    "odd address": ARGUMENT,
    "read-only buffer": FINE,
    "short scores": ARGUMENT,
    "long scores": FINE,
    "null scores": NULL,
    "label -1": ARGUMENT,
    "label beyond": ARGUMENT,
    "threshold of label -1": ARGUMENT,
    "threshold above 1": ARGUMENT,
    "off above on": ARGUMENT,
    "not a number": ARGUMENT,
    "good threshold": FINE,
    "still works": FINE,
    "push when closed": CLOSED,
    "buffer when closed": CLOSED,
    "flush when closed": CLOSED,
    "reset when closed": CLOSED,
    "scores when closed": CLOSED,
    "steps when closed": CLOSED,
    "samples when closed": CLOSED,
    "threshold when closed": CLOSED,
    "set threshold when closed": CLOSED,
    "another stream": FINE,
}


def test_each_mistake_is_an_exception_that_says_what_to_do(check: Run, work_dir: Path) -> None:
    text = check("errors", work_dir / f"{MODEL}.bin")
    found = dict(line.split(": ", 1) for line in text.splitlines())
    assert {name: value.split(":")[0] for name, value in found.items()} == MISTAKES
    assert "CRC-32" in found["altered image"]
    assert "edge-audio firmware build" in found["truncated image"]
    assert "version" in found["other version"]
    assert "make a new one" in found["push when closed"]


def test_native_methods_check_what_java_never_gives_them(check: Run, work_dir: Path) -> None:
    lines = check("natives", work_dir / f"{MODEL}.bin").splitlines()
    by_buffer = {  # what is returned for a buffer that is ...
        "null": -35,
        "not direct": -33,
        "too small": -6,
        "not aligned": -5,
        "of zeros": -32,
        "a copy": -32,
    }
    start, n_methods = 1, 14
    for kind, status in by_buffer.items():
        part = lines[start : start + n_methods]
        opened = -35 if status == -32 else status  # these two are not offered to it
        assert part[:3] == [f"open {opened}", f"fact {status}", "label null"], kind
        assert {line.split()[1] for line in part[3:]} == {str(status)}, kind
        start += n_methods
    rest = [line.rpartition(" ") for line in lines[start:]]
    assert [(name, value) for name, _, value in rest] == [
        ("fact", "-1"),
        ("label", "null"),
        ("label", "null"),
        ("small stream", "-6"),
        ("not a model", "-32"),
        ("not a stream", "-32"),
        ("no image", "-35"),
        ("create", "0"),
        *[("bounds", "-34")] * 5,
        *[("no samples", "-35")] * 2,
        ("no events", "-35"),
        ("heap events", "-33"),
        ("tiny events", "-6"),
        ("short pair", "-6"),
        ("no pair", "-35"),
        ("no scores", "-35"),
        ("no buffer", "-35"),
        ("heap buffer", "-33"),
        ("fine", "0"),
        ("samples", "100"),
        ("destroy", "0"),
        ("destroy", "-32"),
    ]


# Kotlin


@pytest.fixture(scope="session")
def kotlin_jar(work_dir: Path, classes: Path) -> Path:
    """All Kotlin, compiled; Listener.kt against an outline of Android."""
    compiler = shutil.which("kotlinc") or KOTLIN_DIR / "bin" / "kotlinc"
    if not Path(compiler).is_file():
        folder = KOTLIN_DIR.parents[1].relative_to(ROOT)
        pytest.skip(f"needs kotlinc: npm install --prefix {folder} {KOTLIN_PACKAGE}")
    outline = work_dir / "outline"
    outline.mkdir()
    for name, text in ANDROID_OUTLINE.items():
        (outline / name).write_text(text, encoding="utf-8")
    jar = work_dir / "kotlin.jar"
    sources = [*KOTLIN_SOURCES, *sorted(outline.iterdir())]
    options = ("-Werror", "-Xjdk-release=11", "-include-runtime", "-cp", classes, "-d", jar)
    run("bash", compiler, *options, *sources)
    return jar


def test_kotlin_hears_the_same_events(
    java: Run, check: Run, kotlin_jar: Path, work_dir: Path, pcm: Path, samples: np.ndarray
) -> None:
    image, manifest = work_dir / f"{MODEL}.bin", load_bundle(MODEL).manifest
    lines = java("TaggerCheckKt", image, pcm, jar=kotlin_jar).splitlines()
    events = [line.split("\t") for line in lines if "\t" in line]
    rate_hz = manifest.model.frontend.sample_rate_hz
    rows, scores = parsed(check("events", image, pcm, "array:1280"))
    assert rows == [
        (kind, round(float(time_s) * rate_hz), manifest.labels.index(label))
        for kind, time_s, _, label in events
    ]
    assert np.array(scores, np.float32).tolist() == [np.float32(score) for _, _, score, _ in events]
    n_steps = (len(samples) - manifest.model.overlap_samples) // manifest.model.step_samples
    assert f"heard {len(samples) / rate_hz} {n_steps} {len(manifest.labels)}" in lines
    assert lines[-3:] == [
        "threshold (0.5, 0.25) 0.0",
        "the model has no label 'no such label': see Tagger.labels",
        "the stream is closed: make a new one",
    ]


# The C source and the libraries for phones


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
    page = (ROOT / "docs" / "android.md").read_text(encoding="utf-8")
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
