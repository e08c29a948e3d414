"""What the C engine does not accept, it refuses with the documented status; what does not fit the
event buffer is reported later."""

from __future__ import annotations

import ctypes
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_audio.engine.image import StateType
from tests.firmware_bridge.engine_library import (
    BAD_ARGUMENT,
    BAD_HASH,
    BAD_IMAGE,
    BAD_VERSION,
    END,
    FULL,
    OK,
    START,
    TOO_LARGE,
    TOO_SMALL,
    UNALIGNED,
    Event,
    Model,
    Samples,
    Stream,
    compile_library,
    open_model,
    sealed,
    zoo_image,
)

HEADER_BYTES = 16
STEP = 1280
KINDS = ("ssm-lti", "ssm-selective", "mlstm-sigmoid", "mlstm", "slstm", "conv")
"""Families in the order of the image's numbers for mixers."""

Compile = Callable[..., ctypes.CDLL]
Edit = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """(flags) -> the engine, compiled quickly."""
    folder = tmp_path_factory.mktemp("engine")
    return lambda *flags: compile_library(folder, ["-O0", *flags])


@pytest.fixture(scope="module")
def library(compiled: Compile) -> ctypes.CDLL:
    return compiled("-O1")


@pytest.fixture(scope="module")
def model(library: ctypes.CDLL) -> Model:
    return open_model(library, zoo_image("mixed"))


class Layout:
    """Reads an image as docs/engine.md describes it: where each part begins."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.at = HEADER_BYTES
        self.starts: dict[str, int] = {}
        self._read()

    def _mark(self, name: str) -> None:
        self.starts[name] = self.at

    def _words(self, n: int) -> list[int]:
        values: list[int] = np.frombuffer(self.image, "<u4", n, self.at).tolist()
        self.at += 4 * n
        return values

    def _skip(self, *sizes: int) -> None:
        """Arrays of that many bytes, each padded."""
        for n_bytes in sizes:
            self.at += n_bytes + -n_bytes % 4

    def _numbers(self, *sizes: int) -> None:
        for n in sizes:
            self._skip(4, 2 * n)

    def _linear(self, n_in: int, n_out: int) -> None:
        self._skip(n_out * (n_in + -n_in % 8))
        self._numbers(n_out, n_out)

    def _read(self) -> None:
        self._mark("sizes")
        _, window, _, fft_size, n_mels, _, n_labels, d, n_convs, n_blocks, n_embed, *_ = (
            self._words(14)
        )
        self._mark("settings")
        self._skip(5 * 4)
        self._mark("labels")
        self._skip(self._words(1)[0])
        self._mark("thresholds")
        self._skip(4 * n_labels, 4 * n_labels)
        self._mark("window")
        self._skip(4 * (window // 2 + 1))
        self._mark("sine")
        self._skip(4 * (fft_size // 4 + 1))
        self._mark("mel")
        self._skip(fft_size // 2 + 1)
        self._numbers(fft_size // 2 + 1)
        n_inputs = self._read_stem(n_mels, n_convs)
        self._mark("project")
        self._linear(n_inputs, d)
        for index in range(n_blocks):
            self._mark(f"block {index}")
            self._read_block(d)
        self._mark("norm")
        self._numbers(d, d)
        self._mark("embed")
        self._linear(d, n_embed)
        self._mark("head")
        self._linear(n_embed, n_labels)

    def _read_stem(self, n_bands: int, n_convs: int) -> int:
        self._mark("stem")
        self._words(1)
        n_in = 1
        for index in range(n_convs):
            self._mark(f"conv {index}")
            n_filters, n_out, stride, *_ = self._words(5)
            self._skip(2 * 4)
            self._skip(2 * 9 * n_filters)
            self._numbers(n_filters, n_filters)
            if n_in > 1:
                self._skip(2 * n_out * (n_filters + -n_filters % 8))
                self._numbers(n_out, n_out)
            n_in, n_bands = n_out, n_bands // stride
        return n_in * n_bands

    def _read_block(self, d: int) -> None:
        (kind,) = self._words(1)
        self._numbers(d, d)
        if KINDS[kind] == "ssm-lti":
            (n_modes,) = self._words(1)
            self._skip(*[2 * n_modes * d] * 4, 4)
        elif KINDS[kind] == "slstm":
            (n_heads,) = self._words(1)
            self._skip(3 * 4, 4 * 8 * d * d // n_heads, 4 * d)
        elif KINDS[kind] == "conv":
            for _ in range(self._words(1)[0]):
                n_taps, _ = self._words(2)
                self._skip(4 * n_taps * d, 4 * d)
        else:
            n_heads, n_keys = self._words(2)
            self._skip(3 * 4)
            n_rates = 1 if KINDS[kind] == "ssm-selective" else 2
            self._linear(d, 2 * n_keys + n_rates * n_heads)
            self._skip(4 * n_heads)
        self._numbers(d)
        self._linear(d, 2 * d)


def edited(image: bytes, edit: Edit) -> bytes:
    """The image with another body, and a header that fits it."""
    body = bytearray(image[HEADER_BYTES:])
    edit(body)
    return sealed(bytes(body))


def with_word(image: bytes, at: int, value: int) -> bytes:
    """The sound image with another uint32 at that offset."""

    def edit(body: bytearray) -> None:
        body[at - HEADER_BYTES : at - HEADER_BYTES + 4] = value.to_bytes(4, "little")

    return edited(image, edit)


def status(library: ctypes.CDLL, image: bytes) -> int:
    return Model(library, image).status


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
    for version in (0, 2, 2**32 - 1):
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
    },
    "settings": {
        0: (0, 0x40000000, 0x7FC00000),  # smoothing of 0, 2, nan
        1: (0x7F800000,),  # bound
        2: (0, 0xBF800000, 1),  # floor of the logarithm: 0, -1, denormal
    },
    "labels": {0: (0, 1, 2**31)},
    "thresholds": {0: (0x40000000, 0xBF800000, 0x7FC00000), 20: (0x3F800000, 0xBF800000)},
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


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_memory_that_is_not_aligned_is_refused(library: ctypes.CDLL, offset: int) -> None:
    assert Model(library, zoo_image("mixed"), offset).status == UNALIGNED
    assert Stream(open_model(library, zoo_image("mixed")), offset=offset).status == UNALIGNED


def test_too_little_memory_is_refused(model: Model) -> None:
    for n_missing in (1, 8, model.state_size):
        stream = Stream(model, n_missing)
        assert stream.status == TOO_SMALL
        assert stream.handle is None
    assert Stream(model).status == OK


def test_null_pointers_are_bad_arguments(model: Model) -> None:
    library, stream = model.library, Stream(model)
    handle, n, events = (
        stream.handle,
        ctypes.byref(ctypes.c_size_t()),
        ctypes.create_string_buffer(24),
    )
    memory = ctypes.create_string_buffer(model.state_size)
    out = ctypes.byref(ctypes.c_void_p())
    one, real = ctypes.byref(ctypes.c_int16()), ctypes.byref(ctypes.c_float())
    calls = (
        library.ea_open(None, memory, 16),
        library.ea_open(model.address, None, 16),
        library.ea_init(None, model.address, memory, len(memory)),
        library.ea_init(out, None, memory, len(memory)),
        library.ea_init(out, model.address, None, 2**20),
        library.ea_push(None, one, 1, events, 1, n),
        library.ea_push(handle, None, 1, events, 1, n),
        library.ea_push(handle, one, 1, None, 1, n),
        library.ea_push(handle, one, 1, events, 1, None),
        library.ea_flush(None, events, 1, n),
        library.ea_flush(handle, None, 1, n),
        library.ea_flush(handle, events, 1, None),
        library.ea_set_threshold(None, 0, 0.5, 0.5),
        library.ea_threshold(None, 0, real, real),
        library.ea_threshold(handle, 0, None, real),
        library.ea_threshold(handle, 0, real, None),
    )
    assert calls == (BAD_ARGUMENT,) * len(calls)
    assert library.ea_state_size(None) == library.ea_scratch_size(None) == 0
    assert library.ea_network_size(None) == 0
    assert stream.n_samples == 0
    assert library.ea_push(handle, None, 0, None, 0, n) == OK


def test_thresholds_out_of_range_are_bad_arguments(model: Model) -> None:
    stream = Stream(model)
    nan, inf = float("nan"), float("inf")
    before = stream.threshold(3)
    pairs = [(0.5, 0.6), (0.5, 0.0), (0.0, 0.5), (1.1, 0.5), (-0.5, -0.5), (0.5, -0.1)]
    for on, off in [*pairs, (nan, 0.5), (0.5, nan), (nan, nan), (inf, 0.5), (inf, inf)]:
        assert stream.set_threshold(3, on, off) == BAD_ARGUMENT
    assert stream.set_threshold(20, 0.5, 0.4) == BAD_ARGUMENT
    assert stream.set_threshold(2**32 - 1, 0.5, 0.4) == BAD_ARGUMENT
    real = ctypes.byref(ctypes.c_float())
    assert model.library.ea_threshold(stream.handle, 20, real, real) == BAD_ARGUMENT
    assert stream.threshold(3) == before
    for on, off in ((1.0, 1.0), (0.5, 0.5), (1e-6, 1e-9), (0.0, 0.0), (-0.0, -0.0)):
        assert stream.set_threshold(3, on, off) == OK
    assert stream.threshold(3) == (0.0, 0.0)


def test_pushing_nothing_changes_nothing(model: Model) -> None:
    stream, empty = Stream(model), np.zeros(0, np.int16)
    assert stream.push(empty) == []
    assert (stream.status, stream.n_samples, stream.n_steps) == (OK, 0, 0)
    samples = noise(5 * STEP)
    stream.push(samples)
    before = stream.scores
    assert stream.push(empty, capacity=0) == []
    assert stream.status == OK
    np.testing.assert_array_equal(stream.scores, before)
    assert stream.n_samples == 5 * STEP


def noise(n: int) -> Samples:
    generator = np.random.default_rng(0)
    loudness = np.repeat(10.0 ** generator.uniform(0.5, 4.0, n // 4000 + 1), 4000)[:n]
    return (generator.normal(0.0, 1.0, n) * loudness).clip(-32768, 32767).astype(np.int16)


def by_label(events: list[Event]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        found[event.label].append((event.kind, event.sample))
    return found


def drained(stream: Stream, capacity: int) -> Iterator[Event]:
    """The events of a flush that has room for so many at a time."""
    for _ in range(100):
        events = stream.flush(capacity)
        assert stream.status == (FULL if len(events) == capacity and stream.status else OK)
        yield from events
        if stream.status == OK:
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("capacity", [0, 1, 2, 5])
@pytest.mark.parametrize("n_samples", [STEP, 100, 3 * STEP])
def test_events_that_do_not_fit_come_later_with_their_true_times(
    model: Model, capacity: int, n_samples: int
) -> None:
    """Every label starts and ends in turn, and its first start is when it would have been."""
    samples = noise(40 * STEP)
    whole = Stream(model)
    expected = by_label([*whole.push(samples), *whole.flush()])
    stream, events = Stream(model), []
    has_been_full = False
    for start in range(0, len(samples), n_samples):
        found = stream.push(samples[start : start + n_samples], capacity)
        has_been_full |= stream.status == FULL
        assert stream.status in (OK, FULL)
        assert stream.status == OK or len(found) == capacity
        events += found
    np.testing.assert_array_equal(stream.scores, whole_scores(model, samples))
    events += drained(stream, max(capacity, 1))
    assert has_been_full or capacity > 1
    found_by_label = by_label(events)
    assert set(found_by_label) == set(expected)
    for label, changes in found_by_label.items():
        kinds, times = zip(*changes, strict=True)
        assert kinds == tuple(itertools.islice(itertools.cycle((START, END)), len(kinds)))
        assert kinds[-1] == END
        assert list(times) == sorted(times)
        assert changes[0] == expected[label][0]


def whole_scores(model: Model, samples: Samples) -> np.ndarray:
    stream = Stream(model)
    stream.push(samples)
    return stream.scores


def test_as_many_as_there_are_labels_are_enough_for_a_step(model: Model) -> None:
    samples = noise(40 * STEP)
    stream, whole = Stream(model), Stream(model)
    events: list[Event] = []
    for start in range(0, len(samples), STEP):
        events += stream.push(samples[start : start + STEP], model.n_labels)
        assert stream.status == OK
    assert events == whole.push(samples)


def test_a_flush_into_a_small_buffer_goes_on_where_it_stopped(model: Model) -> None:
    samples = noise(40 * STEP)
    stream, whole = Stream(model), Stream(model)
    stream.push(samples)
    whole.push(samples)
    expected = whole.flush()
    assert len(expected) >= 3
    assert stream.flush(0) == []
    assert stream.status == FULL
    found = [*drained(stream, 1)]
    assert sorted(found) == sorted(expected)
    assert stream.flush(1) == []
    assert stream.status == OK


@pytest.mark.parametrize("word", [1, 3, 6, 8, 9, 10])
def test_sizes_beyond_any_build_are_too_large(library: ctypes.CDLL, word: int) -> None:
    """Window, transform, labels, convolutions, blocks, embedding."""
    image = zoo_image("mixed")
    at = Layout(image).starts["sizes"] + 4 * word
    assert status(library, with_word(image, at, 16_384)) == TOO_LARGE


LIMITS = {
    "EA_MAX_CONVS": (3, 4),  # too few for the student, just enough
    "EA_MAX_BLOCKS": (5, 6),
    "EA_MAX_MAP_CHANNELS": (4, 8),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_model_beyond_the_limits_of_a_build_is_too_large(compiled: Compile, limit: str) -> None:
    least, enough = LIMITS[limit]
    assert status(compiled(f"-D{limit}={least}"), zoo_image("mixed")) == TOO_LARGE
    assert status(compiled(f"-D{limit}={enough}"), zoo_image("mixed")) == OK


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_build_without_a_mixer_refuses_those_models(compiled: Compile, kind: int) -> None:
    """The one build has all other mixers, the other this one alone."""
    without, alone = (
        compiled(f"-DEA_MIXERS={0x3F ^ 1 << kind}"),
        compiled(f"-DEA_MIXERS={1 << kind}"),
    )
    for other, family in enumerate(KINDS):
        is_same = other == kind
        assert status(without, zoo_image(family)) == (TOO_LARGE if is_same else OK)
        assert status(alone, zoo_image(family)) == (OK if is_same else TOO_LARGE)
    assert status(without, zoo_image("mixed")) == TOO_LARGE


@pytest.mark.parametrize(("states", "left_out"), [(1, "int16"), (2, "float")])
def test_a_build_without_a_state_type_refuses_those_models(
    compiled: Compile, states: int, left_out: str
) -> None:
    library = compiled(f"-DEA_STATES={states}")
    both: tuple[StateType, ...] = ("float", "int16")
    for state in both:
        image = zoo_image("mixed", state)
        assert status(library, image) == (TOO_LARGE if state == left_out else OK)


def test_a_build_with_less_hears_the_same(compiled: Compile, library: ctypes.CDLL) -> None:
    image = zoo_image("ssm-lti", "int16")
    small = compiled("-DEA_MIXERS=1", "-DEA_STATES=2", "-DEA_MAX_CONVS=4", "-DEA_MAX_BLOCKS=2")
    assert small.ea_model_size() < library.ea_model_size()
    found, expected = (
        whole_scores(open_model(each, image), noise(20 * STEP)) for each in (small, library)
    )
    np.testing.assert_array_equal(found, expected)
