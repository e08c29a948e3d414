"""PortAudio is one thread's at a time: microphones that come back at once do not pull it away
under each other."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from edge_audio.errors import SourceError
from edge_audio.sources import microphone
from edge_audio.sources.microphone import Microphone, has_microphone, list_devices


class PortAudio:
    """Stands in for the module sounddevice, and takes note of what would crash the real one.

    faults: calls while another one ran, and an end while a stream was open.
    """

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.default = SimpleNamespace(device=[0, 0])
        self._busy = threading.Lock()
        self.streams: set[Any] = set()
        self.RawInputStream = lambda **_: Stream(self)

    def call(self, name: str) -> None:
        if not self._busy.acquire(blocking=False):
            self.faults.append(f"{name} while another call ran")
            return
        time.sleep(0.001)
        self._busy.release()

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        self.call("query_devices")
        device = {"index": 0, "name": "usb", "hostapi": 0, "max_input_channels": 1}
        return [{**device, "default_samplerate": 16_000.0}]

    def check_input_settings(self, *_: object) -> None:
        self.call("check_input_settings")

    def _terminate(self) -> None:
        self.call("terminate")
        if self.streams:
            self.faults.append("terminate while a stream was open")

    def _initialize(self) -> None:
        self.call("initialize")


class Stream:
    active = True

    def __init__(self, portaudio: PortAudio) -> None:
        portaudio.call("open")
        portaudio.streams.add(self)
        self._portaudio = portaudio

    def start(self) -> None:
        self._portaudio.call("start")

    def abort(self) -> None:
        self._portaudio.call("abort")

    def close(self) -> None:
        self._portaudio.call("close")
        self._portaudio.streams.discard(self)


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> PortAudio:
    portaudio = PortAudio()
    monkeypatch.setattr(microphone, "_sounddevice", lambda: portaudio)
    return portaudio


def test_microphones_that_come_back_at_once_wait_for_each_other(portaudio: PortAudio) -> None:
    errors: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(25):
                with Microphone("usb"):
                    list_devices()
                has_microphone()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not portaudio.faults
    assert not portaudio.streams


def test_a_stream_that_never_closes_keeps_others_from_opening_with_an_error(
    portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "_CLOSE_LIMIT_S", 0.2)
    answers = threading.Event()
    hung = Microphone("usb")
    hung.__enter__()
    (stream,) = portaudio.streams
    stream.abort = lambda: answers.wait(60.0)  # as a sound server that was frozen
    hung.__exit__()  # which does not wait for it
    with pytest.raises(SourceError, match="sound server does not answer"), Microphone("usb"):
        pass
    answers.set()
    time.sleep(0.1)
    with Microphone("usb"):
        assert len(portaudio.streams) == 1
    assert not portaudio.faults
