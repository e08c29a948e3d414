"""Stored negatives: embeddings of many other sounds, which come with a bundle.

They depend on its weights: `python -m distill.negatives MODEL` makes them anew.
"""

from __future__ import annotations

import zlib
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
MAX_BANK_BYTES = 200_000
SOUNDS_PER_HOUR = 60.0
"""How many different sounds a place has in an hour, so that a share of stored sounds becomes a rate
of false alarms: as many as `calibrate` plays."""

_VERSION = 1
_MAX_UNPACKED_BYTES = 4 << 20
_LOWEST, _UNIT, _N_LEVELS = -0.375, 0.1, 64  # coarse, so that they pack well
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
    """Raises BundleError if the bundle has none, or that of another network than the one whose
    fingerprint this is."""
    cure = _CURE.format(name=bundle.path)
    if BANK_FILE not in bundle.manifest.files:
        raise BundleError(f"bundle {bundle.path} has no stored negatives ({BANK_FILE}): {cure}")
    try:
        content = msgspec.msgpack.decode(bundle.read(BANK_FILE), type=_Content)
        if content.version != _VERSION:
            raise ValueError(f"it is of version {content.version}, not {_VERSION}")
        bank = _unpacked(content)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise damaged(bundle.path / BANK_FILE, error) from error
    theirs = np.frombuffer(content.fingerprint, "<f4")
    if not is_same_network(theirs.astype(np.float32), fingerprint):
        raise BundleError(
            f"{bundle.path / BANK_FILE} is of another network than the model beside it: {cure}"
        )
    return bank


def _unpacked(content: _Content) -> Bank:
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
