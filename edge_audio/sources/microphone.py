"""Microphones by way of PortAudio (the `sounddevice` package, an extra)."""

from __future__ import annotations

import atexit
import itertools
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from edge_audio.errors import EdgeAudioError, SourceError, UsageError
from edge_audio.sources.base import Block, Timeline
from edge_audio.sources.queue import AudioQueue, Taken
from edge_audio.sources.resample import MIX
from edge_audio.sources.rest import Rest
from edge_audio.support.arrays import FloatArray

_POLL_S = 0.5  # how often a waiting consumer looks whether the stream still lives
_STALL_LIMIT_S = 5.0  # PulseAudio's first audio can take 2 s; nothing takes longer than this
_CLOSE_LIMIT_S = 2.0


@dataclass(frozen=True)
class Device:
    """An audio input. `index` is PortAudio's, and holds until devices come or go."""

    index: int
    name: str
    host_api: str
    n_channels: int
    default_rate_hz: int
    is_default: bool


def _sounddevice() -> ModuleType:
    """The sounddevice module, loaded when first needed: loading it starts PortAudio."""
    try:
        import sounddevice
    except ImportError as error:
        raise SourceError(
            "microphones need the sounddevice package: pip install 'edge-audio[mic]'"
        ) from error
    except OSError as error:  # what sounddevice raises where the library is missing
        raise SourceError(
            "microphones need the PortAudio library: apt install libportaudio2 (Debian, Ubuntu, "
            "Raspberry Pi OS) or your system's portaudio package"
        ) from error
    except Exception as error:
        raise SourceError(f"PortAudio did not start: {error}") from error
    module: ModuleType = sounddevice
    return module


# PortAudio's functions are not safe for threads: whoever opens, closes or lists holds the lock.
# One that closes a stream may hold it for ever, where a sound server no longer answers.
_portaudio = threading.RLock()
_open_streams: set[Any] = set()  # those that PortAudio has not closed yet; of the lock's holder
_lookups = itertools.count()


@contextmanager
def _alone_with_portaudio() -> Iterator[ModuleType]:
    """The sounddevice module, for this thread alone. Raises SourceError."""
    if not _portaudio.acquire(timeout=_CLOSE_LIMIT_S):
        raise SourceError("the sound server does not answer: restart it, or unplug the device")
    try:
        yield _sounddevice()
    finally:
        _portaudio.release()


def _look_again(sounddevice: ModuleType) -> None:
    """Makes PortAudio forget which devices there were, and find those that there are: it looks
    only once by itself. Not while another stream is open, which that would end."""
    if next(_lookups) == 0 or _open_streams:
        return
    sounddevice._terminate()  # noqa: SLF001 - there is no public way
    try:
        sounddevice._initialize()  # noqa: SLF001
    except sounddevice.PortAudioError as error:
        raise SourceError(f"PortAudio did not start: {error}") from error


def list_devices() -> list[Device]:
    """All audio inputs, possibly none. Raises SourceError where PortAudio is not installed."""
    with _alone_with_portaudio() as sounddevice:
        host_apis = sounddevice.query_hostapis()
        default_index = sounddevice.default.device[0]
        infos = sounddevice.query_devices()
    return [
        Device(
            index=info["index"],
            name=info["name"],
            host_api=host_apis[info["hostapi"]]["name"],
            n_channels=info["max_input_channels"],
            default_rate_hz=round(info["default_samplerate"]),
            is_default=info["index"] == default_index,
        )
        for info in infos
        if info["max_input_channels"] > 0
    ]


def find_device(choice: int | str | None = None) -> Device:
    """The default input, or the one with this index, this name, or this unique part of a name
    (upper and lower case alike).

    Raises SourceError if there is no input at all, UsageError if the choice fits none or several.
    """
    devices = list_devices()
    if not devices:
        raise SourceError(
            "no microphone found; plug one in, or hear the built-in scene: --source demo"
        )
    if choice is None:
        return next((device for device in devices if device.is_default), devices[0])
    matches = _matching(devices, str(choice).strip().casefold())
    if len(matches) == 1:
        return matches[0]
    problem = "several audio inputs match" if matches else "no audio input matches"
    offered = ", ".join(f"{device.index} {device.name!r}" for device in matches or devices)
    raise UsageError(f"{problem} {choice!r}; choose from {offered} (see `edge-audio devices`)")


def _matching(devices: list[Device], choice: str) -> list[Device]:
    if choice.isascii() and choice.isdecimal():
        return [device for device in devices if device.index == int(choice)]
    exact = [device for device in devices if device.name.casefold() == choice]
    return exact or [device for device in devices if choice in device.name.casefold()]


def has_microphone() -> bool:
    """Whether a microphone can be opened here and now (PortAudio and a default input exist, and
    the input accepts some format)."""
    try:
        with _alone_with_portaudio() as sounddevice:
            return _accepts_some_format(sounddevice, find_device())
    except EdgeAudioError:
        return False


def _accepts_some_format(sounddevice: ModuleType, device: Device) -> bool:
    for rate_hz, n_channels in _formats(device, device.default_rate_hz):
        try:
            sounddevice.check_input_settings(device.index, n_channels, "float32", None, rate_hz)
        except sounddevice.PortAudioError:
            continue
        return True
    return False


def _formats(device: Device, sample_rate_hz: int, channel: str = MIX) -> list[tuple[int, int]]:
    """(rate_hz, n_channels) to try in this order: what we want, then what the device prefers.

    Stereo comes before all channels, because virtual devices claim dozens.
    """
    native_rate_hz = device.default_rate_hz
    if channel != MIX:  # a device that gives one channel chooses or mixes by itself
        return [(native_rate_hz, device.n_channels), (sample_rate_hz, device.n_channels)]
    wanted = [
        (sample_rate_hz, 1),
        (native_rate_hz, min(2, device.n_channels)),
        (native_rate_hz, device.n_channels),
    ]
    return list(dict.fromkeys(wanted))


class _Chunk(NamedTuple):
    """One callback's audio. has_unknown_gap: the sound system lost some just before it."""

    data: bytes
    n_frames: int
    has_unknown_gap: bool


class Microphone:
    """A microphone, resampled and mixed down to mono at sample_rate_hz.

    The audio callback only copies into a queue of `queue_s` seconds. When the consumer falls
    further behind, the oldest audio is lost, and the block after the gap says so.

    device: index, name or unique part of a name; None = the system's default input.
    block_ms: how much audio the device delivers at a time. rest: lets it deliver several of these
        as one block.
    """

    live = True
    waits = False
    max_burst_s = 0.0
    n_restarts = 0

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate_hz: int = 16_000,
        block_ms: float = 80.0,
        queue_s: float = 4.0,
        channel: str = MIX,
        rest: Rest | None = None,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.name = "default microphone" if device is None else str(device)
        self._choice, self._channel = device, channel
        self._block_ms, self._rest = block_ms, rest
        self._poll_s = _POLL_S + (0.0 if rest is None else rest.latency_s)  # else a rest ends there
        self._queue: AudioQueue[_Chunk] = AudioQueue(math.ceil(queue_s * 1000.0 / block_ms))
        self._stopped = threading.Event()

    def __enter__(self) -> Microphone:
        """Starts recording. Raises SourceError or UsageError."""
        with _alone_with_portaudio() as sounddevice:
            _look_again(sounddevice)
            device = find_device(self._choice)
            self.name = device.name
            self._stream, self._rate_hz, self._n_channels = self._open(sounddevice, device)
            _open_streams.add(self._stream)
            refusal = self._start(sounddevice)
        if refusal is not None:
            self._close()
            raise SourceError(self._broken(f"did not start: {refusal}")) from refusal
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def stop(self) -> None:
        self._stopped.set()
        self._queue.close()

    def blocks(self) -> Iterator[Block]:
        """Blocks until `stop`. Raises SourceError once the device is gone or has stalled for some
        seconds."""
        timeline = Timeline(self._rate_hz, self.sample_rate_hz, channel=self._channel)
        while (taken := self._next_chunk()) is not None:
            chunk = taken.chunk
            if taken.n_lost_frames:
                yield from timeline.skip(taken.n_lost_frames)
            samples: FloatArray = np.frombuffer(self._with_more(chunk), np.float32)
            yield from timeline.push(samples.reshape(-1, self._n_channels), chunk.has_unknown_gap)

    def _start(self, sounddevice: ModuleType) -> Exception | None:
        """Starts the stream. Returns the reason if that failed."""
        self._last_callback_s = time.monotonic()
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            refusal: Exception = error
            return refusal
        return None

    def _next_chunk(self) -> Taken[_Chunk] | None:
        """The next chunk of audio, None once the source was stopped."""
        while not self._stopped.is_set():
            taken = self._queue.get(self._poll_s)
            if taken is not None:
                return taken
            self._check_alive()
        return None

    def _with_more(self, chunk: _Chunk) -> bytes:
        """The audio of the chunk, and of those that were collected behind it."""
        if self._rest is None:
            return chunk.data
        n_more = int(self._rest.latency_s * 1000.0 / self._block_ms + 1e-6) - 1
        more = self._queue.get_more(n_more, lambda one: not one.has_unknown_gap)
        return b"".join([chunk.data, *(one.data for one in more)])

    def _check_alive(self) -> None:
        if not self._stream.active:
            raise SourceError(self._broken("stopped: it was unplugged, or its sound server ended"))
        stalled_s = time.monotonic() - self._last_callback_s
        if stalled_s > _STALL_LIMIT_S:
            raise SourceError(self._broken(f"has delivered no audio for {stalled_s:.0f} s"))

    def _broken(self, problem: str) -> str:
        return f"microphone {self.name!r} {problem}; check it with `edge-audio devices`"

    def _open(self, sounddevice: ModuleType, device: Device) -> tuple[Any, int, int]:
        """(stream, rate_hz, n_channels) with the first format that the device accepts."""
        refusal = None
        for rate_hz, n_channels in _formats(device, self.sample_rate_hz, self._channel):
            try:
                stream = sounddevice.RawInputStream(
                    samplerate=rate_hz,
                    blocksize=max(1, round(rate_hz * self._block_ms / 1000.0)),
                    device=device.index,
                    channels=n_channels,
                    dtype="float32",
                    callback=self._callback,
                )
            except sounddevice.PortAudioError as error:
                refusal = error
            else:
                return stream, rate_hz, n_channels
        raise SourceError(self._broken(f"cannot be opened: {refusal}")) from refusal

    def _callback(self, data: Any, n_frames: int, time_info: Any, status: Any) -> None:
        """Runs in PortAudio's thread: copies, and tells whether anybody has to know of it now."""
        self._last_callback_s = time.monotonic()
        chunk = _Chunk(bytes(data), n_frames, bool(status.input_overflow))
        self._queue.put(chunk, wakes=self._rest is None or self._ends_rest(self._rest, chunk))

    def _ends_rest(self, rest: Rest, chunk: _Chunk) -> bool:
        block_s = chunk.n_frames / self._rate_hz
        waiting_s = (len(self._queue) + 1) * block_s
        return rest.ends(np.frombuffer(chunk.data, np.float32), block_s, waiting_s)

    def _close(self) -> None:
        """Closes the stream, but does not wait for a sound server that no longer answers."""
        closing = threading.Thread(target=self._abort_and_close, daemon=True)
        closing.start()
        closing.join(_CLOSE_LIMIT_S)
        if closing.is_alive():
            # PortAudio's own clean-up at exit would wait for the same server, without end.
            atexit.unregister(getattr(_sounddevice(), "_exit_handler", self._close))

    def _abort_and_close(self) -> None:
        with _portaudio:
            self._stream.abort()
            self._stream.close()
            _open_streams.discard(self._stream)
