"""The shipped models on the 64-bit ARM of a Raspberry Pi, emulated: each replays its golden, and
real sounds give the same events as on this machine.

Real ARM wheels in an unpacked ARM Python, which `.ci/arm64-root build/arm64` brings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio.bundle.store import load_bundle, shipped_bundles
from tests.support.made_once import made_once
from tests.support.paths import REPOSITORY

ARM64_PYTHON = REPOSITORY / "build" / "arm64" / "python"
CPUS = {"Pi 4": "cortex-a72", "Pi 5": "cortex-a76"}  # only the second has int8 dot products
SHIPPED = [name for name in shipped_bundles() if "model.tflite" in load_bundle(name).manifest.files]
HANG_S = 240  # reached only by what never ends

CLIPS = (  # a minute, one class each; all of ESC fold 5, which no model was trained on
    "audio/esc10/5-203128-A.ogg",  # dog
    "audio/esc10/5-200334-A.ogg",  # rooster
    "audio/esc10/5-151085-A.ogg",  # crying baby
    "audio/esc10/5-170338-A.ogg",  # chainsaw
    "audio/esc50/5-169983-A.ogg",  # cat
    "audio/esc50/5-194899-A.ogg",  # cow
    "audio/esc50/5-198891-A.ogg",  # sheep
    "audio/esc50/5-214869-A.ogg",  # crow
    "audio/esc50/5-210540-A.ogg",  # crickets
    "audio/esc50/5-216368-A.ogg",  # snoring
    "audio/esc50/5-179294-A.ogg",  # church bells
    "audio/esc10/5-200461-A.ogg",  # sea waves
    "audio/esc50/5-242491-A.ogg",  # chirping birds
)
MIN_EVENTS = 20  # per model, starts and ends: enough that equal lists mean something

# All models in one process, since starting one takes longer than hearing a minute. Both print
# JSON by model; the first argument of HEAR is the recording.
REPLAY = """
import json, platform, sys
from edge_audio.bundle.store import load_bundle
from edge_audio.tagging.verify import verify_bundle

reports = {name: verify_bundle(load_bundle(name), "litert") for name in sys.argv[1:]}
found = {name: (report.failure, report.n_steps) for name, report in reports.items()}
print(json.dumps({"machine": platform.machine(), "found": found}))
"""
HEAR = """
import json, platform, sys
from edge_audio.sources.audio_file import AudioFile
from edge_audio.tagging.tagger import Tagger

def hear(name):
    tagger = Tagger.open(name, "litert")
    with AudioFile(sys.argv[1], tagger.sample_rate_hz) as source:
        events = [event for block in source.blocks() for event in tagger.push(block.samples)]
    return [(e.kind, e.label, e.time_s, e.score) for e in events + tagger.flush()]

found = {name: hear(name) for name in sys.argv[2:]}
print(json.dumps({"machine": platform.machine(), "found": found}))
"""
Heard = dict[str, list[tuple[str, str, float, float]]]
RunOnArm = Callable[..., dict[str, Any]]


def run_script(python: Path | str, script: str, *arguments: object, **environment: str) -> Any:
    """What the script prints, as JSON."""
    done = subprocess.run(
        [str(python), "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=CPUS)
def run_on_arm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RunOnArm:
    """run(name, script, *arguments) -> what it found, on each emulated processor in turn. Once for
    all tests that run it by this name: a minute of sound takes more than a minute there."""
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("no emulator qemu-aarch64-static: apt install qemu-user-static")
    if not ARM64_PYTHON.is_file():
        pytest.skip("no ARM Python in build/arm64: .ci/arm64-root build/arm64")
    cpu = CPUS[request.param]

    def run(name: str, script: str, *arguments: object) -> dict[str, Any]:
        def make(folder: Path) -> None:
            printed = run_script(ARM64_PYTHON, script, *arguments, QEMU_CPU=cpu)
            (folder / "printed.json").write_text(json.dumps(printed), encoding="utf-8")

        folder = made_once(tmp_path_factory, f"{name}-{cpu}", make)
        printed = json.loads((folder / "printed.json").read_text(encoding="utf-8"))
        assert printed["machine"] == "aarch64"
        found: dict[str, Any] = printed["found"]
        return found

    return run


@pytest.fixture(scope="module")
def replayed(run_on_arm: RunOnArm) -> dict[str, tuple[str | None, int]]:
    """model -> (what is wrong with its golden's replay or None, steps)"""
    return run_on_arm("arm-replay", REPLAY, *SHIPPED)


@pytest.fixture(scope="module")
def recording(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIPS one after the other, 16 kHz mono."""
    for clip in CLIPS:
        if not (data_dir / clip).is_file():
            pytest.skip(f"no {clip} in {data_dir}")
    pcm = [soundfile.read(data_dir / clip, dtype="int16")[0] for clip in CLIPS]
    path = tmp_path_factory.mktemp("arm64") / "minute.wav"
    soundfile.write(path, np.concatenate(pcm), 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def heard_on_arm(run_on_arm: RunOnArm, recording: Path) -> Heard:
    return run_on_arm("arm-hear", HEAR, recording, *SHIPPED)


@pytest.fixture(scope="module")
def heard_here(recording: Path) -> Heard:
    found: Heard = run_script(sys.executable, HEAR, recording, *SHIPPED)["found"]
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_the_golden_replays_on_arm(replayed: dict[str, tuple[str | None, int]], name: str) -> None:
    failure, n_steps = replayed[name]
    assert failure is None
    assert n_steps > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_real_sounds_give_the_same_events_on_arm_as_here(
    heard_on_arm: Heard, heard_here: Heard, name: str
) -> None:
    """Kind, label and time are equal; scores may differ in their last digits and are printed."""
    on_arm, here = heard_on_arm[name], heard_here[name]
    differences = [abs(one[3] - other[3]) for one, other in zip(on_arm, here, strict=False)]
    print(f"{name}: {len(here)} events, scores differ by up to {max(differences, default=0.0):.1e}")
    assert [event[:3] for event in on_arm] == [event[:3] for event in here]
    assert len(here) >= MIN_EVENTS
