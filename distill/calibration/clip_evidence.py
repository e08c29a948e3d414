"""What a model makes of single held-out clips, each a stream of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.calibration.scenes import Fold, fold_of_groups
from distill.data.clip_list import Clip
from distill.mixing.soundscapes import Sound, read_sound
from distill.progress import tracked
from distill.scoring.streams import StreamScorer
from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Watched, smoothing_factor, watch_in_numpy
from edge_audio.labels.ontology import related_labels
from edge_audio.support.arrays import FloatArray


class ClipEvidence(NamedTuple):
    """Rows are clips, columns labels. peaks f32[n_clips, n_labels]: the highest smoothed score,
    which reports the label wherever its threshold is no higher. fits: whether that is right, for
    the label or a related one is listed. folds i64[n_clips]. weights f64[n_clips]: the
    n clips of one recording count as much as sqrt(n) of others."""

    peaks: FloatArray
    fits: NDArray[np.bool_]
    folds: NDArray[np.int64]
    weights: NDArray[np.float64]

    def rows(self, chosen: NDArray[np.bool_]) -> ClipEvidence:
        """Some of the clips."""
        peaks, fits, folds, weights = self
        return ClipEvidence(peaks[chosen], fits[chosen], folds[chosen], weights[chosen])


def hear_folds(
    scorer: StreamScorer, labels: Sequence[str], folds: Sequence[Fold], spec: EventSpec
) -> ClipEvidence:
    """Lets the scorer hear every clip of the folds from a fresh state. spec: the smoothing."""
    sounds = [(sound, fold) for fold, one in enumerate(folds) for sound in one.clips]
    return _hear(scorer, labels, tracked(sounds, "single clips"), spec)


def hear_files(
    scorer: StreamScorer,
    labels: Sequence[str],
    folder: Path,
    clips: Sequence[Clip],
    n_folds: int,
    spec: EventSpec,
) -> ClipEvidence:
    """The same of clips that are too many to be in memory at once."""
    fold_of = fold_of_groups(clips, n_folds)
    listed = tracked(clips, f"{scorer.name}: clips")
    sounds = ((read_sound(folder, clip), fold_of[clip.group]) for clip in listed)
    return _hear(scorer, labels, sounds, spec)


def _hear(
    scorer: StreamScorer,
    labels: Sequence[str],
    sounds: Iterable[tuple[Sound, int]],
    spec: EventSpec,
) -> ClipEvidence:
    """Of clips and the fold of each."""
    columns = np.array([scorer.labels.index(label) for label in labels], np.intp)
    fitting = [{label, *related_labels(label)} for label in labels]
    peaks, fits, places, recordings = [], [], [], list[str]()
    for sound, fold in sounds:
        fits.append([bool(mine.intersection(sound.labels)) for mine in fitting])
        places.append(fold)
        recordings.append(sound.recording or f"clip {len(recordings)}")
        scores = scorer.track(sound.samples).scores
        peaks.append(_smoothed_peaks(scores, columns, spec, scorer.step_s))
    return ClipEvidence(
        peaks=np.array(peaks, np.float32).reshape(len(fits), len(labels)),
        fits=np.array(fits, np.bool_).reshape(len(fits), len(labels)),
        folds=np.array(places, np.int64),
        weights=_weights(recordings),
    )


def _smoothed_peaks(
    track: FloatArray, columns: NDArray[np.intp], spec: EventSpec, step_s: float
) -> FloatArray:
    """track f32[n_steps, n_labels] -> f32[n_columns]: the highest score in each of the columns,
    smoothed as the event detector does."""
    n = len(columns)
    watched = Watched(
        index=columns,
        smoothed=np.zeros(n, np.float32),
        peak=np.zeros(n, np.float32),
        limit=np.full(n, np.inf, np.float32),
        is_active=np.zeros(n, np.bool_),
        rise=np.float32(smoothing_factor(spec.rising_s, step_s)),
        fall=np.float32(smoothing_factor(spec.smoothing_s, step_s)),
    )
    watch_in_numpy(watched)(track)
    return watched.peak


def _weights(recordings: Sequence[str]) -> NDArray[np.float64]:
    counts = Counter(recordings)
    return np.array([counts[recording] ** -0.5 for recording in recordings])
