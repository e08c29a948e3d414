"""YAMNet's embedding teaches by the protocol that ours does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.data.clip_list import Clip
from distill.data.split import Split
from distill.evaluation.few_shot_methods import METHODS
from distill.evaluation.few_shot_peers import YamnetEmbedder
from distill.teachers.yamnet import EMBEDDING_DIM
from edge_audio.learning.recordings import Recording, hear
from tests.support.taught import beeps, other_sound

RATE_HZ = 16_000


def write_clip(folder: Path, seed: int) -> Clip:
    soundfile.write(folder / f"{seed}.wav", other_sound(seed), RATE_HZ)
    return Clip(
        path=f"{seed}.wav",
        tier="A",
        labels=("Noise",),
        esc10_class="",
        esc50_class="",
        fold=5 if seed == 0 else 1,
        group=str(seed),
        duration_s=1.5,
        licence="CC0 1.0",
    )


def test_beeps_are_told_from_stored_negatives(peers_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    clips = [write_clip(tmp_path, seed) for seed in range(25)]
    split = Split(tiers=("A",), held_out_folds=(5,))
    yamnet = YamnetEmbedder(peers_dir, split, clips, tmp_path)
    assert yamnet.bank.rows.shape[1] == EMBEDDING_DIM
    assert yamnet.bank.n_recordings == 24
    takes = [hear(yamnet, Recording("beeps.wav", beeps(seed))).takes[0] for seed in range(3)]
    heard = yamnet.hear(beeps(9))[1]
    np.testing.assert_allclose(yamnet.step_ends_s(2), [0.975, 1.4625])
    for name in ("learn", "logistic regression"):
        row = METHODS[name](yamnet, takes).row
        assert row(heard).max() > row(yamnet.bank.rows).max()
