"""The Kotlin of the Android target, compiled against an outline of Android and run on a JVM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from firmware_bridge.builders.android import (
    ANDROID_DIR,
)
from tests.firmware_bridge.builders.android.android_build import HERE, MODEL, Run, parsed, run
from tests.support.kotlin import kotlinc

KOTLIN_SOURCES = [*sorted((ANDROID_DIR / "kotlin").rglob("*.kt")), HERE / "java" / "TaggerCheck.kt"]

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


@pytest.fixture(scope="session")
def kotlin_jar(work_dir: Path, classes: Path) -> Path:
    """All Kotlin, compiled; Listener.kt against an outline of Android."""
    compiler = kotlinc()
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
