"""What the tests of the web target share: a built folder, Node, recordings.

python tests/firmware_bridge/web_build.py prints the table of sizes of docs/web.md.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio.bundle.store import load_bundle
from edge_audio.events.detector import Event
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TOOLCHAINS

HANG_S = 120  # reached only by what never ends
CLIPS = ("audio/esc10/5-200334-A.ogg", "audio/esc10/5-203128-A.ogg")  # a rooster and a dog


def require_toolchain() -> None:
    """Skips where the module cannot be compiled."""
    toolchain = TOOLCHAINS["wasm"]
    if toolchain.find() is None:
        pytest.skip(toolchain.missing)


def node_command() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node: apt-get install nodejs")
    return node


def build_web_folder(folder: Path, model: str) -> Path:
    """What edge-audio firmware build MODEL --target wasm makes."""
    require_toolchain()
    firmware = build_firmware(load_bundle(model), TARGETS["wasm"], folder)
    assert firmware.missing == ""
    return firmware.path


def run_node(script: Path, *arguments: object, stdin: bytes = b"", ok: bool = True) -> str:
    """stdout of Node; `ok` expects exit code 0."""
    done = subprocess.run(
        [node_command(), "--expose-gc", str(script), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stderr.decode() or done.stdout.decode()
    return done.stdout.decode()


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def compared(events: Sequence[Event]) -> list[tuple[str, str, float]]:
    """(kind, label, time in ms) of each."""
    return [(event.kind, event.label, round(1000 * event.time_s)) for event in events]


def clips(data_dir: Path) -> np.ndarray:
    """int16 at 16 kHz, 10 s: a rooster, then a dog."""
    return np.concatenate([soundfile.read(data_dir / path, dtype="int16")[0] for path in CLIPS])


MODULE_FILES = ("edge_audio.wasm", "edge_audio_image.bin", "index.html")
MEMORY = """
import { readFileSync } from "node:fs";
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]));
console.log(instance.exports.memory.buffer.byteLength);
"""


def size_row(model: str) -> str:
    """A row of the table: bytes of each file, with gzip in brackets, and of the memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = build_web_folder(Path(scratch) / "web", model)
        (folder / "memory.mjs").write_text(MEMORY)
        cells = [f"`{model}`"]
        for content in [(folder / name).read_bytes() for name in MODULE_FILES]:
            cells.append(f"{len(content):,} ({len(gzip.compress(content)):,})")
        n_bytes = int(run_node(folder / "memory.mjs", folder / MODULE_FILES[0]))
    return f"| {' | '.join([*cells, f'{n_bytes:,}'])} |"


if __name__ == "__main__":
    for name in ("micro-int8", "tiny-int8", "tiny-xlstm-int8", "small-int8"):
        print(size_row(name))
