"""The Kotlin of the phone samples that needs no phone, compiled and run on a JVM: the events are
those of Python, by the unit test that comes with the samples."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.events.policy import RELATED
from tests.support.kotlin import kotlinc
from tests.support.paths import REPOSITORY
from tests.support.phone_samples import ANDROID, PURE
from tests.support.scripts import load_script

TEST = "EventDetectorTest"
JARS = [Path("/usr/share/java") / name for name in ("junit4.jar", "com.android.json.jar")]
HAMCREST = Path("/usr/share/java/hamcrest.jar")  # which junit4 needs
N_SEEDS = 200
HANG_S = 300

contract = load_script(REPOSITORY / "benchmarks" / "mobile_contract.py")


@pytest.fixture(scope="module")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Everything that the unit test needs."""
    jar = tmp_path_factory.mktemp("kotlin") / "mobile.jar"
    if shutil.which("java") is None or not all(path.is_file() for path in [*JARS, HAMCREST]):
        pytest.skip("needs java: apt-get install default-jdk-headless junit4 libandroid-json-java")
    sources = [path for path in ANDROID.rglob("*.kt") if path.stem in (*PURE, TEST)]
    assert len(sources) == len(PURE) + 1
    libraries = os.pathsep.join(map(str, JARS))
    options = ("-Werror", "-Xjdk-release=17", "-include-runtime", "-cp", libraries, "-d", jar)
    command = ["bash", *map(str, [kotlinc(), *options, *sources])]
    subprocess.run(command, check=True, timeout=HANG_S)
    return os.pathsep.join(map(str, [jar, *JARS, HAMCREST]))


def replay(class_path: str, golden: Path) -> subprocess.CompletedProcess[str]:
    command = ["java", f"-Ddetector_golden={golden}", "-cp", class_path]
    runner = ["org.junit.runner.JUnitCore", f"io.github.edgeaudio.{TEST}"]
    return subprocess.run(
        [*command, *runner], capture_output=True, text=True, check=False, timeout=HANG_S
    )


def written(folder: Path, golden: object) -> Path:
    path = folder / "golden.json"
    path.write_bytes(msgspec.json.encode(golden))
    return path


def test_the_golden_is_replayed(class_path: str) -> None:
    done = replay(class_path, contract.GOLDEN)
    assert done.returncode == 0, done.stdout


def test_many_sounds_of_related_labels_are_reported_as_by_python(
    class_path: str, tmp_path: Path
) -> None:
    golden = msgspec.json.decode(contract.GOLDEN.read_bytes(), type=contract.DetectorGolden)
    model = load_bundle(contract.DEFAULT_MODEL).manifest.model
    cases = [
        contract.related_case(seed, related, model)
        for related in RELATED
        for seed in range(100, 100 + N_SEEDS)
    ]
    done = replay(class_path, written(tmp_path, msgspec.structs.replace(golden, cases=cases)))
    assert done.returncode == 0, done.stdout


def test_an_event_that_comes_a_step_later_is_noticed(class_path: str, tmp_path: Path) -> None:
    golden = msgspec.json.decode(contract.GOLDEN.read_bytes())
    golden["cases"][-1]["events"][-3]["step"] += 1
    done = replay(class_path, written(tmp_path, golden))
    assert done.returncode != 0
    assert "related: first" in done.stdout
