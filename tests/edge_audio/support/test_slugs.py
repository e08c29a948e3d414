"""Names in topics and paths: unique, plain, and for ASCII names what they always were."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.bundle import load_bundle
from edge_audio.support.slugs import Slugs, file_slug, topic_slug, unique_slug

SlugOf = Callable[[str], str]
both = pytest.mark.parametrize("slug_of", [topic_slug, file_slug])


def topic_slug_ref(name: str) -> str:
    """As topics were named before python-slugify."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower())[:64].strip("-")


def file_slug_ref(name: str) -> str:
    """As files were named before."""
    return re.sub(r"[^\w]+", "-", name)[:40].strip("-_")


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_ascii_names_keep_their_slugs(name: str) -> None:
    assert topic_slug(name) == topic_slug_ref(name)
    assert file_slug(name) == file_slug_ref(name)


def test_labels_keep_their_slugs() -> None:
    labels = load_bundle("tiny-int8").manifest.labels
    slugs = Slugs(topic_slug)
    assert [slugs(label) for label in labels] == [topic_slug_ref(label) for label in labels]
    assert [file_slug(label) for label in labels] == [file_slug_ref(label) for label in labels]


def test_other_alphabets_are_written_as_they_sound() -> None:
    names = ("Möwe", "Größe", "Собака", "狗")
    assert [topic_slug(name) for name in names] == ["mowe", "grosse", "sobaka", "gou"]
    assert [file_slug(name) for name in names] == ["Mowe", "Grosse", "Sobaka", "Gou"]


@both
@given(names=st.lists(st.text(), unique=True, max_size=20))
def test_slugs_are_unique_whatever_the_disk_thinks_of_case(
    slug_of: SlugOf, names: list[str]
) -> None:
    slugs = Slugs(slug_of)
    found = [slugs(name) for name in names]
    assert len({slug.casefold() for slug in found}) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", slug) for slug in found)


def test_a_slug_that_is_taken_gets_a_suffix_that_depends_on_the_name_alone() -> None:
    one, other = Slugs(topic_slug), Slugs(topic_slug)
    first = [one(name) for name in ("mowe", "Möwe", "cat", "Möwe?")]
    second = [other(name) for name in ("mowe", "Möwe?", "Möwe")]
    assert first[0] == second[0] == "mowe"
    assert (first[1], first[3]) == (second[2], second[1])
    assert re.fullmatch(r"mowe-[0-9a-f]{6}", first[1])


def test_ascii_names_that_would_be_equal_are_numbered_as_installations_know_them() -> None:
    slugs = Slugs(topic_slug)
    assert [slugs(name) for name in ("Yard #1", "yard/1", "+", "yard-1", "*")] == [
        *("yard-1", "yard-1-2", "unnamed", "yard-1-3", "unnamed-2")
    ]


def test_the_same_name_twice_is_two_streams() -> None:
    slugs = Slugs(file_slug)
    assert len({slugs("kitchen") for _ in range(4)}) == 4


def test_words_that_mean_something_are_nobodys() -> None:
    slugs = Slugs(topic_slug, ("status", "set"))
    assert [slugs(name) for name in ("Status", "set", "kitchen")] == [
        "status-2",
        "set-2",
        "kitchen",
    ]


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_unique_slugs_differ_whoever_else_has_one(names: list[str]) -> None:
    found = [unique_slug(name) for name in names]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", slug) for slug in found)
    assert unique_slug("edge-audio") == "edge-audio"
    assert len({unique_slug(x) for x in ("home/attic", "home-attic", "кухня", "kukhnia")}) == 4
