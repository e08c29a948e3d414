"""A model with stored negatives, and recordings of sounds that nobody taught it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.learning.bank import BANK_FILE, Bank, encode_bank
from edge_audio.learning.network import Network
from edge_audio.support.arrays import FloatArray

RATE_HZ = 16_000
N_NEGATIVES = 150
BACKEND = "native"  # which gives the embedding of every model


def bundle_with_negatives(folder: Path, model: str = "micro-int8") -> Bundle:
    """The shipped model, with a bank of noises and chords in place of its own."""
    bundle = load_bundle(model)
    files = bundle.contents()
    network = Network(bundle, BACKEND)
    rows, owners = [], []
    for seed in range(N_NEGATIVES):
        heard = network.hear(other_sound(seed))[1][[1, 2, 4, -1]]
        rows.append(heard)
        owners += [seed] * len(heard)
    bank = Bank(np.concatenate(rows), np.array(owners))
    files[BANK_FILE] = encode_bank(bank, network.fingerprint)
    return save_bundle(folder / "taught", bundle.manifest, files)


def other_sound(seed: int) -> FloatArray:
    """Noise of a colour, or a chord, of a second and a half."""
    rng = np.random.default_rng(seed)
    n = RATE_HZ * 3 // 2
    if seed % 2:
        shape = np.arange(1, n // 2 + 2) ** -rng.uniform(0, 1.5)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
        mixed = noise / np.abs(noise).max()
    else:
        pitches_hz = rng.uniform(150, 900, 3)
        mixed = np.sin(2 * np.pi * np.outer(pitches_hz, np.arange(n) / RATE_HZ)).mean(0)
    return np.asarray(0.3 * mixed, np.float32)


def beeps(seed: int = 0, n_times: int = 1, pitch_hz: float = 2_500.0) -> FloatArray:
    """Three short beeps, so many times, two seconds apart over faint noise."""
    rng = np.random.default_rng(seed)
    n = round((0.7 + 2.0 * n_times) * RATE_HZ)
    samples = 0.001 * rng.standard_normal(n)
    time = np.arange(round(0.12 * RATE_HZ)) / RATE_HZ
    tone = 0.3 * np.sign(np.sin(2 * np.pi * pitch_hz * rng.uniform(0.99, 1.01) * time))
    for k in range(n_times):
        for beep in range(3):
            start = round((0.7 + 2.0 * k + 0.25 * beep) * RATE_HZ)
            samples[start : start + len(tone)] += tone
    return samples.astype(np.float32)


def write_beeps(folder: Path, n_files: int = 3, name: str = "beeps", **how: float) -> list[Path]:
    """Recordings of them, one take each."""
    paths = [folder / f"{name}{seed}.wav" for seed in range(n_files)]
    for seed, path in enumerate(paths):
        soundfile.write(path, beeps(seed, **how), RATE_HZ)  # type: ignore[arg-type]
    return paths
