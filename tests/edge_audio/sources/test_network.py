"""HTTP streams by way of a real ffmpeg and a real server."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import shutil
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources import reconnect
from edge_audio.sources.interleave import feed_blocks
from edge_audio.sources.network import NetworkStream, without_password
from edge_audio.sources.reconnect import Reconnecting
from tests.support import toy
from tests.support.command_line import error_line, run

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: apt install it")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server of tmp_path."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_stream_is_heard_as_it_was_sent(address: str, tmp_path: Path) -> None:
    samples = toy.noise(40_000)
    soundfile.write(tmp_path / "street.wav", samples, 16_000)
    with NetworkStream(f"{address}/street.wav") as source:
        blocks = list(source.blocks())
    heard = np.concatenate([block.samples for block in blocks])
    assert np.allclose(heard, soundfile.read(tmp_path / "street.wav", dtype="float32")[0])
    assert blocks[1].time_s == len(blocks[0].samples) / 16_000


def test_what_is_no_audio_is_an_error_with_the_reason(address: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("no audio")
    for name in ("page.html", "missing.wav"):
        with NetworkStream(f"{address}/{name}") as source, pytest.raises(SourceError) as caught:
            list(source.blocks())
        assert name in str(caught.value)


def test_a_playlist_reads_no_file_of_this_machine(address: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", toy.noise(16_000), 16_000)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", f"file://{tmp_path}/secret.wav"]
    (tmp_path / "list.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    with NetworkStream(f"{address}/list.m3u8") as source, pytest.raises(SourceError):
        list(source.blocks())


def test_passwords_are_not_shown() -> None:
    url = "rtsp://me:hunter2@camera.local:554/stream?token=hunter2"
    assert without_password(url) == "rtsp://camera.local:554/stream"
    assert "hunter2" not in NetworkStream(url).name


def test_other_schemes_are_refused() -> None:
    with pytest.raises(UsageError):
        NetworkStream("file:///etc/passwd")


@pytest.mark.parametrize("url", ["http://[::1", "rtsp://me:hunter2@[::1", "http://host:99999/x"])
def test_an_address_that_cannot_be_is_named_without_its_password(url: str, tmp_path: Path) -> None:
    shown = re.sub("me:hunter2@", "", url)
    with pytest.raises(UsageError, match=re.escape(shown)):
        NetworkStream(url)
    path = tmp_path / "home.toml"
    path.write_text(f"[[source]]\nurl = '{url}'\n")
    for options in (("--source", url), ("--config", path)):
        line = error_line(run("listen", *options, ok=False), 2)
        assert shown in line
        assert "hunter2" not in line


# ---- what a camera asks for, and who can read it ----

PASSWORD = "hunter2's"  # quoted in a list for ffmpeg
TOKEN = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
WAV_HEADER = bytes.fromhex("52494646ffffffff57415645666d74201000000001000100803e0000007d0000")
WAV_HEADER += bytes.fromhex("0200100064617461ffffffff")  # of 16 kHz mono, without an end


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends a little sound to those who know the password, and then no more until `is_over`."""

    is_over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Basic {TOKEN}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WAV_HEADER + toy.noise(160_000).tobytes())
        self.wfile.flush()
        self.is_over.wait(60.0)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class RtspCamera(socketserver.StreamRequestHandler):
    """The same by RTSP, with mu-law of 8 kHz in RTP over the same connection."""

    is_over: ClassVar[threading.Event]

    def handle(self) -> None:
        while request := self._request():
            method = request.split(" ", 1)[0]
            if method != "OPTIONS" and f"Authorization: Basic {TOKEN}" not in request:
                self._answer(request, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"')
            elif method == "DESCRIBE":
                sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
                sdp += "m=audio 0 RTP/AVP 0\r\na=control:track1\r\n"
                self._answer(request, "200 OK", "Content-Type: application/sdp", body=sdp)
            elif method == "SETUP":
                transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
                self._answer(request, "200 OK", transport, "Session: 1")
            elif method == "PLAY":
                self._answer(request, "200 OK", "Session: 1")
                self._send_sound()
                self.is_over.wait(60.0)
                return
            else:
                self._answer(request, "200 OK", "Public: DESCRIBE, SETUP, PLAY")

    def _request(self) -> str:
        lines = iter(self.rfile.readline, b"")
        head = []
        for line in lines:
            if line == b"\r\n":
                break
            head.append(line.decode())
        return "".join(head)

    def _answer(self, request: str, status: str, *headers: str, body: str = "") -> None:
        number = re.search(r"CSeq: (\d+)", request)
        assert number
        lines = [f"RTSP/1.0 {status}", f"CSeq: {number[1]}", *headers]
        lines += [f"Content-Length: {len(body)}"] * bool(body)
        self.wfile.write(("\r\n".join([*lines, "", ""]) + body).encode())

    def _send_sound(self) -> None:
        for i in range(200):
            packet = struct.pack(">BBHII", 0x80, 0, i, 160 * i, 1) + bytes([i % 256] * 160)
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """Address of a server, with user and password."""
    handler.is_over = threading.Event()  # type: ignore[attr-defined]
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme = "rtsp" if handler is RtspCamera else "http"
        yield f"{scheme}://me:{PASSWORD}@127.0.0.1:{server.server_address[1]}/live?token=secret"
        handler.is_over.set()  # type: ignore[attr-defined]
        server.shutdown()


def command_lines_of_children() -> list[str]:
    """What everybody who may run `ps` sees."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            stat = (folder / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize("handler", [Camera, RtspCamera])
def test_a_password_is_known_to_the_camera_and_to_nobody_else(
    handler: type[socketserver.BaseRequestHandler],
) -> None:
    with serving(handler) as url, NetworkStream(url) as source:
        block = next(iter(source.blocks()))  # so it was let in
        assert len(block.samples) > 0
        (line,) = [line for line in command_lines_of_children() if "ffmpeg" in line]
        for secret in (PASSWORD, "me:", "token", "secret", TOKEN):
            assert secret not in line


def test_a_wrong_password_is_not_told_either() -> None:
    with serving(Camera) as url:
        wrong = url.replace("me:", "you:")
        with NetworkStream(wrong) as source, pytest.raises(SourceError) as caught:
            list(source.blocks())
    assert "401" in str(caught.value)
    for secret in (PASSWORD, "secret", "you"):
        assert secret not in str(caught.value)


def test_a_stream_that_is_stopped_ends_at_once() -> None:
    with serving(Camera) as url, NetworkStream(url) as source:
        blocks = source.blocks()
        next(iter(blocks))
        threading.Timer(0.2, source.stop).start()
        list(blocks)  # its sender would go on for a minute


# ---- a sender that breaks off ----


class BreaksOff(http.server.BaseHTTPRequestHandler):
    """Sends burst_s of sound at once, then in real time up to length_s, and breaks off."""

    burst_s: ClassVar[float] = 0.0
    length_s: ClassVar[float] = 1.5
    is_over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WAV_HEADER + toy.noise(round(self.burst_s * 16_000)).tobytes())
        start_s = time.monotonic() - self.burst_s
        for i in range(round(self.burst_s / 0.05), round(self.length_s / 0.05)):
            self.wfile.write(toy.noise(800).tobytes())
            self.is_over.wait(max(0.0, start_s + (i + 1) * 0.05 - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_audio_time_keeps_to_the_clock_though_ffmpeg_holds_audio_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnect, "FIRST_WAIT_S", 0.3)
    monkeypatch.setattr(reconnect, "MAX_WAIT_S", 0.3)
    opened_s: list[float] = []
    begun_s: list[float] = []
    ahead_s: list[float] = []

    class Noted(NetworkStream):
        def __enter__(self) -> Any:
            opened = super().__enter__()
            opened_s.append(time.monotonic())
            return opened

    with serving(BreaksOff) as url:
        source = Reconnecting(lambda: Noted(url), lambda text: None)
        start_s = time.monotonic()
        with source:
            for block in source.blocks():
                heard_s = block.time_s + len(block.samples) / source.sample_rate_hz
                ahead_s.append(heard_s - (time.monotonic() - start_s))
                if len(begun_s) == source.n_restarts:
                    begun_s.append(block.time_s)
                if source.n_restarts == 4:
                    break
    assert max(ahead_s) < 0.5
    assert np.diff(begun_s[1:]) == pytest.approx(np.diff(opened_s[1:]), abs=0.1)


def test_a_burst_is_not_lost_for_want_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreaksOff, "burst_s", 12.0)
    monkeypatch.setattr(BreaksOff, "length_s", 12.0)
    with serving(BreaksOff) as url, NetworkStream(url) as source:
        rate_hz, burst_s = source.sample_rate_hz, source.max_burst_s
        feed = feed_blocks(source.blocks(), rate_hz, source.waits, source.stop, burst_s)
        feed.start(came := threading.Event())
        while not feed.has_ended:  # nobody takes anything
            came.wait(1.0)
            came.clear()
        blocks = list(iter(feed.take, None))
        feed.close()
    assert sum(len(block.samples) for block in blocks) == 12 * 16_000
    assert sum(block.n_lost_samples for block in blocks) == 0


# ---- an ffmpeg that does odd things ----


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in ffmpeg's place."""

    def install(code: str) -> None:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def test_the_last_lines_are_told_however_much_was_said_before(
    ffmpeg: Callable[[str], None],
) -> None:
    ffmpeg(
        "os.write(1, bytes(3200))\n"
        "for i in range(100_000): print(f'[aac @ 0x55] frame {i} is damaged', file=sys.stderr)\n"
        "print('[tcp @ 0x55] the camera was switched off', file=sys.stderr)\n"
        "sys.exit(1)"
    )
    with NetworkStream("http://camera.local/") as source, pytest.raises(SourceError) as caught:
        list(source.blocks())
    assert str(caught.value).endswith("frame 99999 is damaged; the camera was switched off")
    assert len(str(caught.value)) < 300


def test_an_ffmpeg_that_ends_at_once_is_an_error_of_its_words(
    ffmpeg: Callable[[str], None],
) -> None:
    ffmpeg("sys.exit('cannot load libfoo.so')")
    expected = pytest.raises(SourceError, match=r"cannot load libfoo\.so")
    with NetworkStream("http://camera.local/") as source, expected:
        list(source.blocks())


def test_an_ffmpeg_that_does_not_die_leaves_no_file_open(
    ffmpeg: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def hang(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        started.append(self)
        raise subprocess.TimeoutExpired("ffmpeg", timeout or 0.0)

    ffmpeg("time.sleep(60)")
    before = len(os.listdir("/proc/self/fd"))
    with NetworkStream("http://camera.local/") as source, monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "wait", hang)
        source.__exit__(None, None, None)
    started[0].wait()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_ffmpeg_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt install ffmpeg"), NetworkStream("http://x/"):
        pass
