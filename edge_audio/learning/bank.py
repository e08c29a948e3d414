"""Stored negatives: embeddings of many other sounds, which come with a bundle or the package.

They depend on its weights: `python -m distill.negatives MODEL` makes them anew.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.fingerprint import is_same_network
from edge_audio.bundle.manifest import damaged
from edge_audio.bundle.spec import Spec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import BundleError
from edge_audio.support.arrays import FloatArray

BANK_FILE = "negatives.bin"
BANKS_DIR = Path(__file__).with_name("banks")
"""Of shipped bundles; one file serves all bundles of a network."""
MAX_BANK_BYTES = 200_000
SOUNDS_PER_HOUR = 60.0
"""How many different sounds a place has in an hour, so that a share of stored sounds becomes a rate
of false alarms: as many as `calibrate` plays."""

_VERSION = 1
_MAX_UNPACKED_BYTES = 4 << 20
_LOWEST, _UNIT, _N_LEVELS = -0.375, 0.1, 65  # up to 6.025; coarse, so that they pack well
_CURE = "`python -m distill.negatives {name}` makes them anew, with the clips of training"


class _Content(Spec, frozen=True):
    """owners: u2 of each row, the recording that it comes from. rows: packed by zlib."""

    version: int
    embedding_dim: int
    fingerprint: bytes
    owners: bytes
    rows: bytes


class Bank(NamedTuple):
    """rows: f32[n, embedding_dim]. owners: int[n], which recording each comes from, from 0 on."""

    rows: FloatArray
    owners: NDArray[np.intp]

    @property
    def n_recordings(self) -> int:
        """How many recordings there are."""
        return int(self.owners.max(initial=-1)) + 1


def encode_bank(bank: Bank, fingerprint: FloatArray) -> bytes:
    """The content of BANK_FILE."""
    levels = np.clip(np.round((bank.rows - _LOWEST) / _UNIT), 0, _N_LEVELS - 1).astype(np.uint8)
    return msgspec.msgpack.encode(
        _Content(
            version=_VERSION,
            embedding_dim=bank.rows.shape[1],
            fingerprint=np.asarray(fingerprint, "<f4").tobytes(),
            owners=bank.owners.astype("<u2").tobytes(),
            rows=zlib.compress(levels.tobytes(), 9),
        )
    )


def load_bank(bundle: Bundle, fingerprint: FloatArray) -> Bank:
    """What the bundle has, or else what the package has for its network, whose fingerprint this is.
    Raises BundleError where neither has any, or where those of the bundle are of another network.
    """
    if BANK_FILE in bundle.manifest.files:
        path, cure = bundle.path / BANK_FILE, _CURE.format(name=bundle.path)
        content = _decoded(bundle.read(BANK_FILE), path)
        if not _is_of(content, fingerprint):
            raise BundleError(f"{path} is of another network than the model beside it: {cure}")
        return _unpacked(content, path)
    for path in sorted(BANKS_DIR.glob("*.bin")):
        content = _decoded(path.read_bytes()[: 2 * MAX_BANK_BYTES], path)
        if _is_of(content, fingerprint):
            return _unpacked(content, path)
    cure = _CURE.format(name=bundle.path)
    raise BundleError(f"there are no stored negatives for the network of {bundle.path}: {cure}")


def _decoded(raw: bytes, path: Path) -> _Content:
    try:
        content = msgspec.msgpack.decode(raw, type=_Content)
        if content.version != _VERSION:
            raise ValueError(f"it is of version {content.version}, not {_VERSION}")
        if len(content.fingerprint) != 4 * content.embedding_dim:
            raise ValueError("its fingerprint does not fit its rows")
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise damaged(path, error) from error
    return content


def _is_of(content: _Content, fingerprint: FloatArray) -> bool:
    theirs = np.frombuffer(content.fingerprint, "<f4").astype(np.float32)
    return is_same_network(theirs, fingerprint)


def _unpacked(content: _Content, path: Path) -> Bank:
    try:
        return _rows_of(content)
    except (ValueError, zlib.error) as error:
        raise damaged(path, error) from error


def _rows_of(content: _Content) -> Bank:
    unpacker = zlib.decompressobj()
    packed = unpacker.decompress(content.rows, _MAX_UNPACKED_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
    owners = np.frombuffer(content.owners, "<u2").astype(np.intp)
    if content.embedding_dim < 1 or len(packed) != len(owners) * content.embedding_dim:
        raise ValueError("its rows do not fit their owners")
    if len(owners) == 0 or (np.diff(np.unique(owners)) != 1).any() or owners.min() != 0:
        raise ValueError("its recordings must be numbered from 0 on")
    levels = np.frombuffer(packed, np.uint8).reshape(-1, content.embedding_dim)
    rows = levels.astype(np.float32) * np.float32(_UNIT) + np.float32(_LOWEST)
    return Bank(rows, owners)
