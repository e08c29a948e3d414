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
    scores: f32[n_frames // frames_per_step, n_labels], one row per step; embedding: f32[n_steps,
    embedding_dim], None for a model that gives none.
    """

    samples: NDArray[np.int16]
    frames: NDArray[np.float32]
    scores: NDArray[np.float32]
    embedding: NDArray[np.float32] | None = None

    def to_bytes(self) -> bytes:
        """The content of golden.npz."""
        file = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(file, **{k: array for k, array in arrays.items() if array is not None})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Raises BundleError unless it holds exactly these arrays with their dtypes."""
        try:
            return cls(**_read_arrays(content))
        except Exception as error:  # those of zipfile, zlib and numpy share no other base
            raise damaged(GOLDEN_NAME, error) from error


_REQUIRED = {"samples": ("int16", 1), "frames": ("float32", 2), "scores": ("float32", 2)}
_ARRAYS = {**_REQUIRED, "embedding": ("float32", 2)}
_GOLDEN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others unpack without a limit


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    if content.count(b"PK\1\2") > 16:  # starts each entry of the table of contents
        raise ValueError("it has too many members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = _array_names(archive.infolist())
        return {name: _parse_npy(name, archive.read(f"{name}.npy")) for name in names}


def _array_names(members: list[zipfile.ZipInfo]) -> list[str]:
    """Of the arrays that are there. Raises ValueError where a member is none of them."""
    max_bytes = min(MAX_GOLDEN_BYTES, MAX_FILE_BYTES)
    if sum(member.file_size for member in members) > max_bytes:
        raise ValueError(f"it unpacks to more than {max_bytes} bytes")
    found = sorted(member.filename for member in members)
    if found not in [sorted(f"{name}.npy" for name in names) for names in (_REQUIRED, _ARRAYS)]:
        raise ValueError(f"it must hold {', '.join(_REQUIRED)}, perhaps embedding, nothing else")
    if not {member.compress_type for member in members} <= _GOLDEN_METHODS:
        raise ValueError("it is not compressed the way numpy does it")
    return [name.removesuffix(".npy") for name in found]


def _parse_npy(name: str, content: bytes) -> NDArray[Any]:
    """Like numpy.load, but memory is taken for what is there, not for what a header claims."""
    dtype, n_dims = _ARRAYS[name]
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
    model = bundle.manifest.model
    n_mels, n_labels = model.frontend.n_mels, len(bundle.manifest.labels)
    found = 0 if golden.embedding is None else golden.embedding.shape[1]
    sizes = golden.frames.shape[1], golden.scores.shape[1], found
    if sizes != (n_mels, n_labels, model.embedding_dim):
        raise BundleError(
            f"{bundle.path / GOLDEN_NAME} does not fit its manifest, which has {n_mels} mels, "
            f"{n_labels} labels and an embedding of {model.embedding_dim}: export the bundle again"
        )
    return golden
