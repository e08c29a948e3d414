"""Text of strangers does nothing to a terminal, a table or a label track."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from edge_audio.support.text import clock, encodable, json_line, one_line, printable

anything = st.text(st.characters())  # halves of characters included


def is_harmless(text: str) -> bool:
    text.encode()
    kinds = {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}
    return not kinds and not set(text) & set("\u202e\u202d\u2066")


@given(anything)
def test_printable_text_is_one_harmless_line(text: str) -> None:
    assert is_harmless(printable(text))
    assert is_harmless(one_line(text, 80))
    assert len(one_line(text, 80)) <= 80


@given(anything)
def test_a_json_line_is_harmless_and_loses_nothing(text: str) -> None:
    line = json_line({text: [text]})
    assert is_harmless(line)
    assert json.loads(line) == {text: [text]}


@given(st.text())
def test_what_utf8_holds_is_encodable_as_it_is(text: str) -> None:
    assert encodable(text) == text


def test_escapes_show_what_was_there() -> None:
    assert printable("a\x1b[31m\nb\t\x9bc\udcff\u2028\u202e") == (
        r"a\x1b[31m\nb\t\x9bc\udcff\u2028\u202e"
    )
    assert printable("Möwe, 狗 👩‍🚒 C:\\dog") == "Möwe, 狗 👩‍🚒 C:\\dog"
    assert encodable("a\n\udcff") == "a\n\\udcff"


def test_a_clock_has_hours_only_where_there_are_some() -> None:
    assert [clock(s) for s in (0, 61.234, 3599.999)] == ["0:00.00", "1:01.23", "1:00:00.00"]
