"""The microphone through PortAudio on a real (virtual) sound card, in processes of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge_audio.sources.microphone import Device, _formats, _matching
from tests.support.paths import REPOSITORY
from tests.support.virtual_sound_card import VirtualSoundCard

HANG_S = 60  # far beyond every limit in the code; reached only by what never ends
PROBE = REPOSITORY / "tests" / "support" / "microphone_probe.py"


class Listener:
    """A process that records from the sound card's microphone."""

    def __init__(self, card: VirtualSoundCard, recording: Path, *options: str) -> None:
        self._recording = recording
        self._process = subprocess.Popen(
            [sys.executable, str(PROBE), str(recording), *options],
            env=card.environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "started\n"

    def report(self) -> dict[str, Any]:
        """Waits for the end; the process must end by itself."""
        try:
            output, _ = self._process.communicate(timeout=HANG_S)
        finally:
            self._process.kill()
        assert self._process.returncode == 0
        report: dict[str, Any] = json.loads(output)
        return report

    def samples(self) -> NDArray[np.float32]:
        recording: NDArray[np.float32] = np.load(self._recording)
        return recording


def tone(hz: float, amplitude: float, rate_hz: int, seconds: float) -> NDArray[np.float32]:
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * t_s)).astype(np.float32)


def middle_second(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """The second around the middle of all that is louder than -40 dB."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    assert len(loud) > 0, "nothing was heard"
    middle = (loud[0] + loud[-1]) // 2
    return samples[middle - rate_hz // 2 : middle + rate_hz // 2]


def peak_hz(samples: NDArray[np.float32], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(16_000, 1), (44_100, 2), (48_000, 2)])
def test_microphone_hears_a_tone_at_its_level_and_pitch(
    make_sound_card: Callable[..., VirtualSoundCard],
    tmp_path: Path,
    rate_hz: int,
    n_channels: int,
) -> None:
    card = make_sound_card(rate_hz, n_channels)
    listener = Listener(card, tmp_path / "heard.npy", "--seconds=5")
    sound = tone(1000.0, 0.25, rate_hz, seconds=3.0)
    card.play(np.stack([sound] * n_channels, axis=1), rate_hz)
    report = listener.report()
    assert report["error"] is None
    assert sum(report["n_lost_samples"]) == 0
    heard = middle_second(listener.samples(), 16_000)
    assert peak_hz(heard, 16_000) == pytest.approx(1000.0, abs=1.0)
    assert np.sqrt(2 * np.mean(heard**2)) == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize(
    ("channel", "hz"), [("1", 500.0), ("2", 1500.0), ("loudest", 1500.0), ("mix", 1500.0)]
)
def test_microphone_hears_the_channel_that_is_chosen(
    make_sound_card: Callable[..., VirtualSoundCard], tmp_path: Path, channel: str, hz: float
) -> None:
    card = make_sound_card(48_000, 2)
    listener = Listener(card, tmp_path / "heard.npy", "--seconds=5", f"--channel={channel}")
    left, right = tone(500.0, 0.1, 48_000, 3.0), tone(1500.0, 0.4, 48_000, 3.0)
    card.play(np.stack([left, right], axis=1), 48_000)
    assert listener.report()["error"] is None
    heard = middle_second(listener.samples(), 16_000)
    assert peak_hz(heard, 16_000) == pytest.approx(hz, abs=1.0)
    spectrum = np.abs(np.fft.rfft(heard)) / 8_000
    found = spectrum[[500, 1500]]
    levels = {"1": (0.1, 0.0), "2": (0.0, 0.4), "loudest": (0.0, 0.4), "mix": (0.05, 0.2)}
    assert found == pytest.approx(levels[channel], abs=0.02)


def test_microphone_resamples_where_the_device_refuses_the_rate(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    """PulseAudio takes no more than 384 kHz, so the device is opened at its own rate, in stereo."""
    listener = Listener(
        virtual_sound_card, tmp_path / "heard.npy", "--rate-hz=400000", "--seconds=4"
    )
    virtual_sound_card.play(tone(1000.0, 0.25, 16_000, seconds=2.5), 16_000)
    assert listener.report()["error"] is None
    heard = middle_second(listener.samples(), 400_000)
    assert peak_hz(heard, 400_000) == pytest.approx(1000.0, abs=1.0)
    assert np.sqrt(2 * np.mean(heard**2)) == pytest.approx(0.25, rel=0.03)


def test_microphone_hears_a_real_clip(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path, data_dir: Path
) -> None:
    clip = min((data_dir / "audio" / "esc10").rglob("*.ogg"))
    played, rate_hz = soundfile.read(clip, dtype="float32")
    listener = Listener(virtual_sound_card, tmp_path / "heard.npy", "--seconds=8")
    virtual_sound_card.play(clip)
    assert listener.report()["error"] is None
    heard = listener.samples()
    # The room is silent otherwise: all of the clip's energy below 8 kHz, and no other, arrives.
    spectrum = np.abs(np.fft.rfft(played)) ** 2
    in_band = spectrum[np.fft.rfftfreq(len(played), 1 / rate_hz) < 7500].sum()
    expected = np.sum(played**2) / rate_hz * in_band / spectrum.sum()
    assert np.sum(heard**2) / 16_000 == pytest.approx(expected, rel=0.05)


def test_killed_sound_server_ends_the_microphone_with_a_message(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    listener = Listener(virtual_sound_card, tmp_path / "heard.npy", "--seconds=3600")
    virtual_sound_card.kill()
    assert re.match(r"microphone 'default' stopped: it was unplugged", listener.report()["error"])


def test_frozen_sound_server_ends_the_microphone_with_a_message(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    listener = Listener(virtual_sound_card, tmp_path / "heard.npy", "--seconds=3600")
    virtual_sound_card.freeze()
    assert re.search(r"has delivered no audio for \d+ s", listener.report()["error"])


def test_stalled_consumer_loses_counted_audio_and_then_recovers(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    listener = Listener(
        virtual_sound_card, tmp_path / "heard.npy", "--seconds=6", "--stall-s=3", "--queue-s=0.8"
    )
    virtual_sound_card.play(tone(500.0, 0.25, 16_000, seconds=8.0), 16_000)
    report = listener.report()
    assert report["error"] is None
    assert sum(report["n_lost_samples"]) > 16_000
    expected_s = np.cumsum([0, *report["lengths"]])[:-1] + np.cumsum(report["n_lost_samples"])
    assert report["times_s"] == pytest.approx(expected_s / 16_000)
    last_second = listener.samples()[-16_000:]
    assert np.sqrt(2 * np.mean(last_second**2)) == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("latency_s", [0.32, 0.96])
def test_a_resting_microphone_collects_silence_and_hands_out_a_sound_at_once(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path, latency_s: float
) -> None:
    options = ("--seconds=8", f"--latency-s={latency_s}")
    listener = Listener(virtual_sound_card, tmp_path / "heard.npy", *options)
    virtual_sound_card.play(tone(500.0, 0.25, 16_000, seconds=3.0), 16_000)
    report = listener.report()
    assert report["error"] is None
    assert sum(report["n_lost_samples"]) == 0
    loud = np.flatnonzero(np.abs(listener.samples()) > 0.01)
    starts = np.cumsum([0, *report["lengths"]])
    block = int(np.searchsorted(starts, loud[0], side="right")) - 1  # in which the tone begins
    assert starts[block + 1] - loud[0] < 2 * 1280
    assert report["lengths"][block + 1 : block + 9] == [1280] * 8
    n_rest = round(16_000 * latency_s)
    assert n_rest in report["lengths"][:block] or n_rest in report["lengths"][-8:]


def run_python(code: str, environment: dict[str, str] | None = None) -> str:
    """Standard output of the code in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=HANG_S,
        check=True,
    ).stdout


ASK = """
from edge_audio.errors import EdgeAudioError
from edge_audio.sources.microphone import Microphone, find_device, has_microphone, list_devices
def ask(question, *arguments):
    try:
        print(question(*arguments))
    except EdgeAudioError as error:
        print(type(error).__name__, error)
"""


def test_devices_are_found_by_index_and_name(virtual_sound_card: VirtualSoundCard) -> None:
    code = ASK + (
        "room = find_device('room')\n"
        "assert room in list_devices()\n"
        "assert find_device(room.index) == find_device(str(room.index)) == find_device('ROO')\n"
        "ask(lambda: (find_device().name, find_device().is_default, has_microphone()))\n"
        "ask(find_device, 'kitchen')\n"
        "ask(find_device, 99)\n"
    )
    answers = run_python(code, virtual_sound_card.environment).splitlines()
    assert answers[0] == "('default', True, True)"
    for answer, choice in zip(answers[1:], ("'kitchen'", "99"), strict=True):
        assert answer.startswith(f"UsageError no audio input matches {choice}; choose from ")
        assert "'room'" in answer
        assert "`edge-audio devices`" in answer


def test_without_a_sound_server_there_is_no_microphone(
    virtual_sound_card: VirtualSoundCard,
) -> None:
    virtual_sound_card.kill()
    code = ASK + "ask(has_microphone); ask(Microphone().__enter__)"
    answers = run_python(code, virtual_sound_card.environment).splitlines()
    assert answers[0] == "False"
    assert answers[1].startswith("SourceError no microphone found")


def test_missing_sounddevice_names_the_extra_to_install() -> None:
    code = "import sys; sys.modules['sounddevice'] = None\n" + ASK + "ask(list_devices)"
    assert "pip install 'edge-audio[mic]'" in run_python(code)


def test_missing_portaudio_names_the_package_to_install() -> None:
    code = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        f"{ASK}ask(list_devices); ask(has_microphone)"
    )
    answers = run_python(code).splitlines()
    assert "apt install libportaudio2" in answers[0]
    assert answers[1] == "False"


def device(index: int, name: str, n_channels: int = 1) -> Device:
    return Device(index, name, "ALSA", n_channels, 48_000, is_default=False)


def test_an_exact_name_wins_over_a_partial_one_and_doubt_keeps_all() -> None:
    devices = [device(0, "USB Audio"), device(1, "USB Audio 2"), device(5, "pulse")]
    assert _matching(devices, "usb audio") == devices[:1]
    assert _matching(devices, "usb") == devices[:2]
    assert _matching(devices, "5") == devices[2:]
    assert _matching(devices, "2") == []


def test_formats_start_with_the_wanted_one_and_end_with_all_channels() -> None:
    assert _formats(device(0, "array", 8), 16_000) == [(16_000, 1), (48_000, 2), (48_000, 8)]
    assert _formats(device(0, "mono", 1), 48_000) == [(48_000, 1)]
