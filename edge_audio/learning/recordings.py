"""What a user recorded: read as a whole, and cut into takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_audio.errors import SourceError
from edge_audio.learning.changes import changed
from edge_audio.learning.network import Embedder
from edge_audio.learning.takes import Found, Span, find_takes
from edge_audio.sounds.embeddings import to_bytes
from edge_audio.sounds.file import Take
from edge_audio.sources.audio_file import AudioFile
from edge_audio.support.arrays import FloatArray, evenly_spread, in_range
from edge_audio.support.text import printable

MAX_RECORDING_S = 600.0
MAX_TAKES = 40  # of one recording
_LEAD_S, _TAIL_S = 0.5, 0.2  # heard before and after a take
_LATE_S = 0.16  # by which an embedding may trail the sound
_MARGIN_S = 1.0  # around takes, where nothing is background
_MAX_STEPS, _MAX_CHANGED_STEPS = 40, 8  # of one take that are kept, evenly spread


class Recording(NamedTuple):
    """samples: f32[n] at the model's rate, within [-1, 1]."""

    name: str
    samples: FloatArray


class Heard(NamedTuple):
    """A recording as it teaches.

    takes: of what was asked for. scores: f32[n_labels] of each take, the highest of its steps.
    background: f32[n, D], embeddings away from the takes. duration_s: of the recording.
    """

    name: str
    found: Found
    takes: tuple[Take, ...]
    scores: tuple[FloatArray, ...]
    background: FloatArray
    duration_s: float


def read_recording(path: Path, sample_rate_hz: int) -> Recording:
    """At most MAX_RECORDING_S of a file of any format. Raises UsageError or SourceError."""
    blocks: list[FloatArray] = []
    n_left = round(MAX_RECORDING_S * sample_rate_hz)
    with AudioFile(path, sample_rate_hz) as source:
        for block in source.blocks():
            blocks.append(block.samples[:n_left])
            n_left -= len(blocks[-1])
            if n_left <= 0:
                break
    if not blocks:
        raise SourceError(f"{path} holds no audio")
    return Recording(printable(path.name), in_range(np.concatenate(blocks)))


def hear(network: Embedder, recording: Recording) -> Heard:
    """Finds the takes of a recording and embeds them, as they are and changed."""
    found = find_takes(recording.samples, network.sample_rate_hz)
    found = found._replace(spans=found.spans[:MAX_TAKES])
    scores, rows = network.hear(recording.samples)
    ends_s = network.step_ends_s(len(rows))
    takes, highest = [], []
    for span in found.spans:
        start_s, stop_s = (place / network.sample_rate_hz for place in span)
        is_in = _is_in(ends_s, start_s, stop_s)
        takes.append(
            Take(
                source=recording.name,
                start_s=round(start_s, 3),
                end_s=round(stop_s, 3),
                steps=to_bytes(evenly_spread(rows[is_in], _MAX_STEPS)),
                changed=_changed_steps(network, recording, span),
            )
        )
        highest.append(scores[is_in].max(0))
    background = rows[_is_away(ends_s, found, network.sample_rate_hz)]
    duration_s = len(recording.samples) / network.sample_rate_hz
    return Heard(recording.name, found, tuple(takes), tuple(highest), background, duration_s)


def _is_away(ends_s: np.ndarray, found: Found, rate_hz: int) -> np.ndarray:
    """Which steps hear the background: none of the sound, where a take was cut or is one too many
    either."""
    is_away = (ends_s > _MARGIN_S / 2) & (not found.is_silent)
    for span in found.whole:
        is_away &= (ends_s < span.start / rate_hz) | (ends_s > span.stop / rate_hz + _MARGIN_S)
    return np.asarray(is_away)


def _changed_steps(network: Embedder, recording: Recording, span: Span) -> bytes:
    """The rows of the take at other levels, speeds and rooms."""
    rate_hz, samples = network.sample_rate_hz, recording.samples
    n_lead = min(span.start, round(_LEAD_S * rate_hz))
    stretch = samples[span.start - n_lead : span.stop + round(_TAIL_S * rate_hz)]
    parts: list[FloatArray] = []
    for made in changed(stretch, rate_hz, seed=span.start):
        ratio = len(made) / len(stretch) / rate_hz
        _, rows = network.hear(np.pad(made, (0, 2 * network.step_samples)))
        ends_s = network.step_ends_s(len(rows))
        span_s = (n_lead * ratio, (n_lead + span.stop - span.start) * ratio)
        parts.append(evenly_spread(rows[_is_in(ends_s, *span_s)], _MAX_CHANGED_STEPS))
    return to_bytes(np.concatenate(parts))


def _is_in(ends_s: np.ndarray, start_s: float, stop_s: float) -> np.ndarray:
    """Which steps hear the take: at least the one that is nearest to its end."""
    is_in = (ends_s >= start_s + _LATE_S / 2) & (ends_s <= stop_s + _LATE_S)
    if not is_in.any():
        is_in[np.argmin(np.abs(ends_s - stop_s - _LATE_S))] = True
    return np.asarray(is_in)


def backgrounds(heard: Sequence[Heard], embedding_dim: int) -> FloatArray:
    """f32[n, D] of all recordings."""
    parts = [one.background for one in heard]
    return np.concatenate([np.zeros((0, embedding_dim), np.float32), *parts])
