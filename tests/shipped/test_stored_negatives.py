"""Every shipped model of the C engine can be taught sounds: negatives of its network are in the
package."""

from __future__ import annotations

import pytest

from edge_audio import shipped_bundles
from edge_audio.backends import backends_for
from edge_audio.bundle.store import load_bundle
from edge_audio.learning.bank import BANKS_DIR, MAX_BANK_BYTES
from edge_audio.learning.network import Network

MIN_RECORDINGS = 500


TAUGHT = [x for x in shipped_bundles() if "native" in backends_for(load_bundle(x))]


def test_all_sizes_and_families_are_taught() -> None:
    assert {"micro-int8", "tiny-int8", "small-int8", "tiny-xlstm-int8"} <= set(TAUGHT)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_shipped_model_has_stored_negatives(name: str) -> None:
    bundle = load_bundle(name)
    bank = Network(bundle, "native").bank
    assert bank.n_recordings > MIN_RECORDINGS


def test_they_are_as_small_as_promised() -> None:
    sizes = {path.name: path.stat().st_size for path in BANKS_DIR.glob("*.bin")}
    assert sizes
    assert max(sizes.values()) <= MAX_BANK_BYTES <= 200 * 1024
