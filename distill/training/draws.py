"""How often each clip is drawn: by what a teacher hears in it, so that each class is heard by its
share in the teacher's judgement, not by how many files a source has of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from distill.data.clip_list import Clip
from distill.data.clip_store import ClipSource
from distill.data.fingerprint import fingerprint
from distill.progress import tracked
from distill.teachers.base import Teacher
from distill.teachers.config import TeacherConfig
from distill.teachers.opening import open_teacher, teacher_fingerprint
from distill.training.targets import cache_key, teach
from edge_audio.bundle.spec import Spec
from edge_audio.support.files import errors_for_people, file_draft
from edge_audio.support.folders import peers_dir

Odds = NDArray[np.float64]

SHORTEST_S, LONGEST_S = 1.0, 10.0
"""What a teacher hears of a clip: its first LONGEST_S, padded with zeros to SHORTEST_S."""
_MASS_OF_NOTHING = 0.5  # half a clip, so that a class that hardly sounds anywhere does not rule
_DURATION_RANGE_S = (0.3, 5.0)  # longer clips are worth drawing more often, as their square root
_MAX_ODDS = 5.0  # times the median: no clip may stand for a class alone
_N_FITS = 30


class DrawConfig(Spec, frozen=True):
    """Which clips are drawn how often.

    power: how a class's share in what is drawn goes with its share in what there is; 1 leaves it
        as it is, 0.5 goes by its square root, 0 would draw all classes alike.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.power <= 1.0:
            raise ValueError("power must be from 0 to 1")


class HeardClips(NamedTuple):
    """What a teacher hears in clips: probabilities f32[n_clips, n_labels] of its labels."""

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]


def hear_clips(
    teachers: Sequence[TeacherConfig],
    folder: Path,
    clips: Sequence[Clip],
    store: ClipSource,
    rate_hz: int,
    cache_dir: Path,
    device: str = "cpu",
) -> HeardClips | None:
    """What the first teacher with labels hears in each clip of a clip list; None if no teacher has
    any. store: the clips at rate_hz. Computed once for each data set and teacher, and kept in
    `cache_dir` by the names of its labels and their logits."""
    for config in teachers:
        files = fingerprint(folder, [clip.path for clip in clips])
        paths = [clip.path for clip in clips]
        key = cache_key(paths, rate_hz, config, files, teacher_fingerprint(config, peers_dir()))
        path = cache_dir / f"heard-{key}.npz"
        if not path.exists():
            _write_heard(
                path, open_teacher(config, peers_dir()), store, len(clips), rate_hz, device
            )
        with np.load(path) as kept:
            labels, logits = tuple(kept["labels"].tolist()), kept["logits"]
        if labels:
            return HeardClips(labels, np.asarray(expit(logits), np.float32))
    return None


def _write_heard(
    path: Path, teacher: Teacher, store: ClipSource, n_clips: int, rate_hz: int, device: str
) -> None:
    """Without rows for a teacher without labels."""
    if isinstance(teacher, nn.Module):
        teacher.to(device)
    logits = np.zeros((n_clips, len(teacher.labels)), np.float32)
    for index in tracked(range(n_clips if teacher.labels else 0), f"{teacher.name} hears clips"):
        samples = store[index][: round(LONGEST_S * rate_hz)]
        samples = np.pad(samples, (0, max(0, round(SHORTEST_S * rate_hz) - len(samples))))
        found = teach(teacher, samples[None], rate_hz, device).clip_logits
        assert found is not None, "it has labels"
        logits[index] = found[0].float().cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with errors_for_people(path), file_draft(path) as draft, draft.open("wb") as file:
        np.savez(file, labels=np.array(teacher.labels, str), logits=logits)


def draw_odds(
    config: DrawConfig, durations_s: Sequence[float], probabilities: NDArray[np.float32] | None
) -> Odds:
    """Relative odds f64[n] of clips that may be drawn, of which a teacher thinks `probabilities`
    [n, n_labels], such that the labels' shares in what is drawn come near mass ** power, where a
    label's mass is the sum of p over the clips. From the square root of the durations, which
    decide alone without a teacher, iterative proportional fitting (Deming and Stephan 1940, its
    step halved) moves the odds within _MAX_ODDS times the median and the same part of it."""
    odds: Odds = np.sqrt(np.clip(np.asarray(durations_s, float), *_DURATION_RANGE_S))
    if probabilities is None:
        return odds
    heard = probabilities.astype(np.float64) + 1e-12
    wanted = (heard.sum(0) + _MASS_OF_NOTHING) ** config.power
    wanted /= wanted.sum()
    of_clip = heard / heard.sum(1, keepdims=True)
    for _ in range(_N_FITS):
        odds *= np.sqrt(of_clip @ (wanted / label_shares(odds, heard)))
        median = float(np.median(odds))
        odds = np.clip(odds, median / _MAX_ODDS, median * _MAX_ODDS)
    return odds


def listed_odds(clips: Sequence[Clip]) -> Odds:
    """Odds by the clip list alone, for streams, which are too large for a teacher to hear first:
    one over the square root of how many clips have the clip's rarest label. Clips without labels
    count as one label."""
    labels = [clip.labels or ("",) for clip in clips]
    counts = Counter(label for names in labels for label in names)
    return 1.0 / np.sqrt([min(counts[label] for label in names) for names in labels])


def label_shares(odds: Odds, probabilities: NDArray[np.floating[Any]]) -> Odds:
    """f64[n_labels]: each label's share in what is drawn by these odds, as the teacher hears it."""
    mass = odds @ np.asarray(probabilities, np.float64)
    shares: Odds = mass / mass.sum()
    return shares


def n_effective_clips(odds: Odds) -> float:
    """How many clips, if all were equally likely, would be as varied a choice."""
    return float(odds.sum() ** 2 / np.square(odds).sum())
