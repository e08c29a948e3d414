"""What containers claim of their size: one that has less of it was cut off.

RIFF; "Advanced Systems Format" 3.2; EBML (RFC 8794) and Matroska (RFC 9559); ISO/IEC 13818-1.
"""

from __future__ import annotations

import os
from typing import BinaryIO

_HEAD_BYTES = 1 << 16
_UNKNOWN_BYTES = 0x7FFF_F000  # as a size of 32 bits: whoever writes to a pipe does not know it
_ASF_MAGIC = bytes.fromhex("3026b2758e66cf11")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE_AT, _ASF_FLAGS_AT, _ASF_LIVE = 40, 88, 1
_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_TS_SYNC, _TS_PACKET_BYTES = 0x47, 188


def is_cut(file: BinaryIO) -> bool:
    """Whether there is less of the file than it says. Leaves the file at its beginning. Raises
    OSError."""
    n_bytes = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    return n_bytes < max(_of_riff(head), _of_asf(head), _of_matroska(head), _of_ts(head, n_bytes))


def _of_riff(head: bytes) -> int:
    size = int.from_bytes(head[4:8], "little")
    # One byte is padding, which some leave out
    return size + 7 if head[:4] == b"RIFF" and size < _UNKNOWN_BYTES else 0


def _of_asf(head: bytes) -> int:
    at = head.find(_ASF_PROPERTIES) if head.startswith(_ASF_MAGIC) else -1
    properties = head[at : at + _ASF_FLAGS_AT + 4]
    if at < 0 or len(properties) < _ASF_FLAGS_AT + 4 or properties[_ASF_FLAGS_AT] & _ASF_LIVE:
        return 0
    return int.from_bytes(properties[_ASF_SIZE_AT : _ASF_SIZE_AT + 8], "little")


def _of_matroska(head: bytes) -> int:
    if not head.startswith(_EBML):
        return 0
    begins, size = _variable_size(head, len(_EBML))
    at = begins + size
    if head[at : at + len(_SEGMENT)] != _SEGMENT:
        return 0
    begins, size = _variable_size(head, at + len(_SEGMENT))
    return begins + size if size else 0


def _variable_size(data: bytes, at: int) -> tuple[int, int]:
    """(where it ends, what it says) of a size of EBML; it says 0 where it is not known."""
    first = data[at] if at < len(data) else 0
    n_bytes = 9 - first.bit_length()
    if not first or at + n_bytes > len(data):
        return at, 0
    all_ones = (1 << 7 * n_bytes) - 1
    size = int.from_bytes(data[at : at + n_bytes], "big") & all_ones
    return at + n_bytes, 0 if size == all_ones else size


def _of_ts(head: bytes, n_bytes: int) -> int:
    """Whole packets."""
    syncs = head[: 5 * _TS_PACKET_BYTES : _TS_PACKET_BYTES]
    is_ts = len(syncs) == 5 and set(syncs) == {_TS_SYNC}
    return -(-n_bytes // _TS_PACKET_BYTES) * _TS_PACKET_BYTES if is_ts else 0
