"""What commands are expected to hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event
from edge_audio.tagging.tagger import Tagger
from tests.support.serial_reports import Hears


@pytest.fixture(scope="session")
def tagger_hears(samples: np.ndarray, program: Path) -> Hears:
    """What the tagger of this package reports with the same engine, given --threshold and --only.
    (The program is asked for because both need a compiler.)"""
    manifest = load_bundle("micro-int8").manifest

    def hear(threshold: float | None, *only: str) -> list[Event]:
        spec = select_events(manifest.events, manifest.labels, only, (), threshold)
        tagger = Tagger.open("micro-int8", backend="native", events=spec)
        return tagger.push(samples) + tagger.flush()

    return hear
