"""Events on their way out: whatever comes in, each start that leaves has one end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.events.detector import Event
from edge_audio.events.policy import ONE_SOUND, REPORT_ALL, EventPolicy, PolicySpec
from edge_audio.labels.ontology import related_labels

LABELS = ("Animal", "Dog", "Bark", "Growling", "Cat", "Siren", "Fridge")
STEP_S = 0.5
Row = tuple[str, str, float]

specs = st.builds(
    PolicySpec,
    cooldown_s=st.sampled_from([0.0, 0.5, 3.0, 1000.0]),
    max_s=st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    related=st.sampled_from(["all", "first", "most-specific"]),
)
# For each step, the labels that begin or end in it, and how late that is reported.
well_formed = st.lists(
    st.dictionaries(st.sampled_from(LABELS), st.sampled_from([0.0, 0.25, 0.5]), max_size=3),
    max_size=30,
)
anything = st.lists(
    st.lists(
        st.builds(
            Event,
            kind=st.sampled_from(["start", "end"]),
            label=st.sampled_from(LABELS),
            time_s=st.floats(-5.0, 20.0),
            score=st.floats(0.0, 1.0),
        ),
        max_size=4,
    ),
    max_size=20,
)


def detected(changes: list[dict[str, float]]) -> tuple[list[list[Event]], list[Event]]:
    """What a detector reports per step and at the end."""
    began_s: dict[str, float] = {}
    steps = []
    for i, step in enumerate(changes):
        events = []
        for label, late_s in step.items():
            time_s = max((i + 1) * STEP_S - late_s, began_s.get(label, 0.0))
            if label in began_s:
                del began_s[label]
                events.append(Event("end", label, time_s, 0.9))
            else:
                began_s[label] = time_s
                events.append(Event("start", label, time_s, 0.5))
        steps.append(sorted(events, key=lambda event: event.time_s))
    end_s = len(changes) * STEP_S
    return steps, [Event("end", label, end_s, 0.9) for label in began_s]


def passed(
    spec: PolicySpec, steps: list[list[Event]], last: list[Event] | None = None
) -> list[Event]:
    policy = EventPolicy(spec)
    found = [e for i, step in enumerate(steps) for e in policy.push(step, (i + 1) * STEP_S)]
    return found + policy.flush(last or [], len(steps) * STEP_S)


def rows(events: list[Event]) -> list[Row]:
    return [(event.kind, event.label, event.time_s) for event in events]


def run(spec: PolicySpec, n_steps: int, *events: Row) -> list[Row]:
    """What leaves, where each event is reported in the step in which it happens."""
    steps: list[list[Event]] = [[] for _ in range(n_steps)]
    for kind, label, time_s in events:
        steps[round(time_s / STEP_S) - 1].append(Event(kind, label, time_s, 0.5))  # type: ignore[arg-type]
    return rows(passed(spec, steps))


@settings(max_examples=300, deadline=None)
@given(spec=specs, steps=anything)
def test_whatever_comes_in_starts_and_ends_alternate_and_times_never_fall(
    spec: PolicySpec, steps: list[list[Event]]
) -> None:
    found = passed(spec, steps)
    for label in LABELS:
        own = [event for event in found if event.label == label]
        assert [event.kind for event in own] == ["start", "end"] * (len(own) // 2)
        assert all(a.time_s <= b.time_s for a, b in pairwise(own))


@settings(max_examples=300, deadline=None)
@given(changes=well_formed)
def test_where_all_is_reported_events_leave_as_they_came(changes: list[dict[str, float]]) -> None:
    steps, last = detected(changes)
    assert passed(REPORT_ALL, steps, last) == [*(e for step in steps for e in step), *last]


@settings(max_examples=300, deadline=None)
@given(spec=specs, changes=well_formed)
def test_nothing_is_invented_prolonged_or_reported_within_a_cooldown(
    spec: PolicySpec, changes: list[dict[str, float]]
) -> None:
    steps, last = detected(changes)
    found = passed(spec, steps, last)
    came = [*(e for step in steps for e in step), *last]
    assert all(event in came for event in found if event.kind == "start")
    for label in LABELS:
        own = [event for event in found if event.label == label]
        for start, end in zip(own[::2], own[1::2], strict=True):
            assert end.time_s <= start.time_s + (spec.max_s or float("inf"))
        for end, start in zip(own[1::2], own[2::2], strict=False):
            assert start.time_s >= end.time_s + spec.cooldown_s


def test_a_sound_within_the_cooldown_is_not_reported_and_does_not_prolong_it() -> None:
    spec = PolicySpec(cooldown_s=3.0)
    came: list[Row] = [
        ("start", "Dog", 1.0),
        ("end", "Dog", 2.0),
        ("start", "Dog", 4.5),
        ("end", "Dog", 5.0),  # quiet until 5.0
        ("start", "Dog", 5.5),
        ("end", "Dog", 6.0),
    ]
    assert run(spec, 20, *came) == [*came[:2], *came[4:]]


def test_a_cooldown_is_of_one_label_alone() -> None:
    came: list[Row] = [
        ("start", "Dog", 1.0),
        ("end", "Dog", 2.0),
        ("start", "Siren", 2.5),
        ("end", "Siren", 3.0),
    ]
    assert run(PolicySpec(cooldown_s=60.0), 20, *came) == came


def test_a_long_sound_ends_early_on_time_and_is_quiet_until_its_real_end() -> None:
    spec = PolicySpec(max_s=2.25, cooldown_s=1.0)
    came: list[Row] = [
        ("start", "Siren", 1.0),
        ("end", "Siren", 8.0),
        ("start", "Siren", 8.5),  # its cooldown begins at the real end
        ("end", "Siren", 8.75),
        ("start", "Siren", 9.5),
        ("end", "Siren", 9.75),
    ]
    cut: list[Row] = [("start", "Siren", 1.0), ("end", "Siren", 3.25)]
    assert run(spec, 30, *came) == [*cut, *came[4:]]


def test_the_end_of_a_long_sound_leaves_as_soon_as_it_is_due() -> None:
    policy = EventPolicy(PolicySpec(max_s=2.0))
    start = Event("start", "Siren", 0.5, 0.6)
    assert policy.push([start], 0.5) == [start]
    assert policy.push([], 2.0) == []
    assert policy.push([], 2.5) == [Event("end", "Siren", 2.5, 0.6)]
    assert policy.push([Event("end", "Siren", 3.0, 0.9)], 3.0) == []


@pytest.mark.parametrize("first", ["Dog", "Bark", "Animal"])
def test_while_a_label_sounds_its_kin_do_not_start(first: str) -> None:
    others = [label for label in ("Animal", "Dog", "Bark") if label != first]
    came: list[Row] = [("start", first, 1.0)]
    for label in others:
        came += [("start", label, 1.5), ("end", label, 2.0)]
    came += [("start", "Siren", 2.0), ("end", first, 2.5), ("end", "Siren", 3.0)]
    kept = [row for row in came if row[1] in (first, "Siren")]
    assert run(PolicySpec(related="first"), 10, *came) == kept
    assert run(PolicySpec(related="all"), 10, *came) == sorted(came, key=lambda row: row[2])


def test_what_was_held_back_for_its_kin_stays_so_until_its_own_end() -> None:
    came: list[Row] = [
        ("start", "Dog", 1.0),
        ("start", "Bark", 1.5),
        ("end", "Dog", 2.0),
        ("start", "Growling", 2.5),  # Bark is no kin of it
        ("end", "Bark", 3.0),
        ("end", "Growling", 3.0),
        ("start", "Bark", 3.5),
        ("end", "Bark", 4.0),
    ]
    held = (("start", "Bark", 1.5), ("end", "Bark", 3.0))
    kept = [row for row in came if row not in held]
    assert run(PolicySpec(related="first"), 10, *came) == kept


def test_kin_are_held_back_for_a_label_that_is_quiet_itself() -> None:
    spec = PolicySpec(related="first", max_s=1.0, cooldown_s=60.0)
    came: list[Row] = [
        ("start", "Dog", 1.0),  # ends at 2.0, for it is long
        ("start", "Bark", 3.0),
        ("end", "Bark", 4.0),
        ("end", "Dog", 5.0),
        ("start", "Dog", 6.0),  # in its cooldown
        ("start", "Bark", 6.0),
        ("end", "Bark", 7.0),
        ("end", "Dog", 7.0),
    ]
    assert run(spec, 20, *came) == [("start", "Dog", 1.0), ("end", "Dog", 2.0)]


@settings(max_examples=300, deadline=None)
@given(changes=well_formed)
def test_a_label_and_what_it_is_a_kind_of_are_never_reported_at_once(
    changes: list[dict[str, float]],
) -> None:
    steps, last = detected(changes)
    began: set[str] = set()
    for event in passed(ONE_SOUND, steps, last):
        if event.kind == "start":
            assert not related_labels(event.label) & began
            began.add(event.label)
        else:
            began.remove(event.label)


def test_of_labels_that_start_in_one_step_the_most_specific_is_reported() -> None:
    names = ("Animal", "Dog", "Bark")
    came: list[Row] = [("start", name, 1.0) for name in names]
    came += [("end", name, 2.0) for name in names]
    assert run(ONE_SOUND, 6, *came) == [("start", "Bark", 1.0), ("end", "Bark", 2.0)]


def test_what_is_more_specific_ends_what_it_is_a_kind_of_which_stays_quiet() -> None:
    came: list[Row] = [
        ("start", "Animal", 1.0),
        ("start", "Bark", 1.5),
        ("start", "Dog", 2.0),  # said already
        ("end", "Bark", 2.5),
        ("end", "Dog", 3.0),
        ("end", "Animal", 3.5),
        ("start", "Animal", 4.5),  # another sound
        ("end", "Animal", 5.0),
    ]
    bark: list[Row] = [("start", "Bark", 1.5), ("end", "Bark", 2.5)]
    animal: list[Row] = [("start", "Animal", 1.0), ("end", "Animal", 1.5)]
    assert run(ONE_SOUND, 12, *came) == [*animal, *bark, *came[-2:]]


def test_kinds_of_one_sound_beside_each_other_are_both_reported() -> None:
    came: list[Row] = [
        ("start", "Bark", 1.0),
        ("start", "Growling", 1.5),
        ("end", "Bark", 2.0),
        ("end", "Growling", 2.0),
    ]
    assert run(ONE_SOUND, 6, *came) == came


def test_of_near_synonyms_the_first_is_reported() -> None:
    came: list[Row] = [
        ("start", "Applause", 1.0),
        ("start", "Clapping", 1.5),
        ("end", "Applause", 2.0),
        ("end", "Clapping", 2.5),
    ]
    assert run(ONE_SOUND, 6, *came) == [came[0], came[2]]


def test_a_sound_in_its_cooldown_ends_nothing() -> None:
    spec = PolicySpec(cooldown_s=60.0)
    came: list[Row] = [
        ("start", "Bark", 1.0),
        ("end", "Bark", 1.5),
        ("start", "Animal", 2.0),
        ("start", "Bark", 2.5),
        ("end", "Bark", 3.0),
        ("end", "Animal", 4.0),
    ]
    assert run(spec, 10, *came) == [*came[:3], came[-1]]


def test_labels_of_other_ontologies_have_no_kin() -> None:
    came: list[Row] = [
        ("start", "Dog", 1.0),
        ("start", "Fridge", 1.5),
        ("end", "Fridge", 2.0),
        ("end", "Dog", 2.5),
    ]
    assert run(PolicySpec(related="first"), 10, *came) == came


def test_changed_settings_hold_from_then_on_and_disturb_nothing() -> None:
    policy = EventPolicy(PolicySpec())
    start, end = Event("start", "Siren", 1.0, 0.6), Event("end", "Siren", 9.0, 0.9)
    assert policy.push([start], 1.0) == [start]
    policy.change(PolicySpec(max_s=3.0))
    assert policy.push([], 3.5) == []
    assert policy.push([], 4.5) == [Event("end", "Siren", 4.0, 0.6)]
    policy.change(PolicySpec())
    assert policy.push([end], 9.0) == []
    again = Event("start", "Siren", 10.0, 0.6)
    assert policy.push([again], 10.0) == [again]


def test_a_new_stream_knows_nothing_of_the_one_before() -> None:
    policy = EventPolicy(PolicySpec(cooldown_s=60.0))
    start = Event("start", "Dog", 1.0, 0.6)
    first = policy.push([start], 1.0) + policy.flush([], 2.0)
    assert first == [start, Event("end", "Dog", 2.0, 0.6)]
    assert policy.push([start], 1.0) == [start]


@pytest.mark.parametrize(
    "wrong", [{"cooldown_s": -1.0}, {"max_s": float("inf")}, {"max_s": float("nan")}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cooldown_s and max_s"):
        PolicySpec(**wrong)


def starts_of(policy: EventPolicy, *steps: str) -> list[tuple[float, str]]:
    """(when it was reported, label) of starts, where each step of 0.08 s has the starts of the
    labels that it names."""
    found = []
    for index, labels in enumerate(steps, 1):
        time_s = 0.08 * index
        events = [Event("start", x, time_s, 0.5) for x in labels.split(";") if x]
        passed = policy.push(events, time_s)
        found += [(round(time_s, 2), event.label) for event in passed if event.kind == "start"]
    return found


def test_a_general_label_that_comes_a_moment_before_its_kind_is_the_same_event() -> None:
    policy = EventPolicy(PolicySpec(), watched=["Ocean", "Waves, surf", "Siren"])
    assert starts_of(policy, "", "Ocean", "Waves, surf", "", "") == [(0.24, "Waves, surf")]
    chain = EventPolicy(PolicySpec(), watched=["Animal", "Dog", "Bark"])
    assert starts_of(chain, "Animal", "", "", "Dog", "", "Bark", "", "") == [
        (0.24, "Animal"),
        (0.48, "Bark"),
    ]
    again = EventPolicy(PolicySpec(), watched=["Animal", "Dog", "Bark"])
    assert starts_of(again, "Animal", "Dog", "", "Bark", "") == [(0.32, "Bark")]


def test_only_what_may_become_more_specific_waits_and_not_for_long() -> None:
    policy = EventPolicy(PolicySpec(), watched=["Ocean", "Waves, surf", "Siren"])
    assert starts_of(policy, "Siren", "", "Ocean", "", "", "") == [
        (0.08, "Siren"),
        (0.4, "Ocean"),
    ]
    last = EventPolicy(PolicySpec(), watched=["Ocean", "Waves, surf"])
    ended = last.flush([Event("start", "Ocean", 1.0, 0.5)], 1.0)
    assert [(event.kind, event.time_s) for event in ended] == [("start", 1.0), ("end", 1.0)]
    short = EventPolicy(PolicySpec(), watched=["Ocean", "Waves, surf"])
    assert starts_of(short, "Ocean") == []
    both = short.push([Event("end", "Ocean", 0.16, 0.5)], 0.16)
    assert [(e.kind, e.time_s) for e in both] == [("start", 0.08), ("end", 0.16)]
    every = EventPolicy(PolicySpec(related="all"), watched=["Ocean", "Waves, surf"])
    assert starts_of(every, "Ocean", "Waves, surf") == [(0.08, "Ocean"), (0.16, "Waves, surf")]
