"""Times as users write them, on every Python that the package runs on."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from edge_audio.errors import UsageError
from edge_audio.report import bounds
from edge_audio.report.bounds import parse_bound

# What datetime.fromisoformat of Python 3.10 reads: what isoformat writes. Later ones read more.
PYTHON_3_10 = re.compile(
    r"\d{4}-\d\d-\d\d(?:.\d\d(?::\d\d(?::\d\d(?:\.(?:\d{3}|\d{6}))?)?)?"
    r"(?:[+-]\d\d:\d\d(?::\d\d)?)?)?"
)


class Datetime(datetime):
    @classmethod
    def fromisoformat(cls, text: str) -> datetime:  # type: ignore[override]
        if not PYTHON_3_10.fullmatch(text):
            raise ValueError(f"Invalid isoformat string: {text!r}")
        return datetime.fromisoformat(text)


@pytest.fixture(autouse=True)
def python_3_10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "datetime", Datetime)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00+00:00"),
        ("2026-03-01T08:00Z", "2026-03-01T08:00:00+00:00"),
        ("2026-03-01T08:00:00.5Z", "2026-03-01T08:00:00.500+00:00"),
        ("2026-03-01T08:00:00.1234567Z", "2026-03-01T08:00:00.123456+00:00"),
        ("2026-03-01T09:00+0100", "2026-03-01T08:00:00+00:00"),
        ("2026-03-01 03:00-05", "2026-03-01T08:00:00+00:00"),
        ("2026-03-01T13:30+05:30", "2026-03-01T08:00:00+00:00"),
    ],
)
def test_a_zone_is_read_however_it_is_written(text: str, same: str) -> None:
    bound = parse_bound(text)
    assert bound.seconds == datetime.fromisoformat(same).timestamp()
    assert bound.is_dated
    assert not bound.is_local


@pytest.mark.parametrize("text", ["2026-03-01", "2026-03-01T08:00", "2026-03-01 08:00:01.25"])
def test_without_a_zone_it_is_by_the_clocks_of_the_place(text: str) -> None:
    assert parse_bound(text).is_local


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T25:00Z", "8 o'clock Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        parse_bound(text)
