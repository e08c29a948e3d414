"""Log-mel front ends, as the libraries of published systems compute them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Window = Literal["hanning", "povey", "hamming"]

FLOAT32_EPSILON = 1.1920929e-07
"""The floor of kaldi's logarithm."""


def kaldi_scale(hz: Tensor) -> Tensor:
    """Kaldi's mel scale (and HTK's natural form)."""
    return 1127.0 * torch.log1p(hz / 700.0)


def htk_scale(hz: Tensor) -> Tensor:
    """HTK's mel scale as torchaudio has it."""
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def htk_inverse(mel: Tensor) -> Tensor:
    """Hertz of mels on `htk_scale`."""
    return 700.0 * (torch.pow(10.0, mel / 2595.0) - 1.0)


_SLANEY_HZ, _SLANEY_STEP = 200.0 / 3, math.log(6.4) / 27


def slaney_scale(hz: Tensor) -> Tensor:
    """Slaney's mel scale as librosa has it: linear to 1 kHz, logarithmic above."""
    above = 15.0 + (hz.clamp(min=1e-3) / 1000.0).log() / _SLANEY_STEP
    return torch.where(hz < 1000.0, hz / _SLANEY_HZ, above)


def slaney_inverse(mel: Tensor) -> Tensor:
    """Hertz of mels on `slaney_scale`."""
    above = 1000.0 * ((mel - 15.0) * _SLANEY_STEP).exp()
    return torch.where(mel < 15.0, mel * _SLANEY_HZ, above)


def kaldi_triangles(
    rate_hz: int, fft_size: int, n_mels: int, min_hz: float, max_hz: float
) -> Tensor:
    """[fft_size / 2 + 1, n_mels] triangles that are linear in mel; the Nyquist bin weighs 0."""
    bins = kaldi_scale(_bins_hz(rate_hz, fft_size))[:, None]
    edges = _spaced(kaldi_scale, min_hz, max_hz, n_mels)
    weights = _triangles(bins, edges)
    weights[-1] = 0.0
    return weights.float()


def hertz_triangles(
    rate_hz: int,
    fft_size: int,
    n_mels: int,
    min_hz: float,
    max_hz: float,
    slaney: bool = False,
) -> Tensor:
    """[fft_size / 2 + 1, n_mels] triangles that are linear in hertz between edges equally spaced
    in HTK's mels; `slaney`: in Slaney's, each of unit area, as librosa's."""
    scale: Callable[[Tensor], Tensor] = slaney_scale if slaney else htk_scale
    inverse: Callable[[Tensor], Tensor] = slaney_inverse if slaney else htk_inverse
    edges = inverse(_spaced(scale, min_hz, max_hz, n_mels))
    weights = _triangles(_bins_hz(rate_hz, fft_size)[:, None], edges)
    return (weights * (2.0 / (edges[2:] - edges[:-2])) if slaney else weights).float()


def _spaced(scale: Callable[[Tensor], Tensor], min_hz: float, max_hz: float, n_mels: int) -> Tensor:
    """Edges of n_mels triangles, equally wide on a scale. On the CPU: they are numbers, of which
    a network on the meta device is made as well."""
    ends = scale(torch.tensor([min_hz, max_hz], dtype=torch.float64, device="cpu"))
    return torch.linspace(ends[0], ends[1], n_mels + 2, dtype=torch.float64, device="cpu")


def _bins_hz(rate_hz: int, fft_size: int) -> Tensor:
    places = torch.arange(fft_size // 2 + 1, dtype=torch.float64, device="cpu")
    return places * (rate_hz / fft_size)


def _triangles(bins: Tensor, edges: Tensor) -> Tensor:
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0)


def _window(name: Window, n_samples: int) -> Tensor:
    """Symmetric."""
    hann = torch.hann_window(n_samples, periodic=False, dtype=torch.float64)
    shapes = {"hanning": hann, "povey": hann**0.85, "hamming": 0.08 + 0.92 * hann}
    return shapes[name].float()


class KaldiBank(nn.Module):
    """Kaldi's log filter bank: waveform [B, n] -> [B, T, n_mels], T = 1 + (n - window) // hop.

    Each frame of `window_samples` loses its mean, is pre-emphasised (0.97, the first sample
    against itself) and windowed; "povey" is Hann to the power of 0.85. mirrored: n / hop frames,
    rounded, about whole hops, the ends mirrored (`snip_edges` False).
    """

    window: Tensor
    triangles: Tensor

    def __init__(
        self,
        n_mels: int = 128,
        rate_hz: int = 16_000,
        min_hz: float = 20.0,
        max_hz: float = 8_000.0,
        window: Window = "hanning",
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        self.window_samples, self.hop_samples = rate_hz // 40, rate_hz // 100
        self.fft_size = 1 << (self.window_samples - 1).bit_length()
        self.mirrored = mirrored
        shape = _window(window, self.window_samples)
        self.register_buffer("window", shape, persistent=False)
        triangles = kaldi_triangles(rate_hz, self.fft_size, n_mels, min_hz, max_hz)
        self.register_buffer("triangles", triangles, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if self.mirrored:
            waveform = self._mirror(waveform)
        frames = waveform.unfold(1, self.window_samples, self.hop_samples)
        frames = frames - frames.mean(2, keepdim=True)
        frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], 2)
        spectrum = torch.fft.rfft(frames * self.window, self.fft_size)
        power = spectrum.real.square() + spectrum.imag.square()
        out: Tensor = (power @ self.triangles).clamp(min=FLOAT32_EPSILON).log()
        return out

    def _mirror(self, waveform: Tensor) -> Tensor:
        """So that frame t begins at t * hop + hop / 2 - window / 2."""
        n_samples, hop = waveform.shape[1], self.hop_samples
        n_frames = (n_samples + hop // 2) // hop
        before = (self.window_samples - hop) // 2
        after = (n_frames - 1) * hop + self.window_samples - before - n_samples
        ahead, behind = (
            waveform[:, :before].flip(1),
            waveform[:, n_samples - max(0, after) :].flip(1),
        )
        return torch.cat([ahead, waveform[:, : n_samples + min(0, after)], behind], 1)


class ClipBank(nn.Module):
    """The front end of AST (Gong et al. 2021) and all that followed it: the clip's mean is taken
    off, kaldi's filter bank with a Hann window, zeros behind it (or a cut) up to n_frames, and
    (x - mean) / (2 std): [B, n] -> [B, n_frames, n_mels]."""

    def __init__(
        self,
        n_frames: int,
        mean: float = -4.2677393,
        std: float = 4.5689974,
        rate_hz: int = 16_000,
        n_mels: int = 128,
    ) -> None:
        super().__init__()
        self.n_frames, self.mean, self.std = n_frames, mean, std
        self.bank = KaldiBank(n_mels, rate_hz, 20.0, rate_hz / 2)
        self.min_samples = self.bank.window_samples
        self.max_samples = self.min_samples + n_frames * self.bank.hop_samples - 1

    def forward(self, waveform: Tensor) -> Tensor:
        frames = self.bank(waveform - waveform.mean(1, keepdim=True))[:, : self.n_frames]
        missing = self.n_frames - frames.shape[1]
        normalised: Tensor = functional.pad(frames, (0, 0, 0, missing)) - self.mean
        return normalised / (2 * self.std)


def normalised_bands(frames: Tensor) -> Tensor:
    """[B, T, n_mels]: each band of each clip with zero mean and unit (unbiased) deviation."""
    return (frames - frames.mean(1, keepdim=True)) / (frames.std(1, keepdim=True) + 1e-10)


class StftBank(nn.Module):
    """Mel powers of a centred power spectrogram, ends reflected: waveform [B, n] ->
    [B, n_mels, 1 + n // hop]. triangles: [fft_size / 2 + 1, n_mels]."""

    window: Tensor
    triangles: Tensor

    def __init__(
        self,
        triangles: Tensor,
        fft_size: int,
        hop_samples: int,
        window_samples: int | None = None,
        periodic: bool = True,
    ) -> None:
        super().__init__()
        self.fft_size, self.hop_samples = fft_size, hop_samples
        window = torch.hann_window(window_samples or fft_size, periodic=periodic)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("triangles", triangles, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform,
            self.fft_size,
            self.hop_samples,
            len(self.window),
            self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.einsum("bft,fm->bmt", power, self.triangles)


class PasstBank(nn.Module):
    """The front end of PaSST and EfficientAT: [B, n] at 32 kHz -> normalised log-mel
    [B, 1, 128, T], one frame every 10 ms, centred."""

    rate_hz, hop_samples = 32_000, 320

    def __init__(self) -> None:
        super().__init__()
        triangles = kaldi_triangles(self.rate_hz, 1024, 128, 0.0, 15_000.0)
        self.bank = StftBank(triangles, 1024, self.hop_samples, 800, periodic=False)

    def forward(self, waveform: Tensor) -> Tensor:
        emphasised = waveform[:, 1:] - 0.97 * waveform[:, :-1]
        mels: Tensor = self.bank(emphasised)
        return ((mels + 1e-5).log() + 4.5)[:, None] / 5.0


def decibels(power: Tensor, top_db: float | None = None) -> Tensor:
    """10 log10 of [B, ...], at least 1e-10, and no more than top_db below the maximum of each
    row: a clip does not depend on its neighbours."""
    levels = 10.0 * power.clamp(min=1e-10).log10()
    if top_db is None:
        return levels
    floor = levels.amax(tuple(range(1, levels.ndim)), keepdim=True) - top_db
    return torch.maximum(levels, floor)
