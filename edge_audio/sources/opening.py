"""From the name of a source, as users write it, to the source."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.base import Source
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.microphone import Microphone, has_microphone
from edge_audio.sources.network import NetworkStream, is_network_url
from edge_audio.sources.pcm import StdinPcm
from edge_audio.sources.reconnect import Reconnecting
from edge_audio.sources.resample import MIX
from edge_audio.sources.rest import Rest

REALTIME_BLOCK_MS = 80.0  # as a microphone delivers
FILE_BLOCK_MS = 1000.0  # halves the cost of a file that nobody waits for


def make_source(
    url: str,
    device: str | None,
    sample_rate_hz: int,
    pcm: Mapping[str, Any],
    realtime: bool = False,
    channel: str = MIX,
    rest: Rest | None = None,
) -> Source:
    """The source of audio that is meant, not yet open.

    url: mic, demo, - (standard input), the rtsp:// or http:// address of a stream, or a path.
    device: which microphone. pcm: form of raw PCM on standard input, see StdinPcm.
    realtime: a file is read in short blocks. channel: see `check_channel`; ffmpeg mixes streams.
    rest: of a microphone.
    Raises UsageError.
    """
    if url == "mic":
        return Microphone(device, sample_rate_hz, channel=channel, rest=rest)
    if url == "demo":
        return DemoScene(sample_rate_hz)
    if url == "-":
        return StdinPcm(sys.stdin.buffer, sample_rate_hz=sample_rate_hz, channel=channel, **pcm)
    if is_network_url(url):
        return NetworkStream(url, sample_rate_hz)
    block_ms = REALTIME_BLOCK_MS if realtime else FILE_BLOCK_MS
    return AudioFile(url, sample_rate_hz, block_ms, channel)


def reconnecting(make: Callable[[], Source], notice: Callable[[str], None]) -> Source:
    """The source that `make` makes, opened again whenever it breaks, where it is of a kind that
    can come back: a microphone or a stream from the network. notice: see Reconnecting."""
    source = make()
    return Reconnecting(make, notice) if source.live and not source.waits else source


def microphone_or_demo(say: Callable[[str], None]) -> str:
    """What the source "auto" means here and now. say: is told of the scene."""
    if has_microphone():
        return "mic"
    say("no microphone here, so this is the demo scene")
    return "demo"
