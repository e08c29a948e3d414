"""The serial protocol: its codec, and the page that describes it."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.errors import UsageError
from edge_audio.serial.port import parse_port
from edge_audio.serial.protocol import (
    ALL_LABELS,
    MAX_PAYLOAD_BYTES,
    QUERY_LABELS,
    WITH_EVENTS,
    WITH_PCM,
    Ack,
    DeviceEvent,
    DeviceStats,
    End,
    Frame,
    FrameReader,
    Hello,
    Label,
    Message,
    Pcm,
    Query,
    Reset,
    Scores,
    SetRelated,
    SetStream,
    SetThresholds,
    cobs_decode,
    cobs_encode,
    crc16,
    parse_message,
)
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "serial-protocol.md"


@given(st.binary(max_size=1200))
def test_cobs_comes_back_without_zeros_and_barely_longer(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("n", [0, 1, 253, 254, 255, 508, 509])
@pytest.mark.parametrize("byte", [0, 1, 255])
def test_cobs_at_the_edges_of_groups(n: int, byte: int) -> None:
    data = bytes([byte]) * n
    for case in (data, data + b"\0", b"\0" + data):
        assert cobs_decode(cobs_encode(case)) == case


def test_cobs_and_crc_of_known_examples() -> None:
    assert cobs_encode(b"\x11\x22\x00\x33") == b"\x03\x11\x22\x02\x33"
    assert cobs_encode(b"\x11\0\0\0") == b"\x02\x11\x01\x01\x01"
    assert cobs_encode(bytes(range(1, 255))) == b"\xff" + bytes(range(1, 255))
    assert cobs_encode(bytes(range(1, 256))) == b"\xff" + bytes(range(1, 255)) + b"\x02\xff"
    assert crc16(b"123456789") == 0x29B1


MESSAGES = (
    Hello(0x12345678, 16_000, 527, 1_280, 240, 48, True),
    Label(3, 0.5, 0.25, "Glöckchen"),
    DeviceEvent(2**40, 526, True, 0.75),
    Scores(7, ((1, 65_535), (2, 0))),
    Scores(7, ()),
    DeviceStats(2**33, 1, 2, 3, 4, 5, 6, 7),
    Pcm(2**33, (-32_768, 0, 32_767)),
    Ack(255, 0x82, 1),
    End(160_000),
    Query(QUERY_LABELS, 16, 16),
    SetThresholds(((ALL_LABELS, 0.0, 0.0), (5, 0.5, 0.25))),
    Reset(),
    SetStream(WITH_EVENTS | WITH_PCM, 1, 8),
    SetRelated(2),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_come_back(message: Message) -> None:
    (frame,) = FrameReader().push(b"\0" + message.frame(200).encoded())
    assert frame.sequence == 200
    assert parse_message(frame) == message


@given(st.integers(0, 255), st.binary(max_size=249))
def test_a_body_of_any_form_is_a_message_or_none(kind: int, body: bytes) -> None:
    message = parse_message(Frame(1, kind, 0, body))
    assert message is None or kind == message.TYPE


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000)))
def test_garbage_gives_the_same_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    whole, pieces = FrameReader(), FrameReader()
    frames = whole.push(data)
    edges = [0, *sorted(cuts), len(data)]
    parts = [data[a:b] for a, b in pairwise(edges)]
    assert [frame for part in parts for frame in pieces.push(part)] == frames
    assert pieces.n_bad == whole.n_bad


@given(st.lists(st.binary(max_size=249), min_size=1, max_size=5), st.data())
def test_one_wrong_byte_costs_one_frame_and_never_invents_one(
    bodies: list[bytes], data: st.DataObject
) -> None:
    frames = [Frame(1, 0x99, i, body) for i, body in enumerate(bodies)]
    line = bytearray(b"".join(frame.encoded() for frame in frames))
    at = data.draw(st.integers(0, len(line) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "double"]))
    if kind == "change":
        line[at] ^= data.draw(st.integers(1, 255))
    else:
        line[at : at + 1] = b"" if kind == "drop" else bytes([line[at]] * 2)
    found = FrameReader().push(b"\0" + bytes(line))
    assert set(found) <= set(frames)
    assert len(found) >= len(frames) - 2  # a wrong zero between two may join them


def test_the_half_frame_that_one_joins_in_is_not_counted_as_damaged() -> None:
    line = Reset().frame(1).encoded()
    reader = FrameReader()
    assert reader.push(line[4:] + line) == [Reset().frame(1)]
    assert reader.n_bad == 0
    assert reader.push(line[4:] + line) == [Reset().frame(1)]
    assert reader.n_bad == 1


def test_an_endless_frame_takes_no_memory_and_counts_once() -> None:
    reader = FrameReader()
    reader.push(b"\0")
    tracemalloc.start()
    try:
        for _ in range(100):
            reader.push(b"\x07" * 1000)
        n_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_bytes < 10 * MAX_PAYLOAD_BYTES
    reader.push(b"\0")
    assert reader.n_bad == 1


def test_ports_with_and_without_a_baud_rate() -> None:
    assert parse_port("/dev/ttyACM0") == ("/dev/ttyACM0", 115_200)
    assert parse_port("/dev/ttyACM0@921600") == ("/dev/ttyACM0", 921_600)
    assert parse_port("socket://host:5000") == ("socket://host:5000", 115_200)
    assert parse_port("/dev/odd@name") == ("/dev/odd@name", 115_200)
    for text in ("", "@9600", "COM3@0"):
        with pytest.raises(UsageError):
            parse_port(text)


def test_the_page_on_the_protocol_shows_what_is_sent() -> None:
    page = PAGE.read_text(encoding="utf-8")
    examples = re.findall(r"^    ([0-9a-f ]+?)  (\w+\(.*\)\.frame\(\d+\))$", page, re.MULTILINE)
    assert len(examples) >= 3
    for text, frame in examples:
        assert bytes.fromhex(text) == eval(frame).encoded()
    for kind in MESSAGES:
        assert f"0x{kind.TYPE:02x}" in page
    assert "0x29b1" in page
