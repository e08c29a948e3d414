"""What audio arrives as: small inputs of every kind, made here, and what becomes of each.

`docs/inputs.py` writes them into docs/inputs.md, `tests/edge_audio/sources/test_inputs.py` hears
them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
LENGTH_S = 3.0
LIBSNDFILE, MEDIA = "always", "with the extra `media`"
HEARD, CUT, REFUSED = "heard", "heard as far as it goes, exit 1", "refused, exit 1"

Bytes = bytes | bytearray


@dataclass(frozen=True)
class Input:
    """what: for people. name: of its file. make: its bytes. by: what reads it.
    outcome: HEARD, CUT or REFUSED. seconds: of audio in it. says: in the error, if there is one.
    level_tolerance: by which its codec may alter the level of the tone.
    """

    what: str
    name: str
    make: Callable[[], Bytes]
    by: str = LIBSNDFILE
    outcome: str = HEARD
    seconds: float = LENGTH_S
    says: str = ""
    level_tolerance: float = 0.15


def tone(rate_hz: int = RATE_HZ, n_channels: int = 1) -> NDArray[np.float32]:
    """1 kHz at amplitude 0.5: f32[n, n_channels]."""
    t_s = np.arange(round(LENGTH_S * rate_hz)) / rate_hz
    mono = 0.5 * np.sin(2 * np.pi * 1000.0 * t_s)
    return np.repeat(mono[:, None], n_channels, axis=1).astype(np.float32)


def written(kind: str, subtype: str = "PCM_16", rate_hz: int = RATE_HZ) -> bytearray:
    """The tone as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, tone(rate_hz), rate_hz, format=kind, subtype=subtype)
    return bytearray(file.getvalue())


def encoded(
    container: str, codec: str, rate_hz: int = RATE_HZ, layout: str = "mono", **options: str
) -> bytes:
    """The tone as ffmpeg's libraries encode it, in all channels of that layout."""
    import av

    # Some are written a second time once their length is known, which needs a name
    with NamedTemporaryFile() as file:
        _encode(av, file.name, container, codec, rate_hz, layout, options)
        return file.read()


def _encode(
    av: Any,
    path: str,
    container: str,
    codec: str,
    rate_hz: int,
    layout: str,
    options: dict[str, str],
) -> None:
    with av.open(path, "w", format=container, options=options) as output:
        stream: Any = output.add_stream(codec, rate=rate_hz)
        stream.layout = layout
        stream.bit_rate = {"libopencore_amrnb": 12_200, "wmav2": 64_000}.get(codec, 96_000)
        n_channels = av.AudioLayout(layout).nb_channels
        packed = tone(rate_hz, n_channels).reshape(1, -1)
        sound = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        sound.sample_rate = rate_hz
        fitting = av.AudioResampler(
            stream.format, stream.layout, rate_hz, stream.frame_size or None
        )
        for frame in [*fitting.resample(sound), *fitting.resample(None), None]:
            output.mux(stream.encode(frame))


def video(container: str = "mp4", n_frames: int = 15) -> bytes:
    """Pictures, and the tone beside them."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        pictures: Any = output.add_stream("mpeg4", rate=5)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        with av.open(io.BytesIO(encoded("ipod", "aac")), "r") as sound:
            copied = output.add_stream_from_template(sound.streams.audio[0])
            for packet in sound.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = copied
                    output.mux(packet)
        for _ in range(n_frames):
            grey = np.full((32, 32, 3), 128, np.uint8)
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        output.mux(pictures.encode(None))
    return file.getvalue()


def noise(kind: str, subtype: str) -> bytes:
    """The tone in noise, which takes more bytes."""
    file = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(LENGTH_S * RATE_HZ))
    samples += tone()[:, 0]
    soundfile.write(file, samples, RATE_HZ, format=kind, subtype=subtype)
    return file.getvalue()


def mp3(rate_hz: int = 44_100, **options: str) -> bytes:
    return encoded("mp3", "libmp3lame", rate_hz, id3v2_version="0", **options)


def stated(data: Bytes, at: int, form: str, value: int) -> bytes:
    """The file with another number in its header."""
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def data_size(data: Bytes, name: bytes = b"data") -> int:
    """Where the size of this chunk stands."""
    return data.index(name) + len(name)


def wav_of(size: int, riff_size: int | None = None) -> bytes:
    """A WAV file whose header claims so many bytes of samples."""
    wav = written("WAV")
    wav = bytearray(stated(wav, data_size(wav), "<I", size))
    return stated(wav, 4, "<I", riff_size) if riff_size is not None else bytes(wav)


def claiming(kind: str, name: bytes, form: str, value: int, skipped: int = 0) -> bytes:
    data = written(kind)
    return stated(data, data_size(data, name) + skipped, form, value)


def flac_of(n_samples: int) -> bytes:
    """A FLAC file whose header claims so many samples."""
    flac = written("FLAC")
    return stated(flac, 22, ">I", n_samples)


def cut(data: Bytes, share: float = 0.6) -> bytes:
    return bytes(data[: int(len(data) * share)])


TRUNCATED = "truncated"
N_BYTES = 2 * round(LENGTH_S * RATE_HZ)
INPUTS = [
    Input("WAV, 8 to 64 bits, mu-law, ADPCM", "a.wav", lambda: written("WAV")),
    Input("WAV of floats", "float.wav", lambda: written("WAV", "FLOAT")),
    Input(
        "WAV: its size too large by some bytes", "w1.wav", lambda: wav_of(N_BYTES + 8, N_BYTES + 52)
    ),
    Input("WAV whose header was never finished", "w2.wav", lambda: wav_of(0, 36)),
    Input("WAV from a pipe, of unknown size", "w3.wav", lambda: wav_of(2**32 - 1, 2**32 - 1)),
    Input("WAV beyond 4 GiB, where sizes begin again at 0", "w4.wav", lambda: wav_of(9_000)),
    Input("WAV files that were joined", "w5.wav", lambda: written("WAV") * 2, seconds=6.0),
    Input("WAV, cut off", "w6.wav", lambda: cut(written("WAV")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("WAV of other codecs", "w7.wav", lambda: encoded("wav", "ac3", 48_000), MEDIA),
    Input("RF64 (BW64)", "a.rf64", lambda: written("RF64")),
    Input("RF64 of unknown size", "b.rf64", lambda: claiming("RF64", b"ds64", "<Q", 0, 12)),
    Input("RF64, cut off", "c.rf64", lambda: cut(written("RF64")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("W64", "a.w64", lambda: written("W64")),
    Input("W64 of unknown size", "b.w64", lambda: claiming("W64", b"data", "<Q", 2**63 - 1, 12)),
    Input("W64, cut off", "c.w64", lambda: cut(written("W64")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("AIFF", "a.aiff", lambda: written("AIFF")),
    Input("AIFF of unknown size", "b.aiff", lambda: claiming("AIFF", b"SSND", ">I", 8)),
    Input("AIFF, cut off", "c.aiff", lambda: cut(written("AIFF")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("AU", "a.au", lambda: written("AU")),
    Input("AU of unknown size", "b.au", lambda: stated(written("AU"), 8, ">I", 0)),
    Input("AU, cut off", "c.au", lambda: cut(written("AU")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("CAF", "a.caf", lambda: written("CAF")),
    Input("CAF of unknown size", "b.caf", lambda: claiming("CAF", b"data", ">Q", 2**64 - 1)),
    Input("CAF, cut off", "c.caf", lambda: cut(written("CAF")), LIBSNDFILE, CUT, 1.75, TRUNCATED),
    Input("VOC", "a.voc", lambda: written("VOC")),
    Input("VOC, cut off", "b.voc", lambda: cut(written("VOC")), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input("FLAC", "a.flac", lambda: written("FLAC")),
    Input("FLAC from a pipe, of unknown length", "b.flac", lambda: flac_of(0)),
    Input("FLAC that claims too little", "c.flac", lambda: flac_of(100)),
    Input("FLAC files that were joined", "d.flac", lambda: written("FLAC") * 2, seconds=6.0),
    Input(
        "FLAC, cut off", "e.flac", lambda: cut(written("FLAC")), LIBSNDFILE, CUT, 1.54, TRUNCATED
    ),
    Input("OGG (Vorbis)", "a.ogg", lambda: written("OGG", "VORBIS")),
    Input("OGG (Opus)", "a.opus", lambda: written("OGG", "OPUS", 48_000)),
    Input("OGG files that were joined", "b.ogg", lambda: written("OGG", "VORBIS") * 2, seconds=6.0),
    Input(
        "OGG files of two codecs and rates, joined",
        "c.ogg",
        lambda: written("OGG", "VORBIS") + written("OGG", "OPUS", 48_000),
        seconds=6.0,
    ),
    Input(
        "OGG, cut off",
        "d.ogg",
        lambda: cut(noise("OGG", "VORBIS")),
        LIBSNDFILE,
        CUT,
        0.84,
        TRUNCATED,
        level_tolerance=9.9,
    ),
    Input("MP3", "a.mp3", mp3),
    Input("MP3 from a pipe or a radio, without a length", "b.mp3", lambda: mp3(write_xing="0")),
    Input("MP3 files that were joined", "c.mp3", lambda: mp3() * 2, seconds=6.0),
    Input("MP3 files of two rates, joined", "d.mp3", lambda: mp3() + mp3(22_050), seconds=6.0),
    Input("MP3 that begins amid a frame", "e.mp3", lambda: mp3()[4_000:], seconds=2.7),
    Input("MP3, cut off", "f.mp3", lambda: cut(mp3()), LIBSNDFILE, CUT, 1.8, TRUNCATED),
    Input(
        "MP3 without a length, cut off",
        "g.mp3",
        lambda: cut(mp3(write_xing="0")),
        LIBSNDFILE,
        CUT,
        1.8,
        TRUNCATED,
    ),
    Input("MP2", "a.mp2", lambda: encoded("mp2", "mp2")),
    Input("M4A, M4B, MP4 (AAC, ALAC)", "a.m4a", lambda: encoded("ipod", "aac"), MEDIA),
    Input(
        "M4A of 8 channels (7.1)",
        "b.m4a",
        lambda: encoded("ipod", "aac", 48_000, "7.1"),
        MEDIA,
    ),
    Input(
        "MOV of 16 channels",
        "b.mov",
        lambda: encoded("mov", "pcm_s16le", 8_000, "hexadecagonal"),
        MEDIA,
    ),
    Input("MOV", "a.mov", lambda: encoded("mov", "alac"), MEDIA),
    Input("video with sound", "a.mp4", video, MEDIA),
    Input(
        "MP4, cut off, its index first",
        "b.mp4",
        lambda: cut(encoded("mp4", "aac", movflags="faststart")),
        MEDIA,
        CUT,
        1.8,
        TRUNCATED,
    ),
    Input(
        "MP4, cut off before its index",
        "c.mp4",
        lambda: cut(video()),
        MEDIA,
        REFUSED,
        0.0,
        "cut off before",
    ),
    Input(
        "3GP (AMR)",
        "a.3gp",
        lambda: encoded("3gp", "libopencore_amrnb", 8_000),
        MEDIA,
        level_tolerance=0.5,
    ),
    Input(
        "AMR",
        "a.amr",
        lambda: encoded("amr", "libopencore_amrnb", 8_000),
        MEDIA,
        level_tolerance=0.5,
    ),
    Input("AAC (ADTS)", "a.aac", lambda: encoded("adts", "aac"), MEDIA),
    Input(
        "WebM, as browsers record it", "a.webm", lambda: encoded("webm", "libopus", 48_000), MEDIA
    ),
    Input("MKV, MKA", "a.mka", lambda: encoded("matroska", "aac"), MEDIA),
    Input("WMA", "a.wma", lambda: encoded("asf", "wmav2"), MEDIA),
    Input("AVI", "a.avi", lambda: encoded("avi", "mp2"), MEDIA),
    Input("FLV", "a.flv", lambda: encoded("flv", "libmp3lame", 44_100), MEDIA),
    Input("MPEG-TS", "a.ts", lambda: encoded("mpegts", "mp2"), MEDIA),
    Input("AAC, cut off", "b.aac", lambda: cut(encoded("adts", "aac")), MEDIA, CUT, 1.8, TRUNCATED),
    Input(
        "AMR, cut off",
        "b.amr",
        lambda: cut(encoded("amr", "libopencore_amrnb", 8_000)),
        MEDIA,
        CUT,
        1.8,
        TRUNCATED,
        level_tolerance=0.5,
    ),
    Input(
        "WebM, cut off",
        "b.webm",
        lambda: cut(encoded("webm", "libopus", 48_000)),
        MEDIA,
        CUT,
        1.8,
        TRUNCATED,
    ),
    Input(
        "MKV with pictures, cut off",
        "b.mkv",
        lambda: cut(video("matroska")),
        MEDIA,
        CUT,
        1.8,
        TRUNCATED,
    ),
    Input(
        "WMA, cut off", "b.wma", lambda: cut(encoded("asf", "wmav2")), MEDIA, CUT, 1.8, TRUNCATED
    ),
    Input("AVI, cut off", "b.avi", lambda: cut(encoded("avi", "mp2")), MEDIA, CUT, 1.8, TRUNCATED),
    Input(
        "MPEG-TS, cut off",
        "b.ts",
        lambda: cut(encoded("mpegts", "mp2")),
        MEDIA,
        CUT,
        1.8,
        TRUNCATED,
    ),
    Input("AC-3", "a.ac3", lambda: encoded("ac3", "ac3", 48_000), MEDIA),
    Input("TTA", "a.tta", lambda: encoded("tta", "tta"), MEDIA),
    Input("WavPack", "a.wv", lambda: encoded("wv", "wavpack"), MEDIA),
    Input("an empty file", "empty.wav", lambda: b"", outcome=REFUSED, says="empty"),
    Input(
        "a header without samples",
        "none.wav",
        lambda: wav_of(0)[:44],
        outcome=REFUSED,
        says="no audio",
    ),
    Input(
        "text", "text.wav", lambda: b"no sound at all\n" * 99, outcome=REFUSED, says="cannot read"
    ),
    Input(
        "what macOS keeps beside a file",
        "._a.wav",
        lambda: b"\0\x05\x16\x07\0\2\0\0Mac OS X".ljust(4_096, b"\0"),
        outcome=REFUSED,
        says="AppleDouble",
    ),
    Input("RAW: no header", "a.raw", lambda: bytes(9_000), outcome=REFUSED, says="--source -"),
]
