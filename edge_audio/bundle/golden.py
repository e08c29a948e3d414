"""A recording in the bundle, and what the model said about it when it was exported."""

from __future__ import annotations

import io
import warnings
import zipfile
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edge_audio.bundle.manifest import (
    MAX_FILE_BYTES,
    damaged,
)
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BundleError

GOLDEN_NAME = "golden.npz"
MAX_GOLDEN_BYTES = 16 << 20  # unpacked: three minutes of audio


@dataclass(frozen=True)
class Golden:
    """What the model said about one recording when it was exported.

    samples: int16[n]; frames: f32[n_frames, n_mels], all frames of the samples;
    scores: f32[n_frames // frames_per_step, n_labels], one row per step.
    """

    samples: NDArray[np.int16]
    frames: NDArray[np.float32]
    scores: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The content of golden.npz."""
        file = io.BytesIO()
        np.savez_compressed(file, samples=self.samples, frames=self.frames, scores=self.scores)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Raises BundleError unless it holds exactly the three arrays with their dtypes."""
        try:
            return cls(**_read_arrays(content))
        except Exception as error:  # those of zipfile, zlib and numpy share no other base
            raise damaged(GOLDEN_NAME, error) from error


_GOLDEN_ARRAYS = {"samples": ("int16", 1), "frames": ("float32", 2), "scores": ("float32", 2)}
_GOLDEN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others unpack without a limit


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    if content.count(b"PK\1\2") > 16:  # starts each entry of the table of contents
        raise ValueError("it has too many members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_members(archive.infolist())
        return {name: _parse_npy(name, archive.read(f"{name}.npy")) for name in _GOLDEN_ARRAYS}


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    max_bytes = min(MAX_GOLDEN_BYTES, MAX_FILE_BYTES)
    if sum(member.file_size for member in members) > max_bytes:
        raise ValueError(f"it unpacks to more than {max_bytes} bytes")
    if sorted(member.filename for member in members) != sorted(f"{x}.npy" for x in _GOLDEN_ARRAYS):
        raise ValueError(f"it must hold {', '.join(_GOLDEN_ARRAYS)} and nothing else")
    if not {member.compress_type for member in members} <= _GOLDEN_METHODS:
        raise ValueError("it is not compressed the way numpy does it")


def _parse_npy(name: str, content: bytes) -> NDArray[Any]:
    """Like numpy.load, but memory is taken for what is there, not for what a header claims."""
    dtype, n_dims = _GOLDEN_ARRAYS[name]
    file = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # about headers of Python 2, which is not one line
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has an unknown version")
        shape, is_fortran, found = npy.read_array_header_1_0(file)
    if found != np.dtype(dtype) or len(shape) != n_dims:
        raise ValueError(f"{name} must be {dtype} with {n_dims} dimensions")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.frombuffer(bytearray(file.read()), dtype).reshape(shape, order=order)


def load_golden(bundle: Bundle) -> Golden:
    """The bundle's golden recording. BundleError if it is missing, damaged or another model's."""
    golden = Golden.from_bytes(bundle.read(GOLDEN_NAME))
    n_mels, n_labels = bundle.manifest.model.frontend.n_mels, len(bundle.manifest.labels)
    if (golden.frames.shape[1], golden.scores.shape[1]) != (n_mels, n_labels):
        raise BundleError(
            f"{bundle.path / GOLDEN_NAME} does not fit its manifest, which has {n_mels} mels and "
            f"{n_labels} labels: export the bundle again"
        )
    return golden
