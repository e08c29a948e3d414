"""Programs of docs/python.md run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from edge_audio.bundle.store import load_bundle
from edge_audio.sources.demo import DemoScene
from tests.support.paths import REPOSITORY
from tests.support.runtimes import require_any_runtime

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With street.wav, in which tiny-int8 finds events, and a folder of recordings."""
    require_any_runtime(load_bundle("tiny-int8"))
    path = tmp_path_factory.mktemp("programs")
    (path / "recordings").mkdir()
    samples = DemoScene(16_000).first(56.0)
    soundfile.write(path / "street.wav", samples, 16_000)
    for i in range(2):
        soundfile.write(path / "recordings" / f"{i}.wav", samples[i * 80_000 :][:80_000], 16_000)
    return path


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_page_runs(folder: Path, number: int) -> None:
    """The file stands for the microphone."""
    code = PROGRAMS[number].replace("edge_audio.listen()", 'edge_audio.listen("street.wav")')
    (folder / "program.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""
