"""The stored negatives of a bundle: what `edge-audio learn` tells a new sound from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.data.licences import SHIPPED_TIERS
from distill.data.split import Split, true_tier
from distill.progress import tracked
from edge_audio.backends.registry import NATIVE
from edge_audio.bundle.store import Bundle, is_shipped, save_bundle
from edge_audio.errors import UsageError
from edge_audio.learning.bank import BANK_FILE, BANKS_DIR, MAX_BANK_BYTES, Bank, encode_bank
from edge_audio.learning.network import Embedder, Network
from edge_audio.support.arrays import FloatArray
from edge_audio.support.files import write_atomically

MAX_CLIP_S = 6.0
_N_RECORDINGS = 1_100
_MIN_SHRINK = 0.9  # of the number of recordings, until the bank is small enough


def add_negatives(
    bundle: Bundle, split: Split, clips: Sequence[Clip], folder: Path, seed: int = 0
) -> Path:
    """Writes negatives of clips that the bundle was trained on: into the bundle, or, for one that
    is shipped, beside the package's code, where all bundles of its network find them. Raises
    UsageError where there are no clips of tiers that may be shipped."""
    content = bank_of(Network(bundle, NATIVE.name), split, clips, folder, seed)
    if is_shipped(bundle):
        path = BANKS_DIR / f"{bundle.path.name}.bin"
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
        return path
    files = bundle.contents() | {BANK_FILE: content}
    return save_bundle(bundle.path, bundle.manifest, files).path / BANK_FILE


def bank_of(
    network: Network, split: Split, clips: Sequence[Clip], folder: Path, seed: int = 0
) -> bytes:
    """The content of BANK_FILE, below MAX_BANK_BYTES: recordings of training, each once."""
    rows = telling_rows(network, split, clips, folder, seed)
    n = len(rows)
    while len(content := _encoded(rows[:n], network)) > MAX_BANK_BYTES:
        n = int(n * _MIN_SHRINK)
    return content


def telling_rows(
    network: Embedder, split: Split, clips: Sequence[Clip], folder: Path, seed: int = 0
) -> list[FloatArray]:
    """f32[1 or 2, D] of each recording of training that is chosen."""
    chosen = _chosen(split, clips, np.random.default_rng(seed))
    rate_hz, rows = network.sample_rate_hz, []
    for clip in tracked(chosen, "hearing negatives"):
        samples = read_clip(folder / clip.path, rate_hz)[: round(MAX_CLIP_S * rate_hz)]
        rows.append(_telling(network.hear(samples)[1]))
    return rows


def bank_rows(rows: Sequence[FloatArray]) -> Bank:
    """A bank of what `telling_rows` chose."""
    owners = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    return Bank(np.concatenate(rows), owners)


def _chosen(split: Split, clips: Sequence[Clip], rng: np.random.Generator) -> list[Clip]:
    """One clip of each group, of tiers A and B alone."""
    trained = [clip for clip in split.divide(clips)[0] if true_tier(clip) in SHIPPED_TIERS]
    by_group: dict[str, list[Clip]] = {}
    for clip in trained:
        by_group.setdefault(clip.group, []).append(clip)
    if not by_group:
        raise UsageError("no clip of training may be shipped: there is nothing to store")
    groups = sorted(by_group)
    order = rng.permutation(len(groups))[:_N_RECORDINGS]
    picked = [by_group[groups[index]] for index in order]
    chosen = [of_group[int(rng.integers(len(of_group)))] for of_group in picked]
    if len(chosen) < _N_RECORDINGS:  # few groups, such as libraries of one maker: more of each
        rest = sorted({clip.path for clip in trained} - {clip.path for clip in chosen})
        by_path = {clip.path: clip for clip in trained}
        more = rng.permutation(len(rest))[: _N_RECORDINGS - len(chosen)]
        chosen += [by_path[rest[index]] for index in more]
    return chosen


def _telling(rows: FloatArray) -> FloatArray:
    """Two steps of a clip: the one that is furthest from silence, and the one that is furthest from
    that."""
    first = int(np.linalg.norm(rows - rows[0], axis=1).argmax())
    second = int(np.linalg.norm(rows - rows[first], axis=1).argmax())
    return rows[sorted({first, second})]


def _encoded(rows: Sequence[FloatArray], network: Network) -> bytes:
    return encode_bank(bank_rows(rows), network.fingerprint)
