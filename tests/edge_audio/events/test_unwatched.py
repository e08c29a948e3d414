"""Labels that are off, and heard all the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.choice import select_events
from edge_audio.events.unwatched import MAX_TOLD, UnwatchedSounds, switch_on

LABELS = ("Speech", "Dog", "Bark", "Doorbell", *(f"Label {i}" for i in range(9)))
SPEC = EventSpec(min_on_s=0.08, thresholds={"Speech": Threshold(on=0.9, off=0.6)})
STEP_S = 0.08


def heard(
    *steps: dict[str, float], wanted: Collection[str] | None = None, sounding: Collection[str] = ()
) -> UnwatchedSounds:
    sounds = UnwatchedSounds(LABELS, SPEC, STEP_S, wanted)
    for i, step in enumerate(steps):
        scores = np.array([step.get(label, 0.0) for label in LABELS], np.float32)
        sounds.push(scores, (i + 1) * STEP_S, sounding)
    return sounds


def test_a_label_that_is_off_is_heard_with_its_highest_score() -> None:
    sounds = heard({"Doorbell": 0.6}, {"Doorbell": 0.8}, {"Doorbell": 0.91}, {"Doorbell": 0.7})
    assert sounds.lines() == [
        "Doorbell 0.91, off: too little evidence; --threshold Doorbell=0.5",
    ]


def test_many_steps_at_once_are_heard_as_one_by_one_and_a_reset_forgets_them() -> None:
    generator = np.random.default_rng(0)
    scores = np.repeat(generator.random((20, len(LABELS))), 3, axis=0).astype(np.float32)
    times_s = [(i + 1) * STEP_S for i in range(len(scores))]
    slow, sounds = (UnwatchedSounds(LABELS, SPEC, STEP_S) for _ in range(2))
    expected = [new for i, row in enumerate(scores) for new in slow.push(row, times_s[i])]
    for _ in range(2):
        found = [
            new
            for start in range(0, len(scores), 7)
            for new in sounds.push_steps(scores[start : start + 7], times_s[start:])
        ]
        assert found == expected
        assert sounds.heard == slow.heard
        assert len(expected) > 3
        sounds.reset()
        assert not sounds.heard


@pytest.mark.parametrize(
    "steps",
    [
        [{"Speech": 0.8}] * 4,  # on, though its threshold is out of reach
        [{"Doorbell": 0.4}] * 4,
        [{"Doorbell": 0.9}],  # shorter than an event must be
    ],
)
def test_what_is_on_low_or_too_short_is_not(steps: list[dict[str, float]]) -> None:
    assert heard(*steps).lines() == []


@pytest.mark.parametrize(("score", "told"), [(0.35, ["Doorbell"]), (0.25, [])])
def test_a_label_whose_neighbours_start_low_is_told_of_where_it_scores_low(
    score: float, told: list[str]
) -> None:
    """As a doorbell of 0.41 is, which --threshold Doorbell=0.18 would make an event of."""
    labels = ("Doorbell", "Ding-dong")
    spec = EventSpec(thresholds={"Ding-dong": Threshold(on=0.1, off=0.07)})
    sounds = UnwatchedSounds(labels, spec, STEP_S)
    sounds.push(np.array([score, 0.0], np.float32), STEP_S)
    assert list(sounds.heard) == told


def test_related_labels_say_the_same_and_are_told_once_or_not_at_all() -> None:
    steps = [{"Dog": 0.9, "Bark": 0.8}] * 3
    assert [one.label for one in heard(*steps).highest()] == ["Dog"]
    assert heard(*steps, sounding=["Animal"]).heard == {}


def test_what_is_folded_into_a_label_that_sounds_covers_as_it_would_itself() -> None:
    """Dog would be an event, and is held back by Bark."""
    labels = ("Dog", "Bark", "Bow-wow")
    scores = np.array([0.9, 0.9, 0.8], np.float32)
    for watched, told in ((labels[:2], []), (labels[1:2], ["Dog", "Bow-wow"])):
        spec = EventSpec(thresholds=dict.fromkeys(watched, Threshold(on=0.5, off=0.3)))
        sounds = UnwatchedSounds(labels, spec, STEP_S, wanted=(*watched, "Bow-wow"))
        sounds.push(scores, STEP_S, sounding=["Bark"])
        assert list(sounds.heard) == told[1:]


def test_what_the_user_ruled_out_is_not_told() -> None:
    assert heard(*[{"Doorbell": 0.9}] * 3, wanted={"Speech", "Dog"}).heard == {}


def test_a_label_that_is_switched_on_is_told_no_more() -> None:
    sounds = heard(*[{"Doorbell": 0.9}] * 3)
    sounds.change(select_events(SPEC, LABELS, threshold={"Doorbell": 0.5}))
    assert sounds.heard == {}


def test_many_labels_are_counted() -> None:
    names = [label for label in LABELS if label.startswith("Label")]
    lines = heard(*[dict.fromkeys(names, 0.9)] * 3).lines()
    assert len(lines) == MAX_TOLD + 1
    assert lines[-1] == f"{len(names) - MAX_TOLD} more labels that are off were heard"


def test_the_advice_can_be_given_to_a_shell() -> None:
    assert switch_on("Label 3", 0.5) == "--threshold 'Label 3=0.5'"
    assert switch_on("Doorbell", 0.5) == "--threshold Doorbell=0.5"
