"""No recording is heard on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.data.clip_list import Clip, read_clip_list
from distill.data.split import Split
from edge_audio.errors import UsageError
from tests.distill.workshop import LEAKING_GROUPS, clip_at


def random_clips(seed: int, n: int = 400) -> list[Clip]:
    rng = np.random.default_rng(seed)
    return [
        Clip(
            path=f"{index}.wav",
            tier=str(rng.choice(["A", "B", "C", "E"])),
            labels=("Rain",),
            esc10_class="",
            esc50_class="rain" if rng.random() < 0.3 else "",
            fold=int(rng.integers(1, 6)),
            group=f"g{rng.integers(0, 150)}",
            duration_s=1.0,
            licence="CC0",
        )
        for index in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hold_out_esc", [False, True])
def test_split_never_divides_a_group_nor_trains_on_held_out_clips(
    seed: int, hold_out_esc: bool
) -> None:
    clips = random_clips(seed)
    split = Split(tiers=("A", "B"), held_out_folds=(5,), hold_out_esc=hold_out_esc)
    train, held_out = split.divide(clips)
    assert train
    assert held_out
    assert not {clip.group for clip in train} & {clip.group for clip in held_out}
    assert all(clip.tier in ("A", "B") and clip.fold != 5 for clip in train)
    assert not (hold_out_esc and any(clip.is_esc for clip in train))
    assert {clip.path for clip in clips if clip.fold == 5} <= {clip.path for clip in held_out}


def test_a_clip_whose_licence_forbids_what_its_tier_promises_does_not_train() -> None:
    free, sampling = clip_at("a.wav"), clip_at("b.wav", licence="CC Sampling+ 1.0")
    assert Split(tiers=("A", "B")).divide([free, sampling])[0] == [free]
    assert Split(tiers=("A", "E")).divide([free, sampling])[0] == [free, sampling]


def test_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="no training clips"):
        Split(tiers=("X",)).divide(random_clips(0))


def test_split_that_holds_out_an_empty_fold_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no clip is in \[6, 7\], the folds are \[1, 2, 3, 4, 5\]"
    ):
        Split(tiers=("A",), held_out_folds=(7, 5, 6)).divide(random_clips(0))


def test_smaller_share_of_audio_is_part_of_a_larger_one_in_whole_groups() -> None:
    clips = [
        clip_at(f"{i}.wav", group=f"g{i // 2}", fold=1 + i // 2 % 5, tier="ABC"[i % 3])
        for i in range(1_200)
    ]
    paths: list[set[str]] = []
    for share in (0.25, 0.5, 1.0):
        split = Split(tiers=("A", "B"), held_out_folds=(5,), audio_share=share)
        train, held_out = split.divide(clips)
        groups = {clip.group for clip in train}
        assert [c for c in clips if c.group in groups and c.tier in ("A", "B")] == train
        assert held_out == Split(tiers=("A", "B"), held_out_folds=(5,)).divide(clips)[1]
        paths.append({clip.path for clip in train})
    assert paths[0] < paths[1] < paths[2]
    assert 0.2 < len(paths[0]) / len(paths[2]) < 0.3
    assert 0.4 < len(paths[1]) / len(paths[2]) < 0.6


def test_another_seed_draws_other_audio() -> None:
    clips = random_clips(0)
    first, second = (
        Split(tiers=("A",), audio_share=0.5, audio_seed=seed).divide(clips)[0] for seed in (0, 1)
    )
    assert first != second


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_share_of_audio_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="audio_share"):
        Split(tiers=("A",), audio_share=share)


def test_known_leaks_across_folds_are_held_out_whole(clip_list: Path) -> None:
    clips = read_clip_list(clip_list)
    found = {clip.group for clip in clips} & LEAKING_GROUPS
    assert found == LEAKING_GROUPS
    for group in LEAKING_GROUPS:
        folds = {clip.fold for clip in clips if clip.group == group}
        assert len(folds) > 1, f"{group} does not leak"
        train, held_out = Split(tiers=("A", "B"), held_out_folds=(min(folds),)).divide(clips)
        assert group not in {clip.group for clip in train}
        assert {clip.fold for clip in held_out if clip.group == group} == folds


def test_scored_split_of_the_real_manifest_trains_on_no_esc_clip(clip_list: Path) -> None:
    split = Split(tiers=("A", "B"), held_out_folds=(5,), hold_out_esc=True)
    train, held_out = split.divide(read_clip_list(clip_list))
    assert sum(clip.is_esc for clip in held_out) == 2_000
    assert not any(clip.is_esc or clip.tier in ("C", "E") for clip in train)
