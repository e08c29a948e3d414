"""Clip lists are read strictly."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.data.clip_feed import FeedConfig
from distill.data.clip_list import COLUMNS, clip_list_rows, read_clip_list, to_row, write_clip_list
from distill.data.datasets import display_names
from distill.data.folders import named_clip_list
from distill.data.labels import read_class_map
from distill.runs.toml import read_toml
from edge_audio.errors import UsageError
from tests.distill import workshop
from tests.distill.workshop import clip_at


def test_manifest_keeps_labels_and_origin(tmp_path: Path) -> None:
    rows = [
        workshop.row("esc/a.wav", "rain", 2, "g1", labels="Rain;Thunder"),
        workshop.row("b.wav", "siren", 5, "g2", labels=""),
    ]
    workshop.write_clip_list(tmp_path, rows)
    first, second = read_clip_list(tmp_path)
    assert (first.labels, first.fold, first.is_esc) == (("Rain", "Thunder"), 2, True)
    assert (second.labels, second.group, second.is_esc) == ((), "g2", False)


@pytest.mark.parametrize("column", ["fold", "duration_s"])
def test_bad_number_names_its_line(tmp_path: Path, column: str) -> None:
    good = workshop.row("a.wav", "rain", 1, "g")
    workshop.write_clip_list(tmp_path, [good, {**good, column: "five"}])
    with pytest.raises(UsageError, match=r"line 3: .*five"):
        read_clip_list(tmp_path)


@pytest.mark.parametrize("column", ["labels", "fold", "group", "licence"])
def test_missing_column_is_named_with_its_line(tmp_path: Path, column: str) -> None:
    workshop.write_clip_list(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(UsageError, match=f"line 2: .*{column}"):
        read_clip_list(tmp_path)


@pytest.mark.parametrize("cut", [lambda row: row[:-6], lambda row: f"{row},more", lambda row: '"'])
def test_row_with_columns_too_few_or_too_many_names_its_line(
    tmp_path: Path, cut: Callable[[str], str]
) -> None:
    """Below an empty line, which counts."""
    workshop.write_clip_list(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    row = (tmp_path / "manifest.csv").read_text().splitlines()[1]
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write(f"\n{cut(row)}\n")
    with pytest.raises(UsageError, match="line 4"):
        read_clip_list(tmp_path)


def test_manifest_without_clips_is_refused(tmp_path: Path) -> None:
    workshop.write_clip_list(tmp_path, [])
    with pytest.raises(UsageError, match="lists no clips"):
        read_clip_list(tmp_path)


def test_folder_without_manifest_says_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="set EDGE_AUDIO_DATA"):
        named_clip_list()


def test_labels_that_audioset_lacks_become_what_they_are_a_kind_of(tmp_path: Path) -> None:
    labels = "Mouse click;Clicking;Washing machine;Shower"
    workshop.write_clip_list(tmp_path, [workshop.row("a.wav", "rain", 1, "g", labels=labels)])
    (clip,) = read_clip_list(tmp_path)
    assert clip.labels == ("Clicking", "Washing machine", "Water")


def test_a_list_of_another_name_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clips lie in its folder, beside those of the folder's own list."""
    workshop.write_clip_list(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    whole = (tmp_path / "manifest.csv").rename(tmp_path / "whole.csv")
    workshop.write_clip_list(tmp_path, [workshop.row("b.wav", "rain", 1, "g")])
    for place, path in ((whole, "a.wav"), (tmp_path, "b.wav")):
        monkeypatch.setenv("EDGE_AUDIO_DATA", str(place))
        clip_list = named_clip_list()
        assert clip_list.parent == tmp_path
        assert [clip.path for clip in read_clip_list(clip_list)] == [path]
        assert [row["path"] for row in clip_list_rows(place)] == [path]


def test_a_mark_of_byte_order_is_no_part_of_a_list_or_recipe(tmp_path: Path) -> None:
    """Spreadsheets and editors on Windows write one."""
    workshop.write_clip_list(tmp_path, [workshop.row("a.wav", "rain", 1, "g")])
    clips = read_clip_list(tmp_path)
    for path in (tmp_path / "manifest.csv", tmp_path / "recipe.toml", tmp_path / "classes.csv"):
        plain = path.read_bytes() if path.exists() else _PLAIN[path.suffix]
        path.write_bytes(codecs.BOM_UTF8 + plain)
    assert read_clip_list(tmp_path) == clips
    assert read_toml(tmp_path / "recipe.toml", FeedConfig) == FeedConfig(pool_size=7)
    assert read_class_map(tmp_path / "classes.csv") == ("Dog",)
    assert display_names(tmp_path / "classes.csv") == {"/m/1": "Dog"}


_PLAIN = {".toml": b"pool_size = 7\n", ".csv": b"index,mid,display_name\n0,/m/1,Dog\n"}


def test_a_bad_row_of_such_a_list_names_its_file(tmp_path: Path) -> None:
    good = workshop.row("a.wav", "rain", 1, "g")
    workshop.write_clip_list(tmp_path, [good, {**good, "fold": "five"}])
    whole = (tmp_path / "manifest.csv").rename(tmp_path / "whole.csv")
    with pytest.raises(UsageError, match=r"whole\.csv line 3"):
        read_clip_list(whole)


def test_a_path_that_is_no_list_and_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "absent.csv"))
    with pytest.raises(UsageError, match=r"no clip list .*absent\.csv.*; set EDGE_AUDIO_DATA"):
        named_clip_list()


def test_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    clips = [clip_at(f"{index}.wav", labels=f"Rain;Label, {index}") for index in range(3)]
    write_clip_list(tmp_path, [to_row(clip, note='a "note"', unknown="x") for clip in clips])
    assert read_clip_list(tmp_path) == clips
    rows = list(clip_list_rows(tmp_path))
    assert all(tuple(row) == COLUMNS and row["note"] == 'a "note"' for row in rows)


def test_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"path,labels\n\xff\xfe,Rain\n")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_clip_list(tmp_path)
