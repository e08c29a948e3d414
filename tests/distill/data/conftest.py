"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.shards import ShardWriter
from tests.distill import workshop


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 clips of the workshop as loose files."""
    folder = tmp_path_factory.mktemp("loose")
    workshop.make_data(folder, n_per_fold=1)
    return folder


@pytest.fixture(scope="module")
def shards(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same clips in five tars."""
    folder = tmp_path_factory.mktemp("shards")
    assert len(list(ShardWriter(data, folder, workshop.CLIPS_PER_SHARD, seed=1))) == 5
    return folder
