"""Every test is of a kind, and each kind has its command."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.kinds import (
    BY_FIXTURE,
    BY_PLACE,
    KINDS,
    QUICK,
    is_left_out,
    kinds_of,
    missing_library,
)
from tests.support.paths import REPOSITORY


def test_make_has_a_target_for_every_kind() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^KINDS := (.*)$", makefile, re.MULTILINE)
    assert listed.split() == [QUICK, *KINDS]


def test_help_lists_every_target_that_is_not_built() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) - {"help"}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert targets == set(re.findall(r"^make ([a-z]+) ", shown, re.MULTILINE))


def test_tables_name_kinds_that_exist() -> None:
    named = {kind for kinds in BY_PLACE.values() for kind in kinds} | {*BY_FIXTURE.values()}
    assert named == KINDS.keys()


@pytest.mark.parametrize("pattern", BY_PLACE)
def test_every_pattern_begins_with_a_place_that_exists(pattern: str) -> None:
    path = pattern.partition("::")[0].partition("*")[0]
    assert (REPOSITORY / path).exists()


def test_a_test_has_the_kinds_of_its_place_and_of_its_fixtures() -> None:
    assert kinds_of("tests/edge_audio/events/test_events.py::test_a", ["tmp_path"]) == {QUICK}
    assert kinds_of("tests/distill/data/test_tars.py::test_a", ["data_dir"]) == {
        "train",
        "real_audio",
    }
    assert kinds_of("tests/edge_audio/backends/test_backends.py::test_a[x-native]", []) == {
        "firmware"
    }


@pytest.mark.parametrize(
    ("expression", "place", "left_out"),
    [
        ("", "tests/distill/", False),
        ("quick", "tests/distill/", True),
        ("quick", "tests/edge_audio/", False),
        ("train", "tests/edge_audio/", True),
        ("real_audio", "tests/edge_audio/", False),  # some fixtures are of this kind
        ("not train", "tests/distill/", True),
        ("train and not real_audio", "tests/distill/", False),
    ],
)
def test_a_folder_is_left_out_only_if_none_of_its_tests_can_be_meant(
    expression: str, place: str, left_out: bool
) -> None:
    assert is_left_out(expression, place) == left_out


def test_a_library_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.support.kinds.find_spec", lambda name: None)
    assert missing_library({"export"}) == "needs torch: pip install 'edge-audio[train]'"
    assert missing_library({"broker"}) is None
