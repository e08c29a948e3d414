"""What readers see of a stream while it sounds: spectrum, level, highest scores, events."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from edge_audio.bundle.spec import MAX_FFT_SIZE, FrontendSpec
from edge_audio.events.detector import Event
from edge_audio.features.frontend import Frontend
from edge_audio.page.hub import Hub, Message
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sinks.records import event_record
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import encodable, json_line

FRAME_S = 0.08  # at most one frame in so much time
COLUMN_S = 0.04
N_BANDS = 64
N_TOP = 8
_MAX_KEPT_S = 0.5  # of audio, where frames are rare
_QUIET, _LOUD = -1.6, 2.4  # of log-mel frames, see FrontendSpec.log_mean; as in wasm pages


class Spectrum:
    """Columns of a spectrogram as bytes; each belongs to its own audio, without overlap."""

    def __init__(self, sample_rate_hz: int) -> None:
        n_samples = min(MAX_FFT_SIZE, max(16, round(COLUMN_S * sample_rate_hz)))
        fft_size = 1 << (n_samples - 1).bit_length()
        spec = FrontendSpec(
            sample_rate_hz=sample_rate_hz,
            window_samples=n_samples,
            hop_samples=n_samples,
            fft_size=fft_size,
            n_mels=min(N_BANDS, fft_size // 2),
            max_hz=min(8_000.0, sample_rate_hz / 2),
        )
        self.n_bands, self.column_s = spec.n_mels, n_samples / sample_rate_hz
        self._frontend = Frontend(spec)

    def columns(self, samples: FloatArray) -> bytes:
        """f32[n] -> the columns that these complete, the oldest first, each n_bands bytes."""
        frames = self._frontend.push(samples)
        loudness = np.clip((frames - _QUIET) / (_LOUD - _QUIET), 0.0, 1.0)
        columns: bytes = (loudness * 255).astype(np.uint8).tobytes()
        return columns


class LiveSink(Sink):
    """Hands the latest audio and scores over while there are readers; what is made of them is made
    by the thread of the page."""

    def __init__(self, stream: Stream, hub: Hub, clock: Callable[[], float] = time.monotonic):
        self.stream, self._hub, self._clock = stream, hub, clock
        self._heard_s = clock()  # when audio, or scores of a device, came last
        self.notice = ""
        self._pieces: list[FloatArray] = []
        self._n_kept = 0
        self._due_s = 0.0
        self._spectrum: Spectrum | None = None
        self._top = TopLabels(stream.labels, N_TOP)

    @property
    def silent_s(self) -> float:
        """For how long nothing has come."""
        return self._clock() - self._heard_s

    def on_audio(self, block: Block) -> None:
        self._heard_s = self._clock()
        if not self._hub.has_readers:
            return
        self._pieces.append(block.samples)
        self._n_kept += len(block.samples)
        limit = _MAX_KEPT_S * self.stream.sample_rate_hz
        while self._n_kept > limit and len(self._pieces) > 1:
            self._n_kept -= len(self._pieces.pop(0))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._heard_s = now_s = self._clock()
        if not self._hub.has_readers or now_s < self._due_s - FRAME_S / 2:
            return
        self._due_s = max(self._due_s, now_s - FRAME_S) + FRAME_S
        pieces, self._pieces, self._n_kept = self._pieces, [], 0
        self._hub.hand(partial(self._tell_frame, time_s, scores.copy(), pieces))

    def on_event(self, event: Event) -> None:
        sounding = self.stream.sounding.get(event.label)
        if sounding is None or not self._hub.has_readers:
            return
        fields = event_record(self.stream, event)
        fields |= {"id": sounding.id, "unix_s": sounding.id / 1e6}
        fields["stream"] = encodable(self.stream.name)
        if event.kind == "end":
            fields["duration_s"] = round(event.time_s - sounding.start_s, 3)
        message = Message("event", json_line(fields).encode())
        self._hub.hand(partial(self._hub.tell, message))

    def on_notice(self, text: str) -> None:
        self.notice = text

    # By the thread of the page

    def _tell_frame(self, time_s: float, scores: FloatArray, pieces: Sequence[FloatArray]) -> None:
        if self._hub.has_readers:
            frame = msgspec.json.encode(self._frame(time_s, scores, pieces))
            self._hub.tell(Message("frame", frame))

    def _frame(
        self, time_s: float, scores: FloatArray, pieces: Sequence[FloatArray]
    ) -> dict[str, object]:
        fields: dict[str, object] = {
            "stream": encodable(self.stream.name),
            "time_s": round(time_s, 3),
            "level_dbfs": level_of(self.stream),
            "top": [[label, round(score, 3)] for label, score in self._top(scores)],
        }
        if self._spectrum is None:
            self._spectrum = Spectrum(self.stream.sample_rate_hz)
        columns = self._spectrum.columns(np.concatenate(pieces)) if pieces else b""
        fields["mel"] = base64.b64encode(columns).decode()
        fields |= {"n_bands": self._spectrum.n_bands, "column_s": self._spectrum.column_s}
        return fields


def level_of(stream: Stream) -> float | None:
    """In dBFS, of the latest audio; None of a device, whose level nobody knows."""
    return round(stream.stats.level_dbfs, 1) if stream.has_audio else None
