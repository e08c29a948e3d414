"""A label that was taught may silence what it is a kind of."""

from __future__ import annotations

from edge_audio.events.detector import Event
from edge_audio.events.policy import EventPolicy, PolicySpec


def reported(*events: tuple[str, str, float], parents: dict[str, str]) -> list[tuple[str, str]]:
    policy, found = EventPolicy(PolicySpec(), parents), []
    for kind, label, time_s in events:
        found += policy.push([Event(kind, label, time_s, 0.7)], time_s)  # type: ignore[arg-type]
    return [(event.kind, event.label) for event in found]


def test_bella_ends_dog_and_keeps_animal_quiet() -> None:
    events = (("start", "Dog", 1.0), ("start", "Bella", 1.2), ("start", "Animal", 1.4))
    assert reported(*events, parents={"Bella": "Dog"}) == [
        ("start", "Dog"),
        ("end", "Dog"),
        ("start", "Bella"),
    ]


def test_without_a_parent_both_are_reported() -> None:
    events = (("start", "Dog", 1.0), ("start", "Bella", 1.2))
    assert reported(*events, parents={}) == [("start", "Dog"), ("start", "Bella")]


def test_bark_which_is_a_kind_of_dog_too_is_not_held_back() -> None:
    events = (("start", "Bella", 1.0), ("start", "Bark", 1.2))
    assert ("start", "Bark") in reported(*events, parents={"Bella": "Dog"})
