"""Takes that somebody decides on while they are made: by microphone, and from kept clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_audio.cli.console import remark, tell
from edge_audio.errors import EdgeAudioError, SourceError, UsageError
from edge_audio.learning.recordings import Recording, read_recording
from edge_audio.learning.takes import Found, find_takes, levels_dbfs
from edge_audio.sinks.clips.sidecar import MAX_SIDECAR_BYTES, read_sidecar
from edge_audio.sources.base import first_seconds
from edge_audio.sources.opening import make_source
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import printable

_ANSWERS = "[y] this was it, [n] it was not, [s] skip, [p] play, [q] no more"


def record(device: str | None, take_s: float, rate_hz: int) -> FloatArray:
    """So many seconds of the microphone. Raises SourceError."""
    with make_source("mic", device, rate_hz, {}) as source:
        blocks = [x.samples for x in first_seconds(source.blocks(), rate_hz, take_s)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def play(samples: FloatArray, rate_hz: int) -> None:
    """To the loudspeaker, where there is one. Raises SourceError."""
    try:
        import sounddevice

        sounddevice.play(samples, rate_hz, blocking=True)
    except Exception as error:  # PortAudio's, and those of a missing library
        raise SourceError(f"cannot play here: {error}") from error


def record_takes(
    device: str | None,
    take_s: float,
    rate_hz: int,
    record_one: Callable[[str | None, float, int], FloatArray] = record,
    play_one: Callable[[FloatArray, int], None] = play,
) -> list[Recording]:
    """Records until the user has enough: says what was taken, plays it back, and asks whether to
    keep it. Raises UsageError where nothing was kept, SourceError where a microphone breaks before
    that."""
    kept: list[Recording] = []
    while True:
        answer = _ask(f"take {len(kept) + 1}: Enter records {take_s:g} s, q ends", "")
        if answer == "q":
            break
        try:
            samples = record_one(device, take_s, rate_hz)
        except SourceError as error:
            if not kept:
                raise
            remark(f"{error}; what was kept is learned")
            break
        found = find_takes(samples, rate_hz)
        tell(described(samples, found, rate_hz))
        if found.is_silent:
            continue
        _try(play_one, samples, rate_hz)
        if _ask("keep it? [y] or n", "y") != "n":
            kept.append(Recording(f"take {len(kept) + 1}", samples))
    if not kept:
        raise UsageError("no take was kept: nothing was learned")
    return kept


def described(samples: FloatArray, found: Found, rate_hz: int) -> str:
    """One line on what a recording holds."""
    if found.is_silent:
        return "nothing was heard: nearer, or choose a microphone with --device"
    loudest = levels_dbfs(samples, rate_hz // 100).max()
    spans = ", ".join(f"{x.start / rate_hz:.1f}-{x.stop / rate_hz:.1f} s" for x in found.spans)
    clipped = f", {100 * found.clipped_share:.1f} % at full scale" if found.clipped_share else ""
    return f"{len(found.spans)} found ({spans}), loudest {loudest:.0f} dBFS{clipped}"


def go_through(
    folder: Path,
    rate_hz: int,
    play_one: Callable[[FloatArray, int], None] = play,
) -> tuple[list[Recording], list[Recording]]:
    """Clips that were it, and clips that were not, as the user says of each, the latest first.
    Raises UsageError where there is neither."""
    paths = _latest_first(folder)
    if not paths:
        raise UsageError(f"no clips in {folder}: `edge-audio listen --clips {folder}` records some")
    tell(_ANSWERS)
    was_it: list[Recording] = []
    was_not: list[Recording] = []
    for path in paths:
        answer = _answer_on(path, rate_hz, play_one)
        if answer == "q":
            break
        if answer in ("y", "n"):
            try:
                (was_it if answer == "y" else was_not).append(read_recording(path, rate_hz))
            except EdgeAudioError as error:
                remark(str(error))
    if not was_it and not was_not:
        raise UsageError("no clip was it: nothing was learned")
    return was_it, was_not


def _latest_first(folder: Path) -> list[Path]:
    """Clips that are there, while a recorder may be deleting the oldest."""
    changed_s = {}
    for path in folder.rglob("*.flac"):
        with contextlib.suppress(OSError):
            changed_s[path] = path.stat().st_mtime
    return sorted(changed_s, key=lambda path: changed_s[path], reverse=True)


def _answer_on(path: Path, rate_hz: int, play_one: Callable[[FloatArray, int], None]) -> str:
    while True:
        answer = _ask(f"{path.name}{_told_of(path)}", "s")
        if answer == "p":
            _try(_play_file, path, rate_hz, play_one)
        elif answer in ("y", "n", "s", "q"):
            return answer


def _told_of(path: Path) -> str:
    """What the recorder wrote beside the clip."""
    with contextlib.suppress(OSError, ValueError), path.with_suffix(".json").open("rb") as file:
        sidecar = read_sidecar(file.read(MAX_SIDECAR_BYTES))
        return f": {sidecar.label} {sidecar.score:.2f} {sidecar.at or ''}".rstrip()
    return ""


def _play_file(path: Path, rate_hz: int, play_one: Callable[[FloatArray, int], None]) -> None:
    play_one(read_recording(path, rate_hz).samples, rate_hz)


def _try(do: Callable[..., None], *arguments: Any) -> None:
    try:
        do(*arguments)
    except EdgeAudioError as error:
        remark(str(error))


def _ask(text: str, default: str) -> str:
    """The first letter of an answer; q where there are no more, by Ctrl-D."""
    try:
        answer: str = click.prompt(
            printable(text), default=default, show_default=False, err=True, prompt_suffix=": "
        )
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            return "q"
        raise
    return answer.strip().lower()[:1]
