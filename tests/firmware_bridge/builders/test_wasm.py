"""The WebAssembly target under Node: what is in the module, what it computes, what it takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.events.detector import Event
from edge_audio.events.policy import ONE_SOUND
from edge_audio.features.frontend import open_frontend
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.builders.wasm import WEB_DIR
from tests.firmware_bridge.web_build import (
    HANG_S,
    MODULE_FILES,
    build_web_folder,
    clips,
    compared,
    records,
    run_node,
)
from tests.support.paths import REPOSITORY
from tests.support.real_audio import soundscape

MODULE_BYTES = 200_000
IMPORTS_SECTION, EXPORTS_SECTION = 2, 7
DOCS = REPOSITORY / "docs"
PROBE = Path(__file__).with_name("engine_probe.mjs")


@pytest.fixture(scope="session")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_web_folder(tmp_path_factory.mktemp("web") / "tiny", "tiny-int8")


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each section of a WebAssembly module."""
    assert module[:8] == b"\0asm\1\0\0\0"
    at = 8
    while at < len(module):
        number = module[at]
        n_bytes, at = _unsigned(module, at + 1)
        yield number, module[at : at + n_bytes]
        at += n_bytes


def _unsigned(module: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number and what follows it."""
    value, shift = 0, 0
    while True:
        value |= (module[at] & 0x7F) << shift
        if module[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7


def test_module_imports_nothing_and_exports_its_own_names_only(web_folder: Path) -> None:
    content = dict(sections((web_folder / "edge_audio.wasm").read_bytes()))
    assert IMPORTS_SECTION not in content
    n_exports, at = _unsigned(content[EXPORTS_SECTION], 0)
    names = []
    for _ in range(n_exports):
        n_bytes, at = _unsigned(content[EXPORTS_SECTION], at)
        names.append(content[EXPORTS_SECTION][at : at + n_bytes].decode())
        _, at = _unsigned(content[EXPORTS_SECTION], at + n_bytes + 1)
    assert "memory" in names
    assert [name for name in names if not name.startswith("edge_audio_")] == ["memory"]


def test_module_is_small(web_folder: Path) -> None:
    assert (web_folder / "edge_audio.wasm").stat().st_size <= MODULE_BYTES


def test_node_hears_the_events_that_python_hears(web_folder: Path, data_dir: Path) -> None:
    samples = soundscape(data_dir, 60)
    tagger = Tagger.open("tiny-int8", policy=ONE_SOUND)
    expected = tagger.push(samples) + tagger.flush()
    found = records(run_node(web_folder / "run.mjs", stdin=samples.tobytes()))
    (end,) = (record for record in found if "steps" in record)
    assert end["samples"] == len(samples)
    assert end["steps"] == (len(samples) - 240) // 1280
    assert end["kernels"] == "wasm-simd"
    events = [
        Event(record["kind"], record["label"], record["time_s"], record["score"])
        for record in found
        if "kind" in record
    ]
    assert len(expected) >= 8
    assert compared(events) == compared(expected)
    difference = [a.score - b.score for a, b in zip(events, expected, strict=True)]
    assert np.abs(difference).max() <= 0.02


def test_run_reads_a_file_and_says_what_is_wrong(web_folder: Path, tmp_path: Path) -> None:
    recording = tmp_path / "zeros.raw"
    recording.write_bytes(bytes(2 * 16_000 + 1))
    from_file = run_node(web_folder / "run.mjs", "--steps", recording)
    from_pipe = run_node(web_folder / "run.mjs", "--steps", stdin=recording.read_bytes())
    assert from_file == from_pipe
    assert [record["step"] for record in records(from_file)[:-1]] == list(range(1, 13))
    (failure,) = records(run_node(web_folder / "run.mjs", tmp_path / "nowhere.raw", ok=False))
    assert failure == {"error": "cannot open the recording"}
    assert "usage" in run_node(web_folder / "run.mjs", "--fast", ok=False)


def probe(name: str, folder: Path, samples: np.ndarray | None = None) -> list[Any]:
    """What a probe of engine_probe.mjs tells."""
    stdin = b"" if samples is None else samples.tobytes()
    return records(run_node(PROBE, name, folder, stdin=stdin))


def test_chunks_of_any_size_give_the_same_bits(web_folder: Path, data_dir: Path) -> None:
    first, *others = probe("chunks", web_folder, clips(data_dir))
    assert len(first["events"]) >= 4
    assert others == [first] * 3


def test_memory_does_not_grow(web_folder: Path, data_dir: Path) -> None:
    """Ten minutes in the memory that the module began with, and no garbage that stays."""
    samples = clips(data_dir)
    (found,) = probe("memory", web_folder, samples)
    assert found["isSame"]
    assert 0 < found["nBytes"] < 4 << 20
    assert found["nSteps"] == (61 * len(samples) - 240) // 1280
    assert found["grown"] < 500_000


def test_thresholds_can_be_changed(web_folder: Path, data_dir: Path) -> None:
    (found,) = probe("thresholds", web_folder, clips(data_dir))
    assert found["heard"] == ["Dog"]
    assert found["dog"] == pytest.approx(0.3)
    assert "Dragon" in found["unknown"]
    assert "out of range" in found["outside"]


def test_what_is_reported_of_related_labels_can_be_chosen(web_folder: Path, data_dir: Path) -> None:
    (found,) = probe("related", web_folder, clips(data_dir))
    assert 0 < found["usual"] < found["all"]
    assert found["again"] == found["usual"]
    assert "most-specific" in found["unknown"]


def test_bad_images_are_refused_with_advice(web_folder: Path) -> None:
    none, empty, short, altered, huge = probe("images", web_folder)
    assert "give one" in none
    assert "not an image" in empty
    assert "not all of it" in short
    assert "altered" in altered
    assert "EDGE_AUDIO_ARENA_BYTES" in huge


def test_log_mel_is_what_python_gives_the_network(web_folder: Path, data_dir: Path) -> None:
    samples = clips(data_dir)
    (found,) = probe("logMel", web_folder, samples)
    frontend = open_frontend(load_bundle("tiny-int8").manifest.model)
    expected = frontend.push(samples[: 1520 + 20 * 1280].astype(np.float32) / np.float32(32768))[
        -8:
    ]
    assert np.abs(np.reshape(found, expected.shape) - expected).max() < 1e-3


def test_resampler_keeps_speech_and_rejects_what_would_fold_back() -> None:
    found = probe("resampler", WEB_DIR)
    assert all(16_000 - 40 <= tone["n"] <= 16_000 for tone in found)
    assert all(tone["isSame"] for tone in found)  # in blocks of two sizes
    limits_db = (-80, -80, -40, -60, -60)
    assert all(tone["errorDb"] < limit for tone, limit in zip(found, limits_db, strict=True))


def test_lost_audio_is_noticed_and_jitter_and_drift_are_not() -> None:
    without, with_loss = probe("drops", WEB_DIR)
    assert without == 0
    assert with_loss == pytest.approx(0.5, abs=0.01)


def test_example_of_the_docs_runs(web_folder: Path, data_dir: Path, tmp_path: Path) -> None:
    """With files in place of addresses, which Node does not fetch."""
    page = (DOCS / "web.md").read_text(encoding="utf-8")
    example = page.split("```js\n")[1].split("```")[0]
    script = web_folder / "example.mjs"
    script.write_text(
        'import { readFileSync } from "node:fs";\n'
        "const samples = new Int16Array(Uint8Array.from(readFileSync(0)).buffer);\n"
        "globalThis.fetch = async (name) => ({ ok: true, arrayBuffer: async () =>\n"
        f"  Uint8Array.from(readFileSync({str(web_folder)!r} + `/${{name}}`)).buffer }});\n"
        f"{example}console.log(dog);\n"
    )
    *events, dog = run_node(script, stdin=clips(data_dir).tobytes()).splitlines()
    tagger = Tagger.open("tiny-int8", "native", policy=ONE_SOUND)
    first = tagger.push(clips(data_dir).astype(np.float32) / 32768.0)[0]
    assert any(line.endswith(f"s  start  {first.label}  {first.score:.2f}") for line in events)
    assert 0 < float(dog) < 1


def test_sizes_are_those_of_the_docs(web_folder: Path) -> None:
    page = (DOCS / "web.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `tiny-int8` \|(.+)\|$", page, re.MULTILINE)
    quoted = [int(cell.split("(")[0].replace(",", "")) for cell in row.split("|")]
    measured = [(web_folder / name).stat().st_size for name in MODULE_FILES]
    assert quoted[:3] == pytest.approx(measured, rel=0.1)


def compile_line(text: str) -> list[str]:
    """The command that a text gives, whose lines end in backslashes but for the last one."""
    start = text.index("python -m ziglang cc")
    lines = text[start:].splitlines()
    last = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
    return shlex.split(" ".join(line.rstrip("\\") for line in lines[: last + 1]))


def test_image_may_be_inside_of_the_module(tmp_path: Path, data_dir: Path) -> None:
    """micro-int8 with all its labels is one file of less than 200 KB, by the command of
    docs/web.md in the built folder, and hears the same."""
    folder = build_web_folder(tmp_path / "micro", "micro-int8")
    samples = clips(data_dir).tobytes()
    apart = run_node(folder / "run.mjs", stdin=samples)
    command = compile_line((DOCS / "web.md").read_text(encoding="utf-8"))
    sources = [str(path.relative_to(folder)) for path in sorted(folder.glob("src/*.c"))]
    at = command.index("src/*.c")
    command = [sys.executable, *command[1:at], *sources, *command[at + 1 :]]
    subprocess.run(command, cwd=folder, check=True, timeout=HANG_S)
    (folder / "edge_audio_image.bin").unlink()
    assert (folder / "edge_audio.wasm").stat().st_size <= MODULE_BYTES
    assert run_node(folder / "run.mjs", stdin=samples) == apart
    assert "Bark" in apart
