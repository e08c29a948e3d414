"""Strange places are held out whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from distill.data.clip_list import Clip, clip_list_rows, read_clip_list, to_row, write_clip_list
from distill.data.datasets.base import Listed, survey
from distill.data.split import Split
from distill.data.strange import strange_source, strange_sources
from tests.distill import workshop
from tests.distill.workshop import clip_at

BLANKET = "rafaelmardojai/blanket"


def clips() -> list[Clip]:
    """One clip of a strange source, two of its recording elsewhere, one of ESC, and two others."""
    return [
        clip_at("strange.ogg", source=BLANKET, group="g1"),
        clip_at("elsewhere.ogg", source="a/game", group="g1"),
        clip_at("esc/1-1-A.wav", source="a/copy", group="g2"),
        clip_at("copy.ogg", source="a/game", group="g2"),
        clip_at("other.ogg", source="a/game", group="g3"),
        clip_at("nameless.ogg", group="g4"),
    ]


def test_every_strange_source_has_a_reason() -> None:
    assert all(len(reason) > 20 for reason in strange_sources().values())


def test_strange_sources_are_those_that_recipes_speak_of() -> None:
    """A recipe that says hold_out_strange means these; see strange.toml before changing them."""
    assert list(strange_sources()) == [
        "ESC",
        "marc-moreaux/kitchen20",
        "gheja/doggy-daycare",
        "rafaelmardojai/blanket",
        "sfence/powered_tools",
    ]


def test_strange_sources_are_held_out_with_their_recordings_elsewhere() -> None:
    train, held_out = Split(tiers=("A",), hold_out_strange=True).divide(clips())
    assert [clip.path for clip in train] == ["other.ogg", "nameless.ogg"]
    assert len(held_out) == 4
    train, held_out = Split(tiers=("A",)).divide(clips())
    assert (len(train), held_out) == (6, [])


def test_esc_clips_are_strange_whichever_repository_they_came_by() -> None:
    assert [strange_source(clip) for clip in clips()] == [BLANKET, "", "ESC", "", "", ""]


def test_recipes_from_before_hold_nothing_strange_out() -> None:
    split = msgspec.json.decode(b'{"tiers": ["A"], "hold_out_esc": true}', type=Split)
    assert not split.hold_out_strange


def test_clips_know_the_repository_that_they_came_from(tmp_path: Path) -> None:
    write_clip_list(tmp_path, [to_row(clip) for clip in clips()])
    assert read_clip_list(tmp_path) == clips()
    assert next(row["source_repo"] for row in clip_list_rows(tmp_path)) == BLANKET


def test_clip_lists_that_name_no_repositories_are_read(tmp_path: Path) -> None:
    write_clip_list(tmp_path, [to_row(clips()[0])])
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace("source_repo", "something"))
    (clip,) = read_clip_list(tmp_path)
    assert (clip.path, clip.source) == ("strange.ogg", "")


def test_data_sets_keep_their_repository(tmp_path: Path) -> None:
    workshop.make_data(tmp_path, n_per_fold=1)
    listed = Listed(
        path=tmp_path / "other" / "1-rain-0.wav",
        name="rain",
        labels=("Rain",),
        fold=1,
        group="g",
        licence="CC0",
        tier="A",
        source_repo=BLANKET,
        attribution="somebody",
    )
    write_clip_list(tmp_path, survey([listed], tmp_path).rows)
    (row,) = clip_list_rows(tmp_path)
    assert (row["source_repo"], row["attribution"]) == (BLANKET, "somebody")


def test_real_clips_of_every_strange_source_are_held_out(clip_list: Path) -> None:
    clips = read_clip_list(clip_list)
    assert {strange_source(clip) for clip in clips} == {"", *strange_sources()}
    train, _ = Split(tiers=("A", "B", "C", "E"), hold_out_strange=True).divide(clips)
    assert len(train) > 6_000
    assert not any(strange_source(clip) for clip in train)
