"""Few-shot learning within a class: one recording's sounds among others of their kind.

Clips of one group come of one recording, device or voice. Takes are its first clips, events the
rest, over noise; false alarms are other clips of its label, of which 60 are an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.evaluation.few_shot_data import FewShotData, Stream, first_take, heard
from distill.mixing.soundscapes import (
    Sound,
    SoundscapeConfig,
    cut_bouts,
    negatives,
    read_sound,
    soundscapes,
)
from distill.progress import tracked
from edge_audio.learning.bank import SOUNDS_PER_HOUR
from edge_audio.learning.network import Embedder
from edge_audio.sounds.file import Take

_MIN_TAKES, _MIN_EVENTS = 5, 2
_MIN_OTHERS = 10
_MAX_EVENTS = 15
_N_OTHERS = round(SOUNDS_PER_HOUR)  # sounds of others that are heard
_OWN = SoundscapeConfig(n_scenes=4, n_events=4, scene_s=30.0)
_OTHERS = SoundscapeConfig(n_negatives=2, negative_s=300.0, n_negative_sounds=_N_OTHERS // 2)


def within_class(
    network: Embedder, folder: Path, unheard: Sequence[Clip], n_takes: Sequence[int]
) -> Iterator[FewShotData]:
    """For each group that no training has heard and that has others of its first label: with the
    most of n_takes that leave _MIN_EVENTS. Groups that have not enough for _MIN_TAKES are left
    out."""
    groups: dict[str, list[Clip]] = {}
    for clip in unheard:
        groups.setdefault(clip.group, []).append(clip)
    for group, mine in tracked(sorted(groups.items()), "within classes"):
        others = [x for x in unheard if x.group != group and x.labels[:1] == mine[0].labels[:1]]
        most = max((n for n in n_takes if n + _MIN_EVENTS <= len(mine)), default=0)
        is_enough = most >= min(_MIN_TAKES, max(n_takes)) and len(others) >= _MIN_OTHERS
        if is_enough and mine[0].labels:
            takes = [take for clip in mine[:most] for take in first_take(network, folder, clip)]
            rest = mine[most:][:_MAX_EVENTS]
            yield _data(network, folder, group, takes, rest, others)


def _data(
    network: Embedder,
    folder: Path,
    group: str,
    takes: list[Take],
    mine: Sequence[Clip],
    others: Sequence[Clip],
) -> FewShotData:
    own = [Sound(read_clip(folder / x.path, network.sample_rate_hz), (group,)) for x in mine]
    order = np.random.default_rng(0).permutation(len(others))[:_N_OTHERS]
    rest = [read_sound(folder, others[index])._replace(labels=("",)) for index in order]
    scenes: list[Stream] = []
    if bouts := cut_bouts(own):
        scenes = list(heard(network, soundscapes(_OWN, bouts, (0,))))
    alarms = list(heard(network, negatives(_OTHERS, cut_bouts(rest), (0,))))
    return FewShotData({group: takes}, scenes, alarms, _N_OTHERS / SOUNDS_PER_HOUR)
