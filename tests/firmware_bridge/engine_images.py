"""Engine images to be spoiled: where their parts begin, and copies that differ in a word."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from tests.firmware_bridge.engine_library import (
    Model,
    sealed,
)

HEADER_BYTES = 16
QUIET_STEPS_AT = 4 * 14  # in the sizes
ATTACK_AT = 4 * 5  # in the settings
KINDS = ("ssm-lti", "ssm-selective", "mlstm-sigmoid", "mlstm", "slstm", "conv")
"""Families in the order of the image's numbers for mixers."""
Edit = Callable[[bytearray], None]


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
            self._words(15)
        )
        self._mark("settings")
        self._skip(6 * 4)
        self._mark("labels")
        self._skip(self._words(1)[0])
        self._mark("thresholds")
        self._skip(4 * n_labels, 4 * n_labels)
        self._mark("related")
        *_, n_related = self._words(4)
        self._skip(2 * n_related)
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


def with_quiet_steps(image: bytes, n_steps: int) -> bytes:
    """The same image with streams that begin behind that many steps of silence."""
    return with_word(image, Layout(image).starts["sizes"] + QUIET_STEPS_AT, n_steps)


def status(library: ctypes.CDLL, image: bytes) -> int:
    return Model(library, image).status
