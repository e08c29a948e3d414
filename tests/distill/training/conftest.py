"""Targets of the workshop's clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.clip_list import read_clip_list
from distill.training.distill import open_targets
from distill.training.targets import CachedTargets
from tests.distill.workshop import TINY_RECIPE


@pytest.fixture
def targets(in_workshop: Path) -> CachedTargets:
    clips = read_clip_list(in_workshop / "data")
    cached = open_targets(TINY_RECIPE, clips, in_workshop / "runs" / "cache", 1)
    assert isinstance(cached, CachedTargets)
    return cached
