"""Which kind a test is: the one table of markers, applied by tests/conftest.py.

A test of no kind is `quick`: it needs what `make check` installs and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import combinations

from _pytest.mark.expression import Expression

QUICK = "quick"

# Marker -> what its tests do. `make test-MARKER` runs them.
KINDS = {
    "train": "make mixtures and train networks (extras train, teachers)",
    "export": "export models and run them on every runtime (extras onnx, executorch, export)",
    "firmware": "compile the C engine and run it, also in QEMU (extra firmware)",
    "browser": "drive Chromium or Node (extra browser)",
    "android": "build for Android and run on a Java machine",
    "arm64": "run on an emulated 64-bit ARM",
    "soundcard": "listen to a virtual sound card of PulseAudio (extra mic)",
    "broker": "talk to a real MQTT broker, mosquitto",
    "real_audio": "hear recordings of $EDGE_AUDIO_DATA or models of $EDGE_AUDIO_PEERS",
    "soak": "take long: hours of audio, memory that must not grow, what befalls a long run",
}

WHOLE_PLACES = ("/*", "::*")  # how patterns of all tests of a folder or file end

# Pattern of node ids -> their kinds; all that match count.
BY_PLACE = {
    "tests/distill/*": ("train",),
    "tests/quantize/*": ("export",),
    "tests/project/test_compressor.py::*": ("export",),
    "tests/edge_audio/backends/test_executorch.py::*": ("export",),
    "tests/firmware_bridge/*": ("firmware",),
    "tests/firmware_bridge/builders/test_wasm.py::*": ("browser",),
    "tests/firmware_bridge/builders/test_browser.py::*": ("browser",),
    "tests/firmware_bridge/builders/android/*": ("android",),
    "tests/firmware_bridge/engine/test_fuzz.py::*": ("soak",),
    "tests/shipped/test_shipped_models.py::*": ("train", "real_audio"),
    "tests/shipped/test_arm64.py::*": ("arm64",),
    "tests/shipped/test_mobile_kotlin.py::*": ("android",),
    "tests/edge_audio/cli/test_report.py::test_a_browser*": ("browser",),
    "tests/edge_audio/page/browser/*": ("browser",),
    "tests/edge_audio/*native*": ("firmware",),
    "tests/edge_audio/*sanitizers*": ("firmware",),
    "tests/edge_audio/*_without_a_microphone_*": ("soundcard",),
    "tests/edge_audio/sources/test_microphone.py::*": ("soundcard",),
    "tests/project/test_wheel.py::test_a_wheel_has_the_engine*": ("firmware",),
    "tests/project/test_examples.py::test_firmware*": ("firmware",),
    "tests/project/test_examples.py::test_the_engine*": ("firmware",),
    "tests/project/test_examples.py::test_a_student*": ("train",),
    "tests/edge_audio/backends/*after_an_hour*": ("soak",),
    "tests/edge_audio/*takes_little_memory*": ("soak",),
    "tests/edge_audio/cli/test_bench.py::test_scaling*": ("soak",),
    "tests/edge_audio/*keeps_to_the_clock*": ("soak",),
    "tests/edge_audio/listening/test_chaos.py::*": ("soak",),
    "tests/edge_audio/listening/test_files_change.py::*": ("soak",),
    "tests/edge_audio/listening/test_reload.py::*": ("soak",),
    "tests/edge_audio/listening/test_said_while_drawing.py::*": ("soak",),
    "tests/edge_audio/listening/test_signals.py::*": ("soak",),
}

# Fixture -> the kind of every test that asks for it, by way of others too.
BY_FIXTURE = {
    "clip_list": "real_audio",
    "data_dir": "real_audio",
    "peers_dir": "real_audio",
    "make_sound_card": "soundcard",
    "broker": "broker",
    "program": "firmware",  # a device in C
    "library": "firmware",  # the link in C
}

# Kind -> the library that its test modules import as they are collected, and its extra.
LIBRARIES = {
    "train": ("torch", "train"),
    "export": ("torch", "train"),
    "firmware": ("torch", "train"),
}


def kinds_of_place(node_id: str) -> set[str]:
    """The kinds of a test, or of all tests of a file (its path and "::"), by where it is."""
    return {
        kind for pattern in BY_PLACE if fnmatchcase(node_id, pattern) for kind in BY_PLACE[pattern]
    }


def kinds_of(node_id: str, fixtures: Iterable[str]) -> set[str]:
    """All kinds of a test; {"quick"} if it is of none."""
    by_fixture = {BY_FIXTURE[name] for name in fixtures if name in BY_FIXTURE}
    return kinds_of_place(node_id) | by_fixture or {QUICK}


def missing_library(file_kinds: Iterable[str]) -> str | None:
    """What to install before a file of these kinds can be imported; None if nothing."""
    for kind in sorted(file_kinds):
        library, extra = LIBRARIES.get(kind, ("", ""))
        if library and find_spec(library) is None:
            return f"needs {library}: pip install 'edge-audio[{extra}]'"
    return None


@lru_cache
def is_left_out(mark_expression: str, place: str) -> bool:
    """Whether -m leaves out every test of a file ("path::") or folder ("path/"), whatever fixtures
    they ask for and whatever they are called."""
    if not mark_expression:
        return False
    expression = Expression.compile(mark_expression)
    kinds = kinds_of_place(place)
    more = {*BY_FIXTURE.values(), *_kinds_by_name(place)} - kinds
    named = sorted(kind for kind in more if kind in mark_expression)
    sets = (extra for n in range(len(named) + 1) for extra in combinations(named, n))
    possible = (kinds.union(extra) or {QUICK} for extra in sets)
    return not any(expression.evaluate(partial(_is_among, each)) for each in possible)


def _kinds_by_name(place: str) -> set[str]:
    """Those that tests of this place may have by what they are called."""
    found: set[str] = set()
    for pattern, kinds in BY_PLACE.items():
        begin = pattern.partition("*")[0]
        if not pattern.endswith(WHOLE_PLACES) and _overlap(begin, place):
            found.update(kinds)
    return found


def _overlap(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


def _is_among(kinds: Collection[str], name: str, /, **_: object) -> bool:
    return name in kinds
