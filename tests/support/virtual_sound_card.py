"""A real sound server with a virtual room, so that microphones can be tested without one.

What is played into the PulseAudio null sink "speaker" is what PortAudio's default input hears,
by way of ALSA's pulse plugin. Nothing of the user's own sound set-up is read or changed. As
PortAudio looks for devices only once per process, listeners must be processes of their own,
started with `environment`.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

DEBIAN_PACKAGES = ("libportaudio2", "libasound2-plugins", "pulseaudio", "pulseaudio-utils")

_ASOUND_CONF = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse device "speaker.monitor" }
pcm.room { type pulse device "speaker.monitor" }
ctl.!default { type pulse }
"""


def missing_packages() -> list[str]:
    """Those of DEBIAN_PACKAGES that are not installed, by what they bring."""
    plugins = list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so"))
    present = {
        "libportaudio2": ctypes.util.find_library("portaudio"),
        "libasound2-plugins": plugins,
        "pulseaudio": shutil.which("pulseaudio"),
        "pulseaudio-utils": shutil.which("pacat") and shutil.which("pactl"),
    }
    return [name for name in DEBIAN_PACKAGES if not present[name]]


class VirtualSoundCard:
    """environment: variables under which subprocesses find this sound card and no other."""

    def __init__(self, folder: Path, rate_hz: int = 16_000, n_channels: int = 1) -> None:
        folder.mkdir(mode=0o700, parents=True)
        (folder / "asound.conf").write_text(_ASOUND_CONF)
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        self._players: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self.start(rate_hz, n_channels)

    def start(self, rate_hz: int = 16_000, n_channels: int = 1) -> None:
        """Starts the sound server; again, and of another rate, after `kill`."""
        folder = self._folder
        options = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
        modules = [
            f"module-native-protocol-unix socket={folder}/native",
            f"module-null-sink sink_name=speaker rate={rate_hz} channels={n_channels}",
        ]
        loads = [word for module in modules for word in ("-L", module)]
        with (folder / "pulseaudio.log").open("wb") as log:
            self._server = subprocess.Popen(
                ["pulseaudio", *options, *loads], env=self.environment, stdout=log, stderr=log
            )
        self._await_answer(self._server, folder / "pulseaudio.log")

    def _await_answer(self, server: subprocess.Popen[bytes], log: Path) -> None:
        for _ in range(100):
            info = subprocess.run(
                ["pactl", "info"], env=self.environment, capture_output=True, check=False
            )
            if info.returncode == 0:
                return
            if server.poll() is not None:
                break
            time.sleep(0.1)
        server.kill()
        raise RuntimeError(f"pulseaudio did not start:\n{log.read_text()}")

    def play(
        self, sound: Path | str | NDArray[np.float32], rate_hz: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Plays a file, or f32[n] or f32[n, n_channels] samples at rate_hz, into the room.

        Returns at once; `.wait()` on the player returns when all of it has been heard.
        """
        if isinstance(sound, (str, Path)):
            samples, rate_hz = soundfile.read(sound, dtype="float32")
        else:
            samples = sound
        frames = np.asarray(samples, np.float32).reshape(len(samples), -1)
        form = [f"--rate={rate_hz}", f"--channels={frames.shape[1]}", "--format=float32le"]
        player = subprocess.Popen(
            ["pacat", "--playback", "--raw", *form], env=self.environment, stdin=subprocess.PIPE
        )
        self._players.append(player)
        assert player.stdin is not None
        player.stdin.write(frames.tobytes())  # waits while pacat's buffers are full
        player.stdin.close()
        return player

    def kill(self) -> None:
        """The sound server dies: to a listener, its microphone has been unplugged."""
        self._server.kill()
        self._server.wait()

    def freeze(self) -> None:
        """The sound server stops answering but keeps its connections."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on after `freeze`."""
        self._server.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends whatever still runs."""
        self.kill()
        for player in self._players:
            player.kill()
            player.wait()
