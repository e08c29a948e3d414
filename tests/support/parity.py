"""Folders with what the authors' own code computed: those of the repository, and all others
beside it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from distill.teachers.parity import architecture_of, read_arrays, state_of
from distill.teachers.published.network import Network
from distill.teachers.published.registry import kinds, system_of
from distill.teachers.published.system import assemble
from tests.support.paths import REPOSITORY
from tests.support.shared_folders import SHARED

COMMITTED = REPOSITORY / "tests" / "data" / "parity"
"""Tiny networks with random weights: `golden.npz` and `config.json` of each, and small variants."""


def parity_folders() -> list[Path]:
    """One folder for each adapter; the shared one, which has more variants, where it is there."""
    found = [_folder(kind) for kind in kinds()]
    return [folder for folder in found if folder is not None]


def _folder(kind: str) -> Path | None:
    places = (SHARED / "parity" / kind, COMMITTED / kind)
    return next((place for place in places if place.is_dir()), None)


def golden_state(kind: str) -> dict[str, Tensor]:
    """The weights of an adapter's golden under the authors' names."""
    return state_of(read_arrays(COMMITTED / kind / "golden.npz"))


def golden_network(kind: str) -> Network:
    """An adapter's tiny network."""
    path = COMMITTED / kind / "golden.npz"
    return assemble(system_of(kind), golden_state(kind), {}, architecture_of(path), kind)


def golden_waveform(kind: str) -> Tensor:
    """[1, n], what its golden was computed from."""
    return read_arrays(COMMITTED / kind / "golden.npz")["waveform"].flatten(0, -2)
