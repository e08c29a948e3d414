"""Kin among AudioSet labels: the tree holds all labels of the shipped models."""

from __future__ import annotations

import pytest

from edge_audio.bundle.store import load_bundle, shipped_bundles
from edge_audio.labels.ontology import (
    _SYNONYMS,
    _TREE,
    ancestor_labels,
    related_labels,
    synonymous_labels,
)


def names_in_order() -> list[str]:
    lines = _TREE.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("model", shipped_bundles())
def test_all_labels_of_shipped_models_are_in_the_tree_in_their_order(model: str) -> None:
    labels = list(load_bundle(model).manifest.labels)
    assert len(labels) == 527
    assert [name for name in names_in_order() if name in set(labels)] == labels


def test_the_tree_has_as_many_names_as_the_published_ontology() -> None:
    assert len(names_in_order()) == 632


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("Speech", "Narration, monologue"),
        ("Dog", "Bark"),
        ("Animal", "Bark"),
        ("Vehicle", "Bicycle bell"),  # by way of Bicycle
        ("Alarm", "Bicycle bell"),  # and of several parents
        ("Bell", "Bicycle bell"),
        ("Emergency vehicle", "Ambulance (siren)"),
        ("Siren", "Ambulance (siren)"),
        ("Vehicle", "Skateboard"),  # by way of a category that only later models may have
        ("Music", "Pop music"),  # by way of one that only groups others
    ],
)
def test_a_label_and_what_it_is_a_kind_of_are_kin(parent: str, child: str) -> None:
    assert child in related_labels(parent)
    assert parent in related_labels(child)


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("Bark", "Growling"),  # siblings
        ("Speech", "Shout"),
        ("Siren", "Emergency vehicle"),  # they share a child
        ("Dog", "Cat"),
        ("Dog", "Dog"),
        ("Speech", "Human voice"),
    ],
)
def test_others_are_not(label: str, other: str) -> None:
    assert other not in related_labels(label)


def test_kin_are_mutual() -> None:
    for name in names_in_order():
        assert all(name in related_labels(other) for other in related_labels(name))


@pytest.mark.parametrize("label", ["Human sounds", "[Human sounds]", "Band 6", "Fridge", ""])
def test_groups_and_labels_of_others_have_no_relatives(label: str) -> None:
    assert related_labels(label) == frozenset()


def test_kin_of_a_label_are_all_of_its_line() -> None:
    assert related_labels("Dog") == {
        "Animal",
        "Domestic animals, pets",
        *("Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)", "Bay"),
    }


def test_ancestors_are_the_related_labels_that_are_more_general() -> None:
    assert ancestor_labels("Bark") == {"Dog", "Animal", "Domestic animals, pets"}
    assert ancestor_labels("Fridge") == frozenset()
    for label in names_in_order():
        assert all(label not in ancestor_labels(other) for other in ancestor_labels(label))


def test_synonyms_are_labels_beside_each_other() -> None:
    known = set(names_in_order())
    for group in _SYNONYMS:
        assert group <= known
        for label in group:
            assert synonymous_labels(label) >= group - {label}
            assert not synonymous_labels(label) & related_labels(label)
    assert synonymous_labels("Dog") == frozenset()
