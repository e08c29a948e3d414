"""Labels beside those of a model: rows on its embedding, as the head has one for each label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import EventSpec, ModelSpec, Sensitivity, Threshold
from edge_audio.support.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class HeadRows:
    """Labels whose scores are sigmoid(scale * (weight @ embedding) + bias).

    weight: i8[n, embedding_dim]. scale, bias: f32[n]. thresholds: of each label at each
    sensitivity. parents: label -> the label of the model that it is a kind of. fingerprint: what
    the network that they were made for gives, see `edge_audio.backends.fingerprint`.
    path: of the file that they were read from.
    """

    labels: tuple[str, ...]
    weight: NDArray[np.int8]
    scale: FloatArray
    bias: FloatArray
    fingerprint: FloatArray
    path: str = ""
    thresholds: Mapping[str, Mapping[Sensitivity, Threshold]] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)

    def scores(self, embedding: FloatArray) -> FloatArray:
        """f32[embedding_dim] -> f32[n], probabilities."""
        logits = self.scale * (self.weight.astype(np.float32) @ embedding) + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0))), np.float32)


def extended(manifest: Manifest, rows: HeadRows) -> Manifest:
    """The manifest as if its model had these labels too, behind its own. Raises ValueError where a
    label is one of its own."""
    labels = (*manifest.labels, *rows.labels)
    return msgspec.structs.replace(
        manifest,
        labels=labels,
        model=with_n_scores(manifest.model, len(labels)),
        events=_with_thresholds(manifest.events, rows),
    )


def reduced(manifest: Manifest, rows: HeadRows) -> Manifest:
    """What `extended` had made a manifest of."""
    return with_labels(manifest, manifest.labels[: len(manifest.labels) - len(rows.labels)])


def with_labels(manifest: Manifest, labels: tuple[str, ...]) -> Manifest:
    """The manifest as if its model had these of its labels alone."""
    return msgspec.structs.replace(
        manifest,
        labels=labels,
        model=with_n_scores(manifest.model, len(labels)),
        events=manifest.events.of_labels(labels),
    )


def with_n_scores(model: ModelSpec, n_labels: int) -> ModelSpec:
    """The model as if it scored so many labels."""
    scores = msgspec.structs.replace(model.scores, shape=(1, n_labels))
    return msgspec.structs.replace(model, scores=scores)


def _with_thresholds(events: EventSpec, rows: HeadRows) -> EventSpec:
    """At the sensitivities that the model has."""
    return msgspec.structs.replace(
        events,
        thresholds={**events.thresholds, **_thresholds_at(rows, "normal")},
        sensitivities={
            x: {**thresholds, **_thresholds_at(rows, x)}
            for x, thresholds in events.sensitivities.items()
        },
    )


def _thresholds_at(rows: HeadRows, sensitivity: Sensitivity) -> dict[str, Threshold]:
    return {label: rows.thresholds[label][sensitivity] for label in rows.labels}
