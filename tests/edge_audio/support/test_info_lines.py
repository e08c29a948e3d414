"""Native code announces itself to nobody, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.support.info_lines import without_info_lines
from tests.support.runtimes import require_runtimes


def test_lines_of_info_are_dropped_and_others_follow(capfd: pytest.CaptureFixture[str]) -> None:
    with without_info_lines():
        os.write(2, b"INFO: a delegate\nWARNING: hot\n")
        os.write(2, b"INFO: another\n")
    os.write(2, b"INFO: of somebody else\n")
    assert capfd.readouterr().err == "WARNING: hot\nINFO: of somebody else\n"


def test_an_error_within_leaves_standard_error_as_it_was(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        os.write(2, b"before it\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), without_info_lines():
        fail()
    os.write(2, b"after it\n")
    assert capfd.readouterr().err == "before it\nafter it\n"


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_it_works_where_standard_error_is_closed() -> None:
    module = "edge_audio.support.info_lines"
    code = f"import os; os.close(2); from {module} import without_info_lines as quiet\n"
    assert in_python(f"{code}with quiet(): print('here')").stdout == "here\n"


def test_opening_a_model_says_nothing() -> None:
    require_runtimes("litert")
    assert "model.tflite" in load_bundle("tiny-int8").manifest.files
    done = in_python("import edge_audio; edge_audio.Tagger.open('tiny-int8', 'litert')")
    assert done.stdout == done.stderr == ""
