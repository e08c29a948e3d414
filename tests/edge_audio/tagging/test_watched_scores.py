"""Where watched labels alone have scores, these and their events are as with all labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

from edge_audio import BatchTagger, EventSpec, PolicySpec, Tagger, listen, tag
from edge_audio.archive.job import Job, make_job, tag_file
from edge_audio.backends import open_backend
from edge_audio.backends.fingerprint import fingerprint
from edge_audio.bundle.rows import HeadRows
from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity, Threshold
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.engine.image import build_image
from edge_audio.errors import UsageError
from edge_audio.sources.demo import DemoScene
from tests.support.runtimes import require_runtimes

MODEL = "micro-int8"
RATE_HZ = 16_000
RELATED = ("Dog", "bark", "Animal", "Bird", "Chirp, tweet", "Siren", "Yodeling")
ONLY = ((), ("Dog",), RELATED)
SOUND = "Oven"


@cache
def scene() -> np.ndarray:
    return DemoScene(RATE_HZ).first(30.0)


@pytest.fixture(params=["native", "litert", "onnx"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    require_runtimes(name)
    return name


@pytest.fixture
def native() -> str:
    require_runtimes("native")
    return "native"


def pair(**settings: Any) -> Iterator[Tagger]:
    """With the scores of all labels, and with those of watched ones."""
    yield Tagger.open(MODEL, **settings)
    yield Tagger.open(MODEL, scores="watched", **settings)


def columns(few: Tagger, every: Tagger) -> list[int]:
    return [every.labels.index(label) for label in few.labels]


@pytest.mark.parametrize("only", ONLY)
@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
@pytest.mark.parametrize("policy", [None, PolicySpec(), PolicySpec(related="first")])
def test_scores_and_events_of_watched_labels_keep_their_bits(
    backend: str, only: tuple[str, ...], sensitivity: Sensitivity, policy: PolicySpec | None
) -> None:
    every, few = pair(backend=backend, only=only, sensitivity=sensitivity, policy=policy)
    assert set(few.labels) == every.watched == few.watched
    assert len(few.labels) < len(every.labels)
    found, events = columns(few, every), []
    for of_all, of_few in zip(every.steps(scene()), few.steps(scene()), strict=True):
        np.testing.assert_array_equal(of_few.scores, of_all.scores[found])
        assert of_few.events == of_all.events
        events += of_few.events
    assert few.flush() == every.flush()
    assert events


@pytest.mark.parametrize("only", ONLY)
def test_blocks_and_batches_do_as_steps(backend: str, only: tuple[str, ...]) -> None:
    every, few = pair(backend=backend, only=only)
    batch = BatchTagger.open(MODEL, 2, backend, only=only, scores="watched")
    assert batch.labels == few.labels
    events = every.push(scene())
    assert few.push(scene()) == events
    assert batch.push(np.stack([scene()] * 2)) == [(i, event) for i in (0, 1) for event in events]
    np.testing.assert_array_equal(few.scores, every.scores[columns(few, every)])
    np.testing.assert_array_equal(batch.scores, [few.scores] * 2)
    assert [label for label, _ in few.top(1_000)] == [
        label for label, _ in every.top(1_000) if label in few.labels
    ]


def test_the_engine_computes_no_others(native: str) -> None:
    few = Tagger.open(MODEL, native, only=["Dog", "Siren"], scores="watched")
    library = few.backend.library  # type: ignore[attr-defined]
    assert library.ea_n_labels(few.backend.model) == 2  # type: ignore[attr-defined]
    whole = load_bundle(MODEL)
    assert build_image(few.bundle) == build_image(whole, few.labels)
    assert few.bundle.without_rows() == whole


def test_embeddings_and_other_streams_are_the_same(native: str) -> None:
    every, few = pair(backend=native, only="Dog", embedding=True)
    other = few.another()
    every.push(scene())
    assert other.push(scene()) == few.push(scene())
    np.testing.assert_array_equal(few.embedding, every.embedding)
    np.testing.assert_array_equal(other.scores, few.scores)


def test_whole_recordings_and_listening_have_them_too(native: str) -> None:
    settings: dict[str, Any] = {"model": MODEL, "backend": native, "only": "Dog"}
    every, few = (
        tag(scene(), RATE_HZ, **settings),
        tag(scene(), RATE_HZ, scores="watched", **settings),
    )
    assert few.labels == ("Dog",)
    assert few.events == every.events
    np.testing.assert_array_equal(few.by_label["Dog"], every.by_label["Dog"])
    with listen([scene()], scores="watched", **settings) as listening:
        assert tuple(listening) == every.events


@pytest.fixture
def taught(backend: str) -> tuple[Bundle, str]:
    """A model with a row that hears something all the time."""
    bundle = load_bundle(MODEL)
    network = fingerprint(open_backend(bundle, backend))
    on = dict.fromkeys(SENSITIVITIES, Threshold(on=0.4, off=0.3))
    weight = np.random.default_rng(0).integers(-127, 128, (1, len(network)), np.int8)
    rows = HeadRows(
        labels=(SOUND,),
        weight=weight,
        scale=np.full(1, 3e-3, np.float32),
        bias=np.zeros(1, np.float32),
        fingerprint=network,
        thresholds={SOUND: on},
        parents={SOUND: "Mechanisms"},
    )
    return bundle.with_rows(rows), backend


@pytest.mark.parametrize("labels", [(SOUND,), ("Dog", SOUND, "Siren")])
def test_learned_sounds_are_labels_like_others(
    taught: tuple[Bundle, str], labels: tuple[str, ...]
) -> None:
    bundle, backend = taught
    events = msgspec.structs.replace(
        bundle.manifest.events, thresholds={x: bundle.manifest.events.thresholds[x] for x in labels}
    )
    opened = [(x, open_backend(x, backend)) for x in (bundle, bundle.with_labels(labels))]
    every, few = (Tagger(*one, events, policy=PolicySpec()) for one in opened)
    assert set(few.labels) == set(labels)
    assert few.bundle.parents == bundle.parents
    found = every.push(scene())
    assert few.push(scene()) == found
    assert SOUND in {event.label for event in found}
    np.testing.assert_array_equal(few.scores, every.scores[columns(few, every)])


def test_what_has_no_score_cannot_be_watched_later(native: str) -> None:
    every, few = pair(backend=native, only=("Dog", "Siren"))
    of_dog = every.bundle.manifest.events.thresholds["Dog"]
    assert few.change_events(EventSpec(thresholds={"Dog": of_dog})) == []
    with pytest.raises(UsageError, match="'Bark' has no score"):
        few.change_events(EventSpec(thresholds={"Dog": of_dog, "Bark": of_dog}))
    assert few.watched == {"Dog"}
    every.change_events(EventSpec(thresholds={"Bark": of_dog}))


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"scores": "some"}, "scores are 'some': ask for"),
        ({"scores": "watched", "events": EventSpec()}, "no label is watched"),
        ({"scores": "watched", "only": "Dgo"}, "Dgo"),
    ],
)
def test_wrong_wishes_are_told(settings: dict[str, Any], hint: str) -> None:
    for open_one in (Tagger.open, BatchTagger.open):
        with pytest.raises(UsageError, match=hint):
            open_one(MODEL, **settings)


def test_a_bundle_has_the_labels_that_it_is_asked_for() -> None:
    bundle = load_bundle(MODEL)
    few = bundle.with_labels(["Siren", "Dog"])
    assert few.manifest.labels == ("Dog", "Siren")  # in the order of the scores
    assert few.with_labels(["Dog"]).whole == bundle
    assert bundle.with_labels(bundle.manifest.labels) == bundle
    with pytest.raises(UsageError, match="unknown label 'Dgo'"):
        bundle.with_labels(["Dgo"])


# `edge-audio tag` needs the scores of those labels alone that it may tell of.


def made_job(bundle: Bundle, backend: str, labels: tuple[str, ...], n_top: int) -> Job:
    """That reports half of these labels, and may tell of all."""
    watched = {label: Threshold(on=0.2, off=0.1) for label in labels[::2]}
    events = msgspec.structs.replace(bundle.manifest.events, thresholds=watched)
    return make_job(bundle, backend, events, n_top, labels)


@pytest.mark.parametrize("n_labels", [1, 40])
@pytest.mark.parametrize("n_top", [0, 5])
def test_files_are_tagged_as_with_the_scores_of_all_labels(
    native: str, n_labels: int, n_top: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "scene.wav")
    soundfile.write(path, scene(), RATE_HZ)
    top = tag(path, model=MODEL, backend=native).top(n_labels)
    job = made_job(load_bundle(MODEL), native, tuple(label for label, _ in top), n_top)
    assert len(job.open().labels) == n_labels
    few = tag_file(msgspec.msgpack.encode(job), path)
    assert few.segments
    assert bool(few.unwatched) == (n_labels > 1)
    monkeypatch.setattr(Bundle, "with_labels", lambda self, labels: self)
    monkeypatch.setattr("edge_audio.archive.job._opened", threading.local())
    assert len(job.open().labels) > n_labels
    assert tag_file(msgspec.msgpack.encode(job), path) == few


def test_what_is_explained_has_a_score_too(native: str) -> None:
    bundle = load_bundle(MODEL)
    watched = {"Dog": bundle.manifest.events.thresholds["Dog"]}
    events = msgspec.structs.replace(bundle.manifest.events, thresholds=watched)
    tagger = make_job(bundle, native, events, 3, ["Dog"]).open(["Yodeling"])
    assert set(tagger.labels) == {"Dog", "Yodeling"}
    tagger.push(scene())
    assert tagger.label_state("Yodeling").smoothed > 0.0
    nothing = make_job(bundle, native, EventSpec(), 3, ()).open()
    assert nothing.labels == bundle.manifest.labels
