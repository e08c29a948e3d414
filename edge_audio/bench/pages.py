"""Results as a page of the documentation, and as a part of the README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_audio.bench import tables
from edge_audio.bench.result import BenchResults
from edge_audio.errors import UsageError
from edge_audio.support.files import write_atomically

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_NOTES = """\
Every model is measured in processes of its own with one thread, in rounds in which all take
their turn; the tables have medians over the rounds. All hear the same recording, the demo scene.

- **CPU ms per second of audio**: user and system time of the whole process, reading the recording
  included, once it has started. *A file* comes in blocks of 1 s and *live* audio in blocks of
  80 ms, both as fast as they are heard. *In real time* the same blocks come when a microphone would
  deliver them, for 10 s behind 2 s that do not count: part of that is waking up twelve times a
  second, with cold caches; the last row is a process that does nothing else.
- **Peak RSS**: resident memory after both passes. **First score**: wall time from starting the
  process to its first score. Both are of a Python process that has the model and the reader of
  recordings, not the command line.
- **Model**: bytes that the runtime loads.
- **Algorithmic latency**: the longest time from a sound to the score that speaks of it: for a
  bundle what its manifest declares (window, stacking, trained delay), for a model of windows one
  hop and half a window, since its score speaks of the whole window.
- **Computing latency**: wall time of the blocks that complete a score, in real time.

Where they are installed, or their models lie in `$EDGE_AUDIO_PEERS`, others are measured as well:
sherpa-onnx with the taggers CED and Zipformer, which hear 10 s every half a second; and for scale
two that do less than name sounds. silero-vad says of every 32 ms whether somebody speaks, and
openWakeWord's front end makes an embedding every 80 ms, without the words that are told by it.

`--peer NAME=FILE` adds a model of your own. A package adds a tagger by an entry point of the group
`edge_audio.bench_peers`, a function that returns a `WindowModel` (`edge_audio/bench/windows.py`).
"""


def page(results: BenchResults, pictures: dict[str, str]) -> str:
    """Markdown. pictures: caption -> path relative to the page."""
    return "\n\n".join(_sections(results, pictures)) + "\n"


def _sections(results: BenchResults, pictures: dict[str, str]) -> Iterator[str]:
    yield "# What listening costs"
    yield f"`{results.command}`\n\n{_where(results)}"
    yield _NOTES.rstrip()
    for caption, path in pictures.items():
        yield f"![{caption}]({path})"
    for grid in tables.grids(results):
        yield f"## {grid.title}\n\n{grid.to_markdown()}"
    left_out = [*results.missing, *(f"{name}: {why}" for name, why in results.failed.items())]
    if left_out:
        yield "## Left out\n\n" + "\n".join(f"- {line}" for line in left_out)


def _where(results: BenchResults) -> str:
    crowd = "; others computed as well, look at the ratios" if results.machine.is_busy else ""
    return (
        f"{results.machine}{crowd}. Rounds: {results.n_rounds}, of {results.seconds:g} s of audio."
    )


def readme_region(results: BenchResults) -> str:
    """The tables that the README has, without the markers around them."""
    lines = [
        f"`{results.command}`: CPU ms per second of audio, medians. {_where(results)}",
        tables.cost(results).to_markdown(),
    ]
    if any(one.capacity for one in results.scaling):
        lines += [
            "Streams of one process that share a model, on one core:",
            tables.capacity(results).to_markdown(),
        ]
    return "\n\n".join(lines)


def split_region(path: Path) -> tuple[str, str]:
    """What is before and after the markers of a file, these included. Raises UsageError unless
    it has both markers once, in their order."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise UsageError(f"{path} must have the lines {BEGIN} and {END} once, in this order")
    return before + begin, end + after


def replace_region(path: Path, content: str) -> None:
    """Puts content between the markers of a file, in place of what is there. Raises UsageError
    as `split_region`."""
    before, after = split_region(path)
    write_atomically(path, f"{before}\n{content}\n{after}".encode())
