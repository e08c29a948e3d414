"""What `import edge_audio` gives to other people's programs, and to their type checkers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import edge_audio
from tests.support.paths import REPOSITORY

PROGRAM = """\
import asyncio
import sys
from pathlib import Path

import numpy as np

import edge_audio
from edge_audio import Backend, Bundle, Event, EventSpec, PolicySpec, Segment, Step, Tagger, Tags
from edge_audio import Listening, Threshold

def people(path: Path) -> list[Segment]:
    tags: Tags = edge_audio.tag(path, only="Dog", threshold={"Dog": 0.4}, embedding=True)
    tags = edge_audio.tag(np.zeros((16_000, 2), np.int16), 16_000, policy=None)
    reveal_type(tags.scores)
    reveal_type(tags.by_label)
    best: list[tuple[str, float]] = tags.top(3)
    for each in edge_audio.tag_files([path, str(path)], n_processes=2, sensitivity="quiet"):
        print(each.error, each.duration_s, each.embedding, best)
        each.to_pandas(), each.to_arrow(), each.scores_to_pandas()
    with Tagger.open(path, "native", only=["Dog"], rate_hz=44_100, gate_dbfs=-60) as tagger:
        other: Tagger = tagger.another()
        reveal_type(other.embedding)
        print(tagger.by_label["Dog"], tagger.top(2), other)
    return tags.segments

def live() -> Listening:
    chunks = (np.zeros(800, np.float32) for _ in range(3))
    with edge_audio.listen(chunks, rate_hz=8_000, policy=PolicySpec(cooldown_s=1.0)) as events:
        for event in events:
            reveal_type(event)
    listening = edge_audio.listen(device="usb", duration_s=3.0, exclude=["Music"])
    for step in listening.steps():
        print(step.time_s, listening.tagger.labels)
    listening.run(on_event=print)
    listening.start(on_event=lambda event: print(event.label), on_step=print, on_end=print)
    assert listening.wait(1.0)
    listening.stop()
    return listening

async def awaited() -> None:
    async for event in edge_audio.listen("demo", realtime=True):
        reveal_type(event.label)

def main(path: str | Path) -> list[Event]:
    bundle: Bundle = edge_audio.load_bundle(path)
    backend: Backend = edge_audio.open_backend(bundle, "auto")
    spec = EventSpec(thresholds={"Dog": Threshold(on=0.5, off=0.4)})
    tagger = Tagger(bundle, backend, spec)
    events = tagger.push(np.zeros(16_000, np.int16))
    for step in tagger.steps(np.zeros(16_000, np.float32)):
        events += step.events
        reveal_type(step)
        reveal_type(step.time_s)
        reveal_type(step.scores)
    events += tagger.flush()
    reveal_type(edge_audio.select_events)
    reveal_type(edge_audio.verify_bundle)
    reveal_type(edge_audio.shipped_bundles())
    reveal_type(edge_audio.__version__)
    return sorted(events, key=lambda event: event.time_s)

try:
    print(main(sys.argv[1]), people(Path()), live(), asyncio.run(awaited()))
except edge_audio.EdgeAudioError as error:
    print(error, step := None)
"""
REVEALED = {
    "edge_audio.tagging.step_reporter.Step",
    "float",
    "ndarray[",
    "def (",
    "list[str]",
    "str",
}


@pytest.mark.parametrize("name", edge_audio.__all__)
def test_every_public_name_is_there_and_stays(name: str) -> None:
    value = getattr(edge_audio, name)
    assert vars(edge_audio)[name] is value  # looked up once
    assert name in dir(edge_audio)


def test_names_that_are_not_there_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'edge_audio' has no attribute 'Taggr'"):
        edge_audio.Taggr  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Taggr"):
        exec("from edge_audio import Taggr")


def test_the_version_is_that_of_the_installation() -> None:
    assert edge_audio.__version__ == version("edge-audio")


def in_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_all_names_come_with_a_star_and_dir_shows_them_before_they_are_used() -> None:
    code = "import edge_audio; print(set(edge_audio.__all__) - set(dir(edge_audio)))"
    assert in_python(code) == "set()"
    code = (
        "from edge_audio import *; import edge_audio as e; print(set(e.__all__) - set(globals()))"
    )
    assert in_python(code) == "set()"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, edge_audio; print({'numpy', 'msgspec', 'click'} & set(sys.modules))"
    assert in_python(code) == "set()"


def checked(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """What mypy says of a program of somebody else, who finds the package by its path."""
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(program)
    options = ["--strict", "--cache-dir", str(REPOSITORY / ".mypy_cache" / "programs")]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--follow-imports=silent", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_that_uses_the_package_passes_a_strict_type_check(tmp_path: Path) -> None:
    done = checked(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stdout
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == PROGRAM.count("reveal_type")
    assert not [text for text in revealed if text == "Any"]
    for expected in REVEALED:
        assert [text for text in revealed if expected in text], expected


def test_a_program_with_a_misspelt_name_or_a_wrong_type_does_not_pass(tmp_path: Path) -> None:
    done = checked(
        tmp_path,
        "from edge_audio import Tagger, Taggr\n"
        "Tagger.open(3)\n"
        "events: int = Tagger.open('tiny-int8').flush()\n",
    )
    lines = done.stdout.splitlines()
    assert [line.partition(": error: ")[0] for line in lines[:-1]] == [
        f"program.py:{n}" for n in (1, 2, 3)
    ]
