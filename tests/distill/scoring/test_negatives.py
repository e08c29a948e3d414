"""Stored negatives come of clips that were trained on and may be shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.data.split import Split
from distill.scoring import negatives
from distill.scoring.negatives import add_negatives, bank_of
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.errors import UsageError
from edge_audio.learning.bank import BANK_FILE, MAX_BANK_BYTES, load_bank
from edge_audio.learning.network import Network
from tests.support.taught import BACKEND, RATE_HZ, other_sound

SPLIT = Split(tiers=("A", "B"), held_out_folds=(5,))


def clip(folder: Path, seed: int, tier: str = "A", fold: int = 1) -> Clip:
    soundfile.write(folder / f"{seed}.wav", other_sound(seed), RATE_HZ)
    return Clip(
        path=f"{seed}.wav",
        tier=tier,
        labels=("Dog",),
        esc10_class="",
        esc50_class="",
        fold=fold,
        group=f"group {seed}",
        duration_s=1.5,
        licence="CC0",
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    shipped = load_bundle("micro-int8")
    return save_bundle(tmp_path / "mine", shipped.manifest, shipped.contents())


def test_only_clips_of_training_and_of_tiers_a_and_b_are_stored(
    bundle: Bundle, tmp_path: Path
) -> None:
    clips = [clip(tmp_path, seed) for seed in range(4)]
    others = [clip(tmp_path, 4, tier="C"), clip(tmp_path, 5, fold=5)]
    path = add_negatives(bundle, SPLIT, [*clips, *others], tmp_path)
    assert path == bundle.path / BANK_FILE
    network = Network(load_bundle(bundle.path), BACKEND)
    bank = network.bank
    assert bank.n_recordings == len(clips)
    heard = [network.hear(read_clip(tmp_path / one.path, RATE_HZ))[1] for one in clips]
    for row in bank.rows:
        assert min(np.abs(rows - row).max(1).min() for rows in heard) <= 0.051
    with pytest.raises(UsageError, match=r"no clip|no training clips"):
        bank_of(network, SPLIT, others, tmp_path)


def test_a_bank_stays_below_its_size_and_is_the_same_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [clip(tmp_path, seed) for seed in range(8)] + [clip(tmp_path, 9, fold=5)]
    network = Network(bundle, BACKEND)
    whole = bank_of(network, SPLIT, clips, tmp_path)
    assert len(whole) <= MAX_BANK_BYTES
    assert whole == bank_of(network, SPLIT, clips, tmp_path)
    monkeypatch.setattr(negatives, "MAX_BANK_BYTES", len(whole) - 1)
    assert len(bank_of(network, SPLIT, clips, tmp_path)) < len(whole)


def test_negatives_of_a_shipped_model_go_into_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("distill.scoring.negatives", "edge_audio.learning.bank"):
        monkeypatch.setattr(f"{module}.BANKS_DIR", tmp_path / "banks")
    shipped = load_bundle("micro-int8")
    clips = [clip(tmp_path, seed) for seed in range(4)] + [clip(tmp_path, 9, fold=5)]
    assert add_negatives(shipped, SPLIT, clips, tmp_path) == tmp_path / "banks" / "micro-int8.bin"
    assert load_bank(shipped, Network(shipped, BACKEND).fingerprint).n_recordings == 4
