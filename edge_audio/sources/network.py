"""Cameras and radio stations: RTSP and HTTP streams, decoded by an ffmpeg process."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.audio_file import pcm_blocks
from edge_audio.sources.base import Block, SourceStats, Timeline
from edge_audio.support.text import one_line

SCHEMES = ("rtsp", "rtsps", "http", "https")
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,crypto"  # nothing that reads files
_STALL_LIMIT_S = 15.0
_CLOSE_LIMIT_S = 2.0
_MAX_REASON_CHARS = 200


def is_network_url(text: str) -> bool:
    """Whether this is the address of a stream rather than a file's path."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def without_password(url: str) -> str:
    """The address as it may be shown: user and password are left out."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


class NetworkStream:
    """The audio of an RTSP or HTTP stream, mixed down to mono at sample_rate_hz by ffmpeg.

    What the reader does not take in time waits in the pipe, and beyond it at the sender.
    """

    live = True
    stats = SourceStats()

    def __init__(self, url: str, sample_rate_hz: int = 16_000, block_ms: float = 80.0) -> None:
        if not is_network_url(url):
            raise UsageError(f"{url!r} is no address of a stream: use one of {', '.join(SCHEMES)}")
        self.name = without_password(url)
        self.sample_rate_hz = sample_rate_hz
        self._url = url
        self._n_block_bytes = 2 * max(1, round(sample_rate_hz * block_ms / 1000.0))

    def __enter__(self) -> NetworkStream:
        """Starts ffmpeg. Raises SourceError where there is none."""
        program = shutil.which("ffmpeg")
        if program is None:
            raise SourceError("network streams need ffmpeg: apt install ffmpeg")
        self._messages = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [program, *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._messages,
        )
        return self

    def _arguments(self) -> list[str]:
        is_rtsp = self._url.lower().startswith("rtsp")
        timeout_us = str(round(_STALL_LIMIT_S * 1e6))
        return [
            *("-nostdin", "-hide_banner", "-loglevel", "error"),
            *("-protocol_whitelist", _PROTOCOLS),
            *(("-rtsp_transport", "tcp", "-timeout") if is_rtsp else ("-rw_timeout",)),
            *(timeout_us, "-i", self._url),
            *("-vn", "-sn", "-dn", "-ac", "1", "-ar", str(self.sample_rate_hz)),
            *("-f", "s16le", "-flush_packets", "1", "-"),
        ]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(_CLOSE_LIMIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._messages.close()

    def blocks(self) -> Iterator[Block]:
        """Until the sender ends the stream. Raises SourceError if it cannot be reached, breaks
        off or has sent nothing for 15 s."""
        timeline = Timeline(self.sample_rate_hz, self.sample_rate_hz)
        has_heard = False
        for block in pcm_blocks(iter(self._read, b""), timeline, "s16le"):
            has_heard = True
            yield block
        if self._process.wait() != 0 or not has_heard:
            raise SourceError(f"cannot hear {self.name}: {self._reason()}")

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], _STALL_LIMIT_S)[0]:
            raise SourceError(f"{self.name} has sent no audio for {_STALL_LIMIT_S:.0f} s")
        return os.read(descriptor, self._n_block_bytes)

    def _reason(self) -> str:
        """The last thing that ffmpeg said, without what must not be shown."""
        self._messages.seek(0)
        lines = self._messages.read(1 << 16).decode(errors="replace").splitlines()
        text = lines[-1] if lines else "there is no audio in it"
        return one_line(text.replace(self._url, self.name), _MAX_REASON_CHARS)
