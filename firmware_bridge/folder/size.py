"""How much flash and RAM a firmware takes, before anything is flashed.

Of Cortex-M programs the linker's map says what every part takes, and GCC's call graph how deep the
stack can get: no function of the engine calls itself or through a pointer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_audio.errors import EdgeAudioError
from firmware_bridge.folder.probe import ImageFacts

ENTRY = "reset_handler"
# What is not compiled here and so not in the call graph: GCC's 64-bit division, and one level of
# whatever else is in its library.
LIBRARY_STACK_BYTES = 64

_SECTION = re.compile(r"^ (\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE)
_OUTPUT = re.compile(r"^(\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)", re.MULTILINE)
_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', re.MULTILINE)
_STACK = re.compile(r"(\d+) bytes \((static|dynamic)")


@dataclass(frozen=True)
class MemoryReport:
    """Bytes by part; what is in `flash` includes the initial values of variables."""

    flash: dict[str, int]
    ram: dict[str, int]

    @property
    def flash_bytes(self) -> int:
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        return sum(self.ram.values())


def measure(
    map_path: Path, engine: Sequence[str], facts: ImageFacts, image_bytes: int
) -> MemoryReport:
    """What a program takes whose map and call graphs are in one folder.

    engine: names of its objects that are the engine. Raises EdgeAudioError if the map has not
    what is expected.
    """
    outputs, pieces = _read_map(map_path)
    engine_bytes = _code_bytes(pieces, engine)
    flash_bytes = sum(outputs.get(name, 0) for name in (".text", ".ARM.exidx", ".data"))
    variables = outputs.get(".bss", 0) + outputs.get(".data", 0)
    model, stream = _named(pieces, ".bss.the_model"), _named(pieces, ".bss.memory")
    linked = {of for _, _, of in pieces}
    flash = {
        "engine": engine_bytes,
        **_image_parts(facts, image_bytes),
        "start-up, port and C runtime": flash_bytes - engine_bytes - image_bytes,
    }
    ram = {
        "model": model,
        **_stream_parts(facts, stream),
        "buffers of the program": variables - model - stream,
        "stack, at most": deepest_stack(read_call_graphs(map_path.parent, linked)),
    }
    return MemoryReport(flash, ram)


Piece = tuple[str, int, str]
"""Section, bytes, and the object that it comes from."""


def _read_map(path: Path) -> tuple[dict[str, int], list[Piece]]:
    """Bytes of the program by section, and all that they are made of."""
    text = path.read_text(encoding="utf-8", errors="replace")
    start = text.find("Linker script and memory map")
    if start < 0:
        raise EdgeAudioError(f"{path} is no map of GNU ld: use the compiler that is required")
    text = text[start:]
    outputs = {m[1]: int(m[3], 16) for m in _OUTPUT.finditer(text)}
    pieces = [(m[1], int(m[3], 16), Path(m[4]).stem) for m in _SECTION.finditer(text)]
    return outputs, pieces


def _image_parts(facts: ImageFacts, image_bytes: int) -> dict[str, int]:
    """Flash that the engine image takes."""
    front = facts.front_end_bytes
    labels = facts.label_bytes + facts.threshold_bytes + facts.related_bytes
    return {
        "weights": image_bytes - front - labels,
        "front-end tables": front,
        "labels and thresholds": labels,
    }


def _stream_parts(facts: ImageFacts, stream_bytes: int) -> dict[str, int]:
    """RAM that a stream takes."""
    known = facts.network_bytes + facts.scratch_bytes
    return {
        "recurrent state": facts.network_bytes,
        "working memory": facts.scratch_bytes,
        "audio, scores and events of the stream": stream_bytes - known,
    }


def _code_bytes(pieces: Sequence[Piece], objects: Sequence[str]) -> int:
    flash = (".text", ".rodata", ".data", ".ARM")
    return sum(n for name, n, of in pieces if name.startswith(flash) and of in objects)


def _named(pieces: Sequence[Piece], name: str) -> int:
    return sum(n_bytes for found, n_bytes, _ in pieces if found == name)


@dataclass(frozen=True)
class CallGraph:
    """frames: bytes of stack by function; calls: whom each one calls."""

    frames: dict[str, int]
    calls: dict[str, set[str]]


def read_call_graphs(folder: Path, objects: Collection[str] = ()) -> CallGraph:
    """Those that GCC's -fcallgraph-info=su left in a folder, of these objects alone if any."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.ci")):
        if objects and path.stem not in objects:
            continue
        text = path.read_text(encoding="utf-8")
        for title, label in _NODE.findall(text):
            if found := _STACK.search(label):
                frames[title] = int(found[1])
        for caller, callee in _EDGE.findall(text):
            calls.setdefault(caller, set()).add(callee)
    return CallGraph(frames, calls)


def deepest_stack(graph: CallGraph, entry: str = ENTRY) -> int:
    """Bytes that calls from `entry` can take at most. Raises EdgeAudioError for a function that
    calls itself or through a pointer."""
    known: dict[str, int] = {}

    def depth(name: str, callers: tuple[str, ...]) -> int:
        if name in callers or name == "__indirect_call":
            raise EdgeAudioError(f"the stack has no limit: {callers[-1]} calls {name}")
        if name not in known:
            below = graph.calls.get(name, ())
            own = graph.frames.get(name, LIBRARY_STACK_BYTES)
            known[name] = own + max((depth(x, (*callers, name)) for x in below), default=0)
        return known[name]

    return depth(entry, ())


def estimate(facts: ImageFacts, image_bytes: int) -> MemoryReport:
    """What the model itself takes, for targets whose programs are not measured: without code,
    stack and buffers."""
    return MemoryReport(_image_parts(facts, image_bytes), _stream_parts(facts, facts.state_bytes))
