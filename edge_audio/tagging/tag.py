"""What is in a recording, in one call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import SourceError, UsageError
from edge_audio.events.detector import Event
from edge_audio.events.policy import ONE_SOUND
from edge_audio.sources.audio_file import LONG_BLOCK_MS, AudioFile
from edge_audio.support.text import printable
from edge_audio.tagging.settings import TaggerSettings
from edge_audio.tagging.step_reporter import Steps
from edge_audio.tagging.tagger import Tagger
from edge_audio.tagging.tags import Tags

if TYPE_CHECKING:
    from typing_extensions import Unpack


def tag(
    audio: str | Path | NDArray[Any],
    rate_hz: int | None = None,
    **settings: Unpack[TaggerSettings],
) -> Tags:
    """Tags a recording from start to end.

    audio: the path of a file of any format and length; or samples [n] or [n, n_channels], int16,
        or floats in [-1, 1], whose rate_hz must be given.
    settings: keywords of `Tagger.open`: model, backend, only, exclude, threshold, sensitivity,
        policy (one sound is one event unless you give another), gate_dbfs, embedding, scores.

    All scores are kept: an hour takes 95 MB, less with those of watched labels alone. A file that
    breaks off is a warning and `Tags.error`.
    Raises UsageError, SourceError, BundleError or BackendError, each saying what to do.
    """
    settings.setdefault("policy", ONE_SOUND)
    if isinstance(audio, str | os.PathLike):
        if rate_hz is not None:
            raise UsageError("a file knows its rate: leave out rate_hz")
        tags = tags_of_file(os.fspath(audio), Tagger.open(**settings))
        if tags.error:
            warnings.warn(tags.error, stacklevel=2)
        return tags
    if not hasattr(audio, "__len__"):  # a file that is open, None, a number
        given = type(audio).__name__
        raise UsageError(f"audio is {given}: give the path of a file, or samples and their rate")
    if rate_hz is None:
        raise UsageError("samples do not tell their rate: call tag(samples, rate_hz)")
    tagger = Tagger.open(rate_hz=rate_hz, **settings)
    return _Heard(tagger).tags("samples", [audio])


def tags_of_file(path: str, tagger: Tagger) -> Tags:
    """What the tagger, at the start of a stream, says of a file. One that breaks off is told by
    `error`; raises UsageError or SourceError where there is nothing to hear."""
    heard, name = _Heard(tagger), printable(path)
    with AudioFile(path, tagger.sample_rate_hz, LONG_BLOCK_MS) as source:
        return heard.tags(name, (block.samples for block in source.blocks()))


class _Heard:
    """Collects the steps of one recording."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._embeds = tagger.has_embedding
        self._times_s: list[float] = []
        self._scores: list[NDArray[np.float32]] = []
        self._embeddings: list[NDArray[np.float32]] = []
        self._events: list[Event] = []

    def tags(self, source: str, blocks: Iterable[NDArray[Any]]) -> Tags:
        tagger, problem = self._tagger, ""
        try:
            for samples in blocks:
                self._add(tagger.push_steps(samples))
        except SourceError as error:
            if not tagger.time_s:
                raise
            problem = printable(str(error))  # what was heard before it counts
        self._add(tagger.push_last_steps())
        self._events += tagger.flush()
        n_labels = len(tagger.labels)
        return Tags(
            source=source,
            duration_s=tagger.time_s,
            labels=tagger.labels,
            times_s=np.array(self._times_s),
            scores=_joined(self._scores, n_labels),
            events=tuple(self._events),
            embedding=self._embedding(),
            error=problem,
        )

    def _embedding(self) -> NDArray[np.float32] | None:
        if not self._embeds:
            return None
        return _joined(self._embeddings, len(self._tagger.embedding))

    def _add(self, parts: list[Steps]) -> None:
        for steps in parts:
            self._times_s += steps.times_s
            self._scores.append(steps.scores)
            self._events += steps.events
            if steps.embeddings is not None:
                self._embeddings.append(steps.embeddings)


def _joined(parts: list[NDArray[np.float32]], n_columns: int) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, n_columns), np.float32), *parts])
