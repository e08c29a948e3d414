"""Images that the C engine does not accept are refused with the documented status."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from edge_audio.engine.image import build_image
from tests.firmware_bridge.engine_images import HEADER_BYTES, Layout, edited, status, with_word
from tests.firmware_bridge.engine_library import (
    BAD_HASH,
    BAD_IMAGE,
    BAD_VERSION,
    OK,
    TOO_LARGE,
    Stream,
    compile_library,
    noise,
    open_model,
    sealed,
    zoo_bundle,
    zoo_image,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(tmp_path_factory.mktemp("engine"), ["-O1"])


def test_the_layout_is_that_of_the_documentation(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    layout = Layout(image)
    assert layout.at == len(image)
    assert edited(image, lambda _: None) == image
    assert status(library, image) == OK


def test_images_cut_at_any_part_are_refused(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    ends = {0, 1, 15, 16, 20, *Layout(image).starts.values(), len(image) - 4, len(image) - 1}
    ends |= set(np.random.default_rng(0).integers(0, len(image), 200).tolist())
    for end in sorted(ends):
        assert status(library, image[:end]) == BAD_IMAGE
        if end >= HEADER_BYTES:  # the same with a header that does not give it away
            assert status(library, sealed(image[HEADER_BYTES:end])) == BAD_IMAGE
    assert status(library, image + b"\0") == BAD_IMAGE
    assert status(library, sealed(image[HEADER_BYTES:] + bytes(4))) == BAD_IMAGE


def test_an_altered_image_is_refused_wherever_it_is(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    for at in np.random.default_rng(0).integers(HEADER_BYTES, len(image), 100).tolist():
        altered = bytearray(image)
        altered[at] ^= 1 << at % 8
        assert status(library, bytes(altered)) == BAD_HASH
    assert status(library, image[:12] + b"\0\0\0\0" + image[16:]) == BAD_HASH


def test_other_magic_and_versions_are_refused(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    assert status(library, b"TFL3" + image[4:]) == BAD_IMAGE
    for version in (0, 5, 2**32 - 1):
        assert status(library, sealed(image[HEADER_BYTES:], version)) == BAD_VERSION


# Part -> word of it -> values that no sound image has there.
CONTRADICTIONS: dict[str, dict[int, tuple[int, ...]]] = {
    "sizes": {
        0: (0, 2**32 - 1),  # sample rate
        1: (0, 513),  # window, beyond the transform
        2: (0, 401),  # hop, beyond the window
        3: (0, 4, 500, 511),  # transform
        4: (0, 256),  # bands
        5: (0, 4, 16, 65),  # frames per step
        6: (0, 19, 21),  # labels
        7: (0, 12, 24),  # channels
        8: (0, 3, 5),  # convolutions
        9: (5, 7),  # blocks
        10: (0, 11, 13),  # embedding
        11: (2,),  # state
        12: (2**31,),  # steps to wait
        13: (2**31,),
        14: (1001, 2**32 - 1),  # steps of silence
    },
    "settings": {
        0: (0, 0x40000000, 0x7FC00000),  # smoothing of 0, 2, nan
        1: (0x7F800000,),  # bound
        2: (0, 0xBF800000, 1),  # floor of the logarithm: 0, -1, denormal
        5: (0, 0x40000000, 0x7FC00000),  # attack of 0, 2, nan
    },
    "labels": {0: (0, 1, 2**31)},
    "thresholds": {0: (0x40000000, 0xBF800000, 0x7FC00000), 20: (0x3F800000, 0xBF800000)},
    "related": {
        0: (3, 2**32 - 1),  # what is reported
        1: (255,),  # steps to wait
        2: (1, 21),  # lists, which are not there
    },
    "window": {0: (0x7F800000,)},
    "sine": {1: (0xFFC00000,)},
    "mel": {0: (65, 255 << 24), 63: (65 << 16,), 65: (0x7FC00000,)},
    "stem": {0: (16,)},
    "conv 0": {0: (0, 3, 6, 8), 1: (0, 8), 2: (0, 3), 3: (1, 2), 4: (16,), 5: (0xBF800000,)},
    "conv 2": {0: (4, 12), 1: (12,), 2: (2,), 3: (2,), 6: (0x47800000,)},
    "block 0": {0: (6, 2**32 - 1), 1: (0x7FC00000,)},
}
COUNTS = {"sizes": (8, 9)}
"""Words after which other bytes are read as sizes, so that any of them may be refused."""


@pytest.mark.parametrize("part", CONTRADICTIONS)
def test_sizes_that_contradict_each_other_are_refused(library: ctypes.CDLL, part: str) -> None:
    image = zoo_image("mixed")
    start = Layout(image).starts[part]
    for word, values in CONTRADICTIONS[part].items():
        for value in values:
            found = status(library, with_word(image, start + 4 * word, value))
            expected = (BAD_IMAGE, TOO_LARGE) if word in COUNTS.get(part, ()) else (BAD_IMAGE,)
            assert found in expected, f"{part}, word {word}: {value:#x}"


def test_lists_of_related_labels_that_lead_beyond_are_refused(library: ctypes.CDLL) -> None:
    names = ("Dog", "Bark", "Applause", "Clapping", *(f"Label {i}" for i in range(4, 20)))
    image = build_image(zoo_bundle("mixed", names))
    start = Layout(image).starts["related"]
    lists = start + 16
    assert np.frombuffer(image, "<u2", 5, lists).tolist() == [0, 1, 1, 2, 3]
    assert status(library, image) == OK
    for at, value in ((0, 20), (1, 5), (1, 0xFFFF), (2, 20), (3, 20), (4, 0xFFFF)):
        body = bytearray(image)
        body[lists + 2 * at : lists + 2 * at + 2] = value.to_bytes(2, "little")
        assert status(library, sealed(bytes(body[HEADER_BYTES:]))) == BAD_IMAGE, (at, value)
    odd = with_word(image, start + 12, 6)  # with the zeros that they are padded with
    assert status(library, odd) == BAD_IMAGE
    assert status(library, with_word(image, start + 8, 2)) == BAD_IMAGE  # a list too few
    assert status(library, with_word(image, start + 12, 0)) == BAD_IMAGE


def test_images_of_version_3_report_every_label(library: ctypes.CDLL) -> None:
    image = build_image(zoo_bundle("mixed", ("Dog", "Bark", *(f"Label {i}" for i in range(18)))))
    starts = Layout(image).starts
    body = image[HEADER_BYTES : starts["related"]] + image[starts["window"] :]
    old = open_model(library, sealed(body, version=3))
    every, samples = Stream(open_model(library, image)), noise(40 * 1280)
    assert every.set_related("all") == OK
    assert Stream(old).push(samples) == every.push(samples)


def test_weights_whose_sums_would_overflow_are_refused(library: ctypes.CDLL) -> None:
    """All as large as can be, in a layer at a time; as int8 only very wide layers get there."""
    image = zoo_image("mixed")
    starts = Layout(image).starts
    kernel = starts["conv 1"] + 28
    n_bytes = 2 * 9 * 4
    for value, expected in ((b"\xff\x7f", BAD_IMAGE), (b"\x00\x80", BAD_IMAGE), (b"\0\1", OK)):
        full = image[:kernel] + value * (n_bytes // 2) + image[kernel + n_bytes :]
        assert status(library, sealed(full[HEADER_BYTES:])) == expected


def test_text_without_an_end_is_refused(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    labels = Layout(image).starts["labels"] + 4
    text = image[labels : image.index(b"Label 19\0") + 9]
    assert text.count(b"\0") == 20
    for other in (text[:-1] + b"x", text.replace(b"\0", b"x", 1), b"\0" + text[1:]):
        whole = image[:labels] + other + image[labels + len(text) :]
        assert status(library, sealed(whole[HEADER_BYTES:])) == BAD_IMAGE
