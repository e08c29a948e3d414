"""A recording in one call."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio import Event, tag
from edge_audio.bundle.store import Bundle
from edge_audio.errors import SourceError, UsageError
from edge_audio.tagging.tagger import Tagger
from edge_audio.tagging.tags import Tags
from tests.support import toy

SAMPLES = toy.noise(80_000, seed=3)


@pytest.fixture
def model(toy_bundle: Bundle, computed_by_numpy: None) -> Path:
    """The toy, computed by numpy."""
    return toy_bundle.path


@pytest.fixture
def street(tmp_path: Path) -> Path:
    path = tmp_path / "street.wav"
    soundfile.write(path, SAMPLES, 16_000)
    return path


def test_a_file_and_its_samples_are_tagged_as_a_tagger_would(model: Path, street: Path) -> None:
    tagger = Tagger.open(model)
    steps = list(tagger.steps(SAMPLES))
    events = [event for step in steps for event in step.events] + tagger.flush()
    for tags in (
        tag(street, model=model, policy=None),
        tag(str(street), model=model, policy=None),
        tag(SAMPLES, 16_000, model=model, policy=None),
    ):
        assert list(tags.events) == events
        assert tags.scores.shape == (len(tags.times_s), toy.N_LABELS)
        scores = tags.scores[: len(steps)]
        np.testing.assert_array_equal(scores, [step.scores for step in steps])
        assert list(tags.times_s[: len(steps)]) == [step.time_s for step in steps]
        assert tags.times_s[-1] == tags.duration_s == 5.0  # the last step is padded
        assert tags.error == ""
    assert tags.source == "samples"


def test_rates_and_channels_are_brought_to_those_of_the_model(model: Path, tmp_path: Path) -> None:
    fast = np.stack([np.repeat(SAMPLES, 2)] * 2, axis=1)
    soundfile.write(tmp_path / "fast.flac", fast, 32_000)
    by_file = tag(tmp_path / "fast.flac", model=model)
    by_samples = tag(fast, 32_000, model=model)
    assert by_file.duration_s == by_samples.duration_s == pytest.approx(5.0)
    assert by_file.events == by_samples.events
    assert by_file.events


def test_one_sound_is_one_event_unless_another_policy_is_given(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = Tagger.open.__func__  # type: ignore[attr-defined]

    def watched(cls: Any, *arguments: Any, **settings: Any) -> Any:
        asked.append(settings["policy"])
        return real(cls, *arguments, **settings)

    monkeypatch.setattr(Tagger, "open", classmethod(watched))
    tag(SAMPLES, 16_000, model=model)
    tag(SAMPLES, 16_000, model=model, policy=None)
    assert asked[0].related == "most-specific"
    assert asked[1] is None


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((SAMPLES,), r"call tag\(samples, rate_hz\)"),
        (("no such.wav",), "no such audio file"),
        (("street.wav", 16_000), "leave out rate_hz"),
        ((SAMPLES, 0), "rate_hz is 0"),
        ((None, 16_000), "audio is NoneType: give the path"),
        ((io.BytesIO(), 16_000), "audio is BytesIO: give the path"),
    ],
)
def test_a_wrong_call_is_one_clear_error(
    model: Path, arguments: tuple[Any, ...], hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        tag(*arguments, model=model)


def test_what_is_no_audio_is_an_error_and_what_breaks_off_a_warning(
    model: Path, street: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no audio at all, just words")
    with pytest.raises((SourceError, UsageError)):
        tag(tmp_path / "text.wav", model=model)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(street.read_bytes()[:100_000])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tags = tag(cut, model=model)
    assert 3.0 < tags.duration_s < 3.2
    assert tags.error
    assert [str(each.message) for each in told] == [tags.error]


EVENTS = (
    Event(kind="start", label="Dog <b>", time_s=1.0, score=0.5),
    Event(kind="start", label="Siren", time_s=1.5, score=0.4),
    Event(kind="end", label="Dog <b>", time_s=2.0, score=0.75),
    Event(kind="end", label="Siren", time_s=4.0, score=0.5),
)


def some_tags(**changes: Any) -> Tags:
    settings: dict[str, Any] = {
        "source": "a&b.wav",
        "duration_s": 4.0,
        "labels": ("Dog <b>", "Siren"),
        "times_s": np.array([1.0, 2.0]),
        "scores": np.array([[0.5, 0.25], [0.75, 0.0]], np.float32),
        "events": EVENTS,
    }
    return Tags(**settings | changes)


def test_tags_read_well() -> None:
    tags = some_tags()
    expected = "<Tags a&b.wav: 4.0 s, Dog <b> 1.0-2.0 s; Siren 1.5-4.0 s>"
    assert repr(tags) == expected
    assert str(tags).splitlines()[0] == "    1.00 to     2.00 s  0.75  Dog <b>"
    assert tags.top(1) == [("Dog <b>", 0.75)]
    np.testing.assert_array_equal(tags.by_label["Siren"], [0.25, 0.0])
    assert repr(some_tags(events=())) == ("<Tags a&b.wav: 4.0 s, no events; highest: Dog <b> 0.75>")
    assert "cut short (gone)" in repr(some_tags(error="gone"))
    nothing = some_tags(labels=(), scores=np.zeros((0, 0), np.float32), events=())
    assert repr(nothing) == "<Tags a&b.wav: 4.0 s, no events>"
    assert nothing.top() == []


def test_a_notebook_shows_a_table_and_nothing_of_it_is_code() -> None:
    html = some_tags(error="<script>")._repr_html_()
    assert "a&amp;b.wav" in html
    assert html.count("<tr>") == 3
    assert "Dog &lt;b&gt;" in html
    assert "<script>" not in html
    assert "margin-left:25.0%;width:25.0%" in html
    assert "no events" in some_tags(events=())._repr_html_()


def test_tags_are_tables_of_pandas_and_pyarrow() -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    pytest.importorskip("pyarrow", reason="needs the archive extra")
    rows = [
        {"start_s": 1.0, "end_s": 2.0, "label": "Dog <b>", "score": 0.75},
        {"start_s": 1.5, "end_s": 4.0, "label": "Siren", "score": 0.5},
    ]
    assert some_tags().to_pandas().to_dict("records") == rows
    assert some_tags().to_arrow().to_pylist() == rows
    empty = some_tags(events=())
    assert list(empty.to_pandas().columns) == empty.to_arrow().column_names == list(rows[0])
    frame = some_tags().scores_to_pandas()
    assert frame.index.name == "time_s"
    assert frame["Siren"].to_dict() == {1.0: 0.25, 2.0: 0.0}


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_table_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(UsageError, match=f"pip install {library}"):
        some_tags().to_pandas() if library == "pandas" else some_tags().to_arrow()
