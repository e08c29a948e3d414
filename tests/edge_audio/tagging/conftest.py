"""A loaded model, and a spec by which it has many events in `SCENE`."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge_audio import Tagger
from edge_audio.backends import Backend, open_backend
from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle
from tests.support import toy
from tests.support.runtimes import open_or_skip
from tests.support.scene import RATE_HZ


@pytest.fixture(scope="package", params=["toy", "native"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Backend]:
    if request.param == "toy":
        return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy"), toy.NumpyBackend()
    bundle = load_bundle("micro-int8")
    open_or_skip(bundle, "native")
    return bundle, open_backend(bundle, "native")


@pytest.fixture
def eventful(loaded: tuple[Bundle, Backend]) -> EventSpec:
    """Low thresholds, of labels that are not heard in silence."""
    bundle, backend = loaded
    silent = Tagger(bundle, backend)
    silent.push(np.zeros(15 * RATE_HZ, np.float32))
    labels = [label for label, score in silent.by_label.items() if score < 0.005]
    spec = msgspec.structs.replace(bundle.manifest.events, min_on_s=0.1, min_off_s=0.3)
    thresholds = {label: Threshold(on=0.02, off=0.014) for label in labels}
    events: EventSpec = msgspec.structs.replace(spec, thresholds=thresholds)
    return events
