"""The committed files of the toy model are what the exporters make of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_audio.backends.registry import RUNTIMES as BACKENDS
from tests.support import toy
from tests.support.runtimes import open_or_skip

pytest.importorskip("litert_torch", reason="needs the export extra")

from tests.support.toy_export import (
    RUNTIMES,
    VERSIONS_FILE,
    export_toy,
    exporter_versions,
)


@pytest.fixture(scope="module", params=sorted(RUNTIMES))
def rebuilt(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """{suffix: content} of one of the files, made anew."""
    return {request.param: export_toy(request.param)}


def test_a_rebuilt_toy_has_the_bits_of_the_committed_one(rebuilt: dict[str, bytes]) -> None:
    """Only exporters of the same versions are known to write the same bytes."""
    made_by = json.loads(VERSIONS_FILE.read_text(encoding="utf-8"))
    if made_by != exporter_versions():
        pytest.skip(f"the files were made by {made_by}: python -m tests.support.toy_export")
    assert all(content == toy.exported()[suffix] for suffix, content in rebuilt.items())


def test_a_rebuilt_toy_scores_as_the_committed_one(
    rebuilt: dict[str, bytes], tmp_path: Path
) -> None:
    """Names, shapes and types of tensors are compared with the manifest as a bundle is opened."""
    (suffix,) = rebuilt
    name = RUNTIMES[suffix]
    assert BACKENDS[name].file == f"model.{suffix}"
    frames = np.random.default_rng(0).normal(-0.5, 1.0, (800, 64)).astype(np.float32)
    committed = {suffix: toy.exported()[suffix]}
    found, expected = (
        toy.run_steps(open_or_skip(toy.save_toy(tmp_path / folder, **files), name), frames)
        for folder, files in (("rebuilt", rebuilt), ("committed", committed))
    )
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_every_committed_file_is_one_that_is_rebuilt() -> None:
    assert toy.exported().keys() == RUNTIMES.keys()
