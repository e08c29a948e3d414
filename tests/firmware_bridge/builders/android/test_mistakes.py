"""Each mistake with the Java of the Android target is an exception that says what to do."""

from __future__ import annotations

from pathlib import Path

from tests.firmware_bridge.builders.android.android_build import MODEL, Run

FINE = "fine"
IMAGE, CLOSED = "ImageException", "IllegalStateException"
ARGUMENT, BOUNDS = "IllegalArgumentException", "IndexOutOfBoundsException"
NULL = "NullPointerException"
MISTAKES = {
    "empty image": IMAGE,
    "text": IMAGE,
    "truncated image": IMAGE,
    "half an image": IMAGE,
    "longer image": IMAGE,
    "altered image": IMAGE,
    "other version": IMAGE,
    "null array": NULL,
    "null buffer": NULL,
    "unaligned image": FINE,
    "null model": NULL,
    "null samples": NULL,
    "null sample buffer": NULL,
    "negative offset": BOUNDS,
    "negative length": BOUNDS,
    "beyond the end": BOUNDS,
    "overflowing length": BOUNDS,
    "nothing at the end": FINE,
    "heap buffer": ARGUMENT,
    "wrong byte order": ARGUMENT,
    "odd address": ARGUMENT,
    "read-only buffer": FINE,
    "short scores": ARGUMENT,
    "long scores": FINE,
    "null scores": NULL,
    "label -1": ARGUMENT,
    "label beyond": ARGUMENT,
    "threshold of label -1": ARGUMENT,
    "threshold above 1": ARGUMENT,
    "off above on": ARGUMENT,
    "not a number": ARGUMENT,
    "good threshold": FINE,
    "all related labels": FINE,
    "null related": NULL,
    "still works": FINE,
    "push when closed": CLOSED,
    "buffer when closed": CLOSED,
    "flush when closed": CLOSED,
    "reset when closed": CLOSED,
    "related when closed": CLOSED,
    "scores when closed": CLOSED,
    "steps when closed": CLOSED,
    "samples when closed": CLOSED,
    "threshold when closed": CLOSED,
    "set threshold when closed": CLOSED,
    "another stream": FINE,
}


def test_each_mistake_is_an_exception_that_says_what_to_do(check: Run, work_dir: Path) -> None:
    text = check("errors", work_dir / f"{MODEL}.bin")
    found = dict(line.split(": ", 1) for line in text.splitlines())
    assert {name: value.split(":")[0] for name, value in found.items()} == MISTAKES
    assert "CRC-32" in found["altered image"]
    assert "edge-audio firmware build" in found["truncated image"]
    assert "version" in found["other version"]
    assert "make a new one" in found["push when closed"]


# What a native method returns for a buffer that is ...
BY_BUFFER = {
    "null": -35,
    "not direct": -33,
    "too small": -6,
    "not aligned": -5,
    "of zeros": -32,
    "a copy": -32,
}
# ... and for its other arguments.
BY_ARGUMENT = [
    ("fact", "-1"),
    ("label", "null"),
    ("label", "null"),
    ("small stream", "-6"),
    ("not a model", "-32"),
    ("not a stream", "-32"),
    ("no image", "-35"),
    ("create", "0"),
    *[("bounds", "-34")] * 5,
    *[("no samples", "-35")] * 2,
    ("no events", "-35"),
    ("heap events", "-33"),
    ("tiny events", "-6"),
    ("short pair", "-6"),
    ("no pair", "-35"),
    ("no scores", "-35"),
    ("no buffer", "-35"),
    ("heap buffer", "-33"),
    ("fine", "0"),
    ("samples", "100"),
    ("destroy", "0"),
    ("destroy", "-32"),
]


def test_native_methods_check_what_java_never_gives_them(check: Run, work_dir: Path) -> None:
    lines = check("natives", work_dir / f"{MODEL}.bin").splitlines()
    start, n_methods = 1, 14
    for kind, status in BY_BUFFER.items():
        part = lines[start : start + n_methods]
        opened = -35 if status == -32 else status  # these two are not offered to it
        assert part[:3] == [f"open {opened}", f"fact {status}", "label null"], kind
        assert {line.split()[1] for line in part[3:]} == {str(status)}, kind
        start += n_methods
    rest = [line.rpartition(" ") for line in lines[start:]]
    assert [(name, value) for name, _, value in rest] == BY_ARGUMENT
