"""What a file is, by its first bytes: whatever its name says, and also in a pipe, where bare
samples are expected."""

from __future__ import annotations

from collections.abc import Callable

from edge_audio.sources.mpeg import N_HEADER_BYTES, frame_of

MAX_HEAD_BYTES = 8_192  # by which every kind is known
APPLE_DOUBLE = "an AppleDouble file of macOS, which holds no sound"

# Kinds that ffmpeg's libraries read and libsndfile does not
_MEDIA = """
    3g2 3gp aac ac3 amr ape asf avi dsf eac3 flv m4a m4b m4v mka mkv mov mp4 mpeg mpg mts m2ts ogv
    tta ts webm wma wmv wv
"""
MEDIA_SUFFIXES = frozenset(f".{name}" for name in _MEDIA.split())

# (offset, bytes there, name), the most telling first
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"RIFF????AVI ", "an AVI file"),
    (0, b"RIFF", "a WAV file"),
    (0, b"RIFX", "a WAV file"),
    (0, b"RF64", "an RF64 file"),
    (0, b"BW64", "an RF64 file"),
    (0, b"riff\x2e\x91\xcf\x11", "a W64 file"),
    (0, b"FORM????AIF", "an AIFF file"),
    (0, b"caff\0\x01", "a CAF file"),
    (0, b".snd", "an AU file"),
    (0, b"dns.", "an AU file"),
    (0, b"Creative Voice File", "a VOC file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"OggS", "an OGG file"),
    (0, b"ID3", "an MP3 file"),
    (4, b"ftyp", "an MP4 file"),
    (4, b"moov", "an MP4 file"),
    (4, b"mdat", "an MP4 file"),
    (4, b"wide", "an MP4 file"),
    (4, b"skip", "an MP4 file"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"FLV\x01", "an FLV file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"TTA1", "a TTA file"),
    (0, b"DSD ", "a DSF file"),
    (0, b"ADIF", "an AAC file"),
    (0, b"\0\0\x01\xba", "an MPEG file"),
    (0, b"NIST_1A", "an NIST SPHERE file"),
    (0, b"\0\x05\x16\x07", APPLE_DOUBLE),
)
SNDFILE_KINDS = frozenset(
    f"{article} {name} file"
    for article, names in {"a": "WAV W64 CAF VOC FLAC", "an": "RF64 AIFF AU OGG MP3"}.items()
    for name in names.split()
)
_TS_PACKET_BYTES = 188
_N_TS_PACKETS = 5
_N_FRAMES = 4  # in a row, for samples may look like one
_ADTS_HEADER_BYTES = 7
_AC3_SYNC = b"\x0b\x77"
_ANY = ord("?")
_FRAME_SYNCS = b"\xff\x0b\x47"  # of MPEG audio and AAC, AC-3, MPEG-TS


def kind_of(head: bytes) -> str | None:
    """The kind of a file that begins so; None for what is no known one."""
    for offset, magic, name in _MAGIC:
        if len(head) >= offset + len(magic) and _matches(head[offset:], magic):
            return name
    if _has_frames(head, _mpeg_bytes):
        return "an MP3 file"
    if _has_frames(head, _adts_bytes):
        return "an AAC file"
    if _has_ac3(head):
        return "an AC-3 file"
    starts = range(0, _N_TS_PACKETS * _TS_PACKET_BYTES, _TS_PACKET_BYTES)
    is_ts = len(head) > starts[-1] and all(head[at] == 0x47 for at in starts)
    return "an MPEG-TS file" if is_ts else None


def may_be_a_kind(head: bytes) -> bool:
    """Whether more bytes may tell what a file is, or how the samples lie in it, that begins so.
    Zeros do not look like one: they are silence."""
    if len(head) >= MAX_HEAD_BYTES or not head:
        return False
    if head[0] in _FRAME_SYNCS and kind_of(head) is None:
        return True
    if head.startswith(b"RIFF") and b"data" not in head:
        return True
    return any(
        len(head) < len(magic) and _matches(head, magic)
        for offset, magic, _ in _MAGIC
        if not offset and magic[0]
    )


def _matches(data: bytes, magic: bytes) -> bool:
    return all(want in (have, _ANY) for have, want in zip(data, magic, strict=False))


def _has_frames(head: bytes, n_bytes_at: Callable[[bytes], int]) -> bool:
    """Whether there are frames in a row, the first wherever a recording was cut."""
    head, start = head[:MAX_HEAD_BYTES], -1
    while (start := head.find(b"\xff", start + 1)) >= 0:
        at, n_frames = start, 0
        while n_frames < _N_FRAMES and (n_bytes := n_bytes_at(head[at : at + 7])):
            at, n_frames = at + n_bytes, n_frames + 1
        if n_frames == _N_FRAMES:
            return True
    return False


def _mpeg_bytes(header: bytes) -> int:
    frame = frame_of(header[:N_HEADER_BYTES])
    return frame.n_bytes if frame else 0


def _has_ac3(head: bytes) -> bool:
    """Whether it begins with what begins a frame, twice more at equal distances."""
    sync, at = head[:2], 0
    while sync == _AC3_SYNC and (at := head.find(sync, at + 2)) > 0:
        if head[2 * at : 2 * at + 2] == sync:
            return True
    return False


def _adts_bytes(header: bytes) -> int:
    """Length of the AAC frame with this header (ISO/IEC 13818-7, 6.2), 0 if it is none."""
    if len(header) < _ADTS_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    n_bytes = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    has_rate = header[2] >> 2 & 15 < 13
    return n_bytes if has_rate and n_bytes > _ADTS_HEADER_BYTES else 0
