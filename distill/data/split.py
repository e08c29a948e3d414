"""Which clips train and which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from distill.data.clip_list import Clip
from distill.data.licences import SHIPPED_TIERS, licence_tier
from distill.data.strange import strange_source
from edge_audio.bundle.spec import Spec
from edge_audio.errors import EdgeAudioError, UsageError


class Split(Spec, frozen=True):
    """Which clips training may use.

    tiers: licence tiers that may train. What they say is held against the licence itself: if that
        forbids what tiers A and B promise, the clip does not train, but where tier E may too.
    held_out_folds: clips of these folds are kept for calibration and scoring.
    hold_out_esc: keep every ESC clip out as well.
    hold_out_strange: keep the strange sources out as well (`strange.toml`), ESC among them.
    audio_share: of what is left, the share of groups that trains, drawn by audio_seed; those of a
        smaller share are among those of a larger one.
    """

    tiers: tuple[str, ...]
    held_out_folds: tuple[int, ...] = ()
    hold_out_esc: bool = False
    hold_out_strange: bool = False
    audio_share: float = 1.0
    audio_seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.audio_share <= 1.0:
            raise ValueError("audio_share must be above 0 and at most 1")

    def divide(self, clips: Iterable[Clip]) -> tuple[list[Clip], list[Clip]]:
        """(training clips, held-out clips). A group with one held-out clip is held out whole,
        so that no recording is heard on both sides.

        Raises UsageError if a held-out fold is empty or no clip is left to train on.
        """
        clips = list(clips)
        folds = {clip.fold for clip in clips}
        if not folds.issuperset(self.held_out_folds):
            absent = sorted(set(self.held_out_folds) - folds)
            raise UsageError(
                f"held_out_folds: no clip is in {absent}, the folds are {sorted(folds)}: leave "
                "out what is not there, --set split.held_out_folds=[...]"
            )
        groups = {clip.group for clip in clips if self._holds_out(clip)}
        train = [clip for clip in clips if clip.group not in groups and self._trains(clip)]
        if not train:
            raise UsageError(f"the split leaves no training clips: {self._why_none(clips, groups)}")
        return train, [clip for clip in clips if clip.group in groups]

    def training_positions(self, clips: Sequence[Clip]) -> list[int]:
        """Positions in `clips` of those that may train."""
        chosen = {clip.path for clip in self.divide(clips)[0]}
        return [index for index, clip in enumerate(clips) if clip.path in chosen]

    def _trains(self, clip: Clip) -> bool:
        """Of a clip that is not held out."""
        if not {clip.tier, true_tier(clip)}.issubset(self.tiers):
            return False
        return self.audio_share == 1.0 or self._place_of(clip.group) < self.audio_share

    def _why_none(self, clips: Sequence[Clip], held_out: Collection[str]) -> str:
        """Of a split without training clips: what stands in the way, and what to change."""
        left = [clip for clip in clips if clip.group not in held_out]
        tiers = sorted({true_tier(clip) for clip in left})
        if not left or set(tiers) & set(self.tiers):
            return "all are held out, or audio_share is too small"
        wanted = ", ".join(f'"{tier}"' for tier in dict.fromkeys((*self.tiers, *tiers)))
        return (
            f"{len(left)} clips are of licence tier {', '.join(tiers)}, of which none may train; "
            f"for a student of your own: --set split.tiers='[{wanted}]'"
        )

    def _place_of(self, group: str) -> float:
        """Within 0 and 1, by chance, but the same wherever the group is listed."""
        digest = hashlib.sha256(f"{self.audio_seed}\n{group}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64

    def _holds_out(self, clip: Clip) -> bool:
        return (
            clip.fold in self.held_out_folds
            or (self.hold_out_esc and clip.is_esc)
            or (self.hold_out_strange and bool(strange_source(clip)))
        )


def true_tier(clip: Clip) -> str:
    """The clip's tier, or E where it promises what the licence forbids."""
    forbidden = clip.tier in SHIPPED_TIERS and licence_tier(clip.licence) == "E"
    return "E" if forbidden else clip.tier


def heard_groups(split: Split, clips: Sequence[Clip]) -> frozenset[str]:
    """Groups of the clips that training on `split` of all `clips` hears."""
    return frozenset(clip.group for clip in split.divide(clips)[0])


def require_unheard(
    split: Split,
    clips: Sequence[Clip],
    scored: Sequence[Clip],
    *,
    who: str,
    advice: str,
    what: str = "clips",
    error: type[EdgeAudioError] = EdgeAudioError,
) -> None:
    """Raises `error` if training on `split` of all `clips` hears one of `scored`, or another clip
    of its group. who: was trained so; what: the scored clips are; advice: what to do about it."""
    heard = heard_groups(split, clips)
    leaks = [clip.path for clip in scored if clip.group in heard]
    if leaks:
        raise error(
            f"{who} has heard {len(leaks)} of {len(scored)} {what} in training, such as "
            f"{leaks[0]}: {advice}"
        )
