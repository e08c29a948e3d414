"""related_labels.json: what an app must know of labels that may name one sound."""

from __future__ import annotations

import msgspec

from edge_audio.bundle.store import load_bundle
from edge_audio.labels.ontology import ancestor_labels, related_labels, synonymous_labels
from quantize.publish import related


def test_the_file_says_of_every_label_what_the_ontology_does() -> None:
    labels = load_bundle("tiny-int8").manifest.labels
    found = msgspec.json.decode(
        related.related_labels(labels).to_bytes(), type=related.RelatedLabels
    )
    for label in labels:
        assert set(found.ancestors.get(label, ())) == ancestor_labels(label) & set(labels)
        assert set(found.synonyms.get(label, ())) == synonymous_labels(label) & set(labels)
        kinds = {name for name, ancestors in found.ancestors.items() if label in ancestors}
        assert kinds | ancestor_labels(label) == related_labels(label) & set(labels) | (
            ancestor_labels(label)
        )


def test_a_model_of_few_labels_names_no_others() -> None:
    found = related.related_labels(["Bark", "Animal", "Clapping", "Siren"])
    assert found == related.RelatedLabels({"Bark": ["Animal"]}, {})
