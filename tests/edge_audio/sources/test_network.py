"""HTTP streams by way of a real ffmpeg and a real server."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.network import NetworkStream, without_password
from tests.support import toy

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
