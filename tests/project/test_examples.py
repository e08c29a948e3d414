"""Every example runs, and does what its first line says."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_audio import Event, EventSpec, Tagger, Threshold, tag
from edge_audio.sources.demo import DemoScene
from tests.support.paths import REPOSITORY
from tests.support.runtimes import require_runtimes
from tests.support.virtual_sound_card import VirtualSoundCard

EXAMPLES = REPOSITORY / "examples"
RATE_HZ = 16_000
MAX_LINES = 40
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """56 s of the demo scene, in which tiny-int8 finds events."""
    path = tmp_path_factory.mktemp("street") / "street.wav"
    soundfile.write(path, DemoScene(RATE_HZ).first(56.0), RATE_HZ)
    return path


def run(*command: object, folder: Path | None = None, path: str = os.environ["PATH"]) -> str:
    """What an example prints."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(name: str, *arguments: object) -> str:
    return run(sys.executable, EXAMPLES / name, *arguments)


@pytest.fixture
def edge_audio_on_path(tmp_path: Path) -> str:
    """A PATH on which `edge-audio` is that of this tree."""
    program = tmp_path / "bin" / "edge-audio"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge_audio "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_every_example_is_short_listed_and_tested() -> None:
    names = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}
    tested = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f'"{name}"' not in tested} == set()
    assert {name for name in names if f"({name})" not in listed} == set()
    texts = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in names}
    lengths = {name: sum(map(bool, text.splitlines())) for name, text in texts.items()}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_a_file_is_tagged(street: Path) -> None:
    printed = python("tag_file.py", street)
    assert re.search(r"^ +\d+\.\d\d to +\d+\.\d\d s  0\.\d\d  \S", printed, re.MULTILINE)


def test_the_notebook_runs(street: Path) -> None:
    """Cell by cell in one session, with what notebooks show of the last value of each."""
    pytest.importorskip("pandas")
    require_runtimes("native")
    notebook = json.loads((EXAMPLES / "recording.ipynb").read_text(encoding="utf-8"))
    cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    printed = run(sys.executable, "-c", SESSION, json.dumps(cells), folder=street.parent)
    assert printed.count("<table") >= 3
    assert "most alike: " in printed
    assert len(re.findall(r"^ *\d+\.\d\d s  (?:start|end)  ", printed, re.MULTILINE)) == 3


SESSION = """
import ast, json, sys
names = {}
for cell in json.loads(sys.argv[1]):
    *most, last = ast.parse(cell).body
    exec(compile(ast.Module(most, []), "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), "cell", "exec"), names)
        continue
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    print(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
"""


def test_a_file_of_another_rate_and_two_channels_is_tagged(tmp_path: Path, street: Path) -> None:
    samples, _ = soundfile.read(street)
    soundfile.write(tmp_path / "fast.wav", np.stack([samples, samples], 1), 2 * RATE_HZ)
    assert python("tag_file.py", tmp_path / "fast.wav") != python("tag_file.py", street)


def test_scores_of_a_microphone(
    virtual_sound_card: VirtualSoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in virtual_sound_card.environment.items():
        monkeypatch.setenv(name, value)
    printed = python("live_scores.py", 2)
    assert len(printed.splitlines()) >= 20  # of 25 steps, the first of which needs more


def test_thresholds_of_ones_own(street: Path) -> None:
    first, *others = python("own_thresholds.py", street).splitlines()
    assert re.fullmatch(r"\{'Ocean': 0\.\d+, 'Siren': 0\.4\}", first)
    named = {label for line in others for label in re.findall(r"label='(\w+)'", line)}
    thresholds = {"Ocean": Threshold(on=0.4, off=0.2), "Siren": Threshold(on=0.5, off=0.3)}
    own = EventSpec(smoothing_s=0.16, min_on_s=0.3, min_off_s=1.0, thresholds=thresholds)
    assert named == {event.label for event in heard(street, own)}


def heard(path: Path, spec: EventSpec | None = None) -> list[Event]:
    """By the shipped model, which hears something."""
    samples, _ = soundfile.read(path, dtype="float32")
    tagger = Tagger.open("tiny-int8", events=spec)
    events = tagger.push(samples) + tagger.flush()
    assert events
    return events


def test_streams_share_a_model_and_not_their_state(tmp_path: Path, street: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8 * RATE_HZ), RATE_HZ)
    both = python("many_streams.py", street, tmp_path / "quiet.wav").splitlines()
    alone = python("many_streams.py", street).splitlines()
    assert alone
    assert [line for line in both if line.startswith("street")] == alone


def test_a_sink_of_ones_own_receives_every_event(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "sounds.sqlite"
    python("own_sink.py", street, file)
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT kind, label FROM events ORDER BY time_s").fetchall()
    assert len(rows) == 2 * len(python("tag_file.py", street).splitlines())


def test_a_shell_reacts_to_each_start(street: Path, edge_audio_on_path: str) -> None:
    starts = Counter(event.label for event in heard(street) if event.kind == "start")
    ((label, n),) = starts.most_common(1)
    printed = run("sh", EXAMPLES / "json_lines.sh", street, label, path=edge_audio_on_path)
    assert [line.partition(":")[0] for line in printed.splitlines()] == ["Quiet, please"] * n


@pytest.fixture
def raw(tmp_path: Path, street: Path) -> Path:
    """The same as raw 16-bit samples."""
    samples, _ = soundfile.read(street, dtype="int16")
    samples.tofile(tmp_path / "street.pcm")
    return tmp_path / "street.pcm"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_firmware_is_built_tested_and_hears_a_recording(raw: Path, edge_audio_on_path: str) -> None:
    printed = run("sh", EXAMPLES / "firmware.sh", raw, path=edge_audio_on_path)
    assert '"samples":896000' in printed


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_engine_tags_a_wav_file(tmp_path: Path, street: Path) -> None:
    build = ("firmware", "build", "tiny-int8", "--target", "c", "--out", tmp_path / "engine")
    run(sys.executable, "-m", "edge_audio", *build)
    shutil.copy(EXAMPLES / "tag_wav.c", tmp_path)
    source = (EXAMPLES / "tag_wav.c").read_text()
    compile_line = re.search(r"^ \*     (cc .*)$", source, re.MULTILINE)
    assert compile_line is not None
    run("sh", "-c", compile_line[1], folder=tmp_path)
    printed = run(tmp_path / "tag_wav", street)
    told = re.findall(r"^ *\d+\.\d\d s  start  (.+)  0\.\d\d$", printed, re.MULTILINE)
    assert set(told) == {event.label for event in tag(street).events}  # one sound, one event


def test_a_student_with_a_mixer_of_ones_own() -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    assert python("own_mixer.py").startswith("10 steps as in training")


@pytest.mark.parametrize(
    "name", ["tag_file.py", "own_thresholds.py", "many_streams.py", "own_sink.py"]
)
def test_an_example_without_arguments_says_how_it_is_called(name: str) -> None:
    said = refused(name)
    assert f"python {name}" in said
    assert "Traceback" not in said


def test_an_example_without_a_microphone_says_so() -> None:
    said = refused("live_scores.py", 1, "no such microphone")
    assert said.splitlines()[-1].startswith(("no microphone: ", "this needs a microphone"))
    assert "Traceback" not in said


@pytest.mark.skipif(find_spec("sounddevice") is None, reason="needs the mic extra")
def test_an_example_for_a_microphone_says_how_it_is_called() -> None:
    assert "python live_scores.py" in refused("live_scores.py", "soon")


def refused(name: str, *arguments: object) -> str:
    """What an example says that cannot do what is asked of it."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr
