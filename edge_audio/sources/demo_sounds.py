"""Sounds made by the physics of what they are named after; no recording is used.

The models hear them in the demo scene alone: nothing is trained on them, and training's own
synthetic clips are made elsewhere (`distill.mixing.synthetic`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_audio.support.arrays import FloatArray

Synthesis = Callable[[np.random.Generator, int, int], FloatArray]
"""(random generator, n_samples, rate_hz) -> f32[n_samples] within [-1, 1]."""


def _seconds(n_samples: int, rate_hz: int) -> FloatArray:
    return (np.arange(n_samples) / rate_hz).astype(np.float32)


def _noise(
    rng: np.random.Generator, n_samples: int, rate_hz: int, low_hz: float, tilt: float
) -> FloatArray:
    """Noise of unit power without anything below low_hz; amplitude falls as 1 / f ** tilt."""
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1.0 / rate_hz), 1.0)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    noise = np.fft.irfft(spectrum * (hz >= low_hz) / hz**tilt, n_samples)
    sound: FloatArray = (noise / noise.std()).astype(np.float32)
    return sound


def _tone(phase_cycles: FloatArray, hz: FloatArray, rate_hz: int, tilt: float) -> FloatArray:
    """Harmonics k of amplitude 1 / k ** tilt (tilt 1: a sawtooth), none beyond half the rate."""
    top_hz = 0.45 * rate_hz
    harmonics = range(1, max(1, int(top_hz / hz.min())) + 1)
    tone = sum(
        np.sin(2 * np.pi * k * phase_cycles) * (k * hz <= top_hz) / k**tilt for k in harmonics
    )
    return np.asarray(tone, np.float32)


Partials = list[tuple[float, float, float]]
"""(hz, amplitude, decay_s) of each mode of a thing that rings when it is hit."""


def _struck(hits: FloatArray, partials: Partials, rate_hz: int) -> FloatArray:
    """f32[n]: what rings when it is hit at each sample of `hits` f32[n] that is not zero."""
    n_samples = len(hits)
    t_s = _seconds(n_samples, rate_hz)
    response = sum(
        amplitude * np.exp(-t_s / decay_s) * np.sin(2 * np.pi * hz * t_s)
        for hz, amplitude, decay_s in partials
    )
    spectrum = np.fft.rfft(hits, 2 * n_samples) * np.fft.rfft(response, 2 * n_samples)
    return np.fft.irfft(spectrum, 2 * n_samples)[:n_samples].astype(np.float32)


def _hits(at_s: NDArray[np.float64], n_samples: int, rate_hz: int) -> FloatArray:
    """f32[n_samples]: 1 at each of these times, 0 elsewhere."""
    hits = np.zeros(n_samples, np.float32)
    hits[(at_s * rate_hz).astype(int)] = 1.0
    return hits


def quiet_room(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Pink noise at -60 dB and a trace of mains hum."""
    hum = np.sin(2 * np.pi * 100.0 * _seconds(n_samples, rate_hz)).astype(np.float32)
    noise = _noise(rng, n_samples, rate_hz, 30.0, tilt=0.5)
    sound: FloatArray = np.float32(1e-3) * noise + np.float32(2e-4) * hum
    return sound


def surf(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A wave every five seconds: a rumble that swells, and breaks into a brighter hiss."""
    wave = (_seconds(n_samples, rate_hz) % 5.0) / 5.0
    swell = 0.2 + np.sin(np.pi * wave) ** 2
    breaking = np.where(wave < 0.5, (2 * wave) ** 4, np.exp(-(wave - 0.5) * 6.0))
    rumble = _noise(rng, n_samples, rate_hz, 40.0, tilt=1.0)
    hiss = _noise(rng, n_samples, rate_hz, 300.0, tilt=0.5)
    sound: FloatArray = (0.07 * swell * rumble + 0.12 * breaking * hiss).astype(np.float32)
    return sound


Resonance = tuple[float, float, float]
"""(hz, bandwidth_hz, gain) of a formant."""


def _formants(samples: FloatArray, peaks: Sequence[Resonance], rate_hz: int) -> FloatArray:
    """The samples through resonances beside each other."""
    hz = np.fft.rfftfreq(len(samples), 1.0 / rate_hz)
    gain = sum(g / (1.0 + ((hz - centre) / (width / 2.0)) ** 2) for centre, width, g in peaks)
    return np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)).astype(np.float32)


def _in_place(
    rng: np.random.Generator, dry: FloatArray, decay_s: float, wet: float, rate_hz: int
) -> FloatArray:
    """The sound with its reverberation, `wet` times as strong: noise that falls by 60 dB in
    decay_s, from 12 ms on."""
    n_tail = round(decay_s * rate_hz)
    t_s = _seconds(n_tail, rate_hz)
    tail = rng.standard_normal(n_tail) * np.exp(-6.9 * t_s / decay_s) * (t_s > 0.012)
    n_fft = 1 << (len(dry) + n_tail).bit_length()
    spectrum = np.fft.rfft(dry, n_fft) * np.fft.rfft(tail / np.sqrt(np.sum(tail**2)), n_fft)
    echo = np.fft.irfft(spectrum, n_fft)[: len(dry)].astype(np.float32)
    sound: FloatArray = dry + np.float32(wet) * echo
    return sound


def _at_peak(samples: FloatArray, peak: float) -> FloatArray:
    """Scaled so that the largest is `peak`."""
    scaled: FloatArray = (samples * (peak / np.abs(samples).max())).astype(np.float32)
    return scaled


def _add(sound: FloatArray, samples: FloatArray, at_s: float, rate_hz: int) -> None:
    """Adds samples to a sound, as far as it goes."""
    start = int(at_s * rate_hz)
    place = sound[start : start + len(samples)]
    place += samples[: len(place)]


def smoke_alarm(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A 3.1 kHz piezo horn in a hall, in the temporal-three pattern of ISO 8201: three times half a
    second on and half a second off, then another second and a half off."""
    t_s = _seconds(n_samples, rate_hz)
    in_cycle_s = t_s % 4.0
    in_pulse_s = in_cycle_s % 1.0
    envelope = np.clip(np.minimum(in_pulse_s, 0.5 - in_pulse_s) / 0.005, 0.0, 1.0)
    envelope = envelope * (in_cycle_s < 3.0)
    hz = np.full(n_samples, 3100.0, np.float32)
    horn = (0.4 * envelope * _tone(3100.0 * t_s, hz, rate_hz, tilt=1.5)).astype(np.float32)
    sound: FloatArray = quiet_room(rng, n_samples, rate_hz)
    return sound + _in_place(rng, horn, 0.25, 0.2, rate_hz)


def siren(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """An electronic wail between houses: a horn swept from 600 to 1350 Hz and back every four
    seconds, evenly by pitch, over the rumble of a street."""
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * _seconds(n_samples, rate_hz) / 4.0)
    hz = (600.0 * (1350.0 / 600.0) ** swing).astype(np.float32)
    phase = np.cumsum(hz, dtype=np.float64) / rate_hz
    tone = _tone(phase.astype(np.float32), hz, rate_hz, tilt=1.0)
    horn = _formants(tone, [(1000.0, 1200.0, 1.0), (2200.0, 1200.0, 0.6)], rate_hz)
    street = 0.02 * _noise(rng, n_samples, rate_hz, 40.0, tilt=0.8)
    sound: FloatArray = street + _at_peak(_in_place(rng, horn, 0.8, 0.25, rate_hz), 0.35)
    return sound.astype(np.float32)


def brook(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Water over stones: ten bubbles a second at each of six pitches, which ring for some
    milliseconds (Minnaert 1933, On musical air-bubbles), over the hiss of smaller ones."""
    sound = 0.02 * _noise(rng, n_samples, rate_hz, 200.0, tilt=0.5)
    n_bubbles = 10 * n_samples // rate_hz
    for hz in np.geomspace(700.0, 3500.0, 6):
        hits = np.zeros(n_samples, np.float32)
        hits[rng.integers(0, n_samples, n_bubbles)] = rng.exponential(0.05, n_bubbles)
        sound += _formants(_struck(hits, [(hz, 1.0, 0.004)], rate_hz), [(hz, 2 * hz, 1.0)], rate_hz)
    sound += 0.006 * _noise(rng, n_samples, rate_hz, 600.0, tilt=0.1)
    return np.asarray(0.05 * sound / sound.std(), np.float32)


def clock(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A small clock on a shelf: two beats a second, each three knocks of the escapement within 30
    ms; tick and tock differ in pitch."""
    ticking = np.zeros(n_samples, np.float32)
    modes = [(2300.0, 0.3, 0.002), (3900.0, 0.6, 0.0012), (6100.0, 0.6, 0.0008)]
    for first_s, pitch in ((0.1, 1.0), (0.6, 0.9)):
        beats_s = np.arange(first_s, n_samples / rate_hz - 0.1, 1.0)
        knocks = ((0.0, 1.0), (0.013, 0.5), (0.03, 0.3))
        hits = sum(gain * _hits(beats_s + late_s, n_samples, rate_hz) for late_s, gain in knocks)
        tuned = [(hz * pitch, gain, decay_s) for hz, gain, decay_s in modes if hz < 0.45 * rate_hz]
        ticking += _struck(np.asarray(hits, np.float32), tuned, rate_hz)
    shelf = _at_peak(_in_place(rng, ticking, 0.3, 0.05, rate_hz), 0.1)
    return quiet_room(rng, n_samples, rate_hz) + shelf


def dog(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Barks in a yard, two at a time."""
    barking, at_s, n_barks = np.zeros(n_samples, np.float32), 0.2, 0
    while at_s < n_samples / rate_hz - 0.3:
        n_bark = round(rng.uniform(0.135, 0.17) * rate_hz)
        _add(barking, _bark(rng, n_bark, rate_hz), at_s, rate_hz)
        n_barks += 1
        at_s += rng.uniform(0.3, 0.4) + (0.0 if n_barks % 2 else rng.uniform(0.42, 0.9))
    yard = _at_peak(_in_place(rng, barking, 0.4, 0.35, rate_hz), 0.5)
    return quiet_room(rng, n_samples, rate_hz) + yard


def _bark(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A voice whose pitch rises to some 700 Hz within the first third and falls by half (measured
    on barks), with breath, through a mouth that is closed, opens to formants around 850 and 1500
    Hz, and closes; hardly anything of it is above 3 kHz."""
    progress = np.linspace(0.0, 1.0, n_samples, dtype=np.float32)
    rise = 0.8 + 0.2 * np.sin(0.5 * np.pi * np.minimum(progress / 0.35, 1.0))
    fall = 0.45 * np.maximum(progress / 0.65 - 0.35 / 0.65, 0.0) ** 1.3
    jitter = 1.0 + 0.03 * _noise(rng, n_samples, rate_hz, 30.0, tilt=0.3)
    hz = np.maximum(rng.uniform(650.0, 740.0) * (rise - fall) * jitter, 80.0).astype(np.float32)
    phase = np.cumsum(hz, dtype=np.float64) / rate_hz
    voice = _tone(phase.astype(np.float32), hz, rate_hz, tilt=1.0)
    rough = voice * (1.0 + 0.15 * np.sin(np.pi * phase))
    breath = 0.35 * _noise(rng, n_samples, rate_hz, 400.0, tilt=0.3)
    mouth = [(850.0, 500.0, 1.0), (1500.0, 700.0, 0.7), (2600.0, 900.0, 0.15)]
    voiced = _formants((rough + breath).astype(np.float32), mouth, rate_hz)
    above = (np.fft.rfftfreq(n_samples, 1.0 / rate_hz) / 2600.0) ** 6
    muffled = np.fft.irfft(np.fft.rfft(voiced) / np.sqrt(1.0 + above), n_samples)
    opening = np.minimum(progress / 0.3, 1.0) ** 1.5
    closing = np.minimum((1.0 - progress) / 0.45, 1.0) ** 1.3
    return np.asarray(opening * closing * muffled, np.float32)


Note = tuple[float, float, float, float]
"""(hz at its start, hz at its end, duration_s, pause_s) of a whistled note."""


def birds(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Phrases of a songbird among trees: chirps that fall, whistles that rise and fall, or a trill,
    around 3 to 4 kHz."""
    singing, at_s = np.zeros(n_samples, np.float32), 0.2
    while at_s < n_samples / rate_hz - 0.8:
        for from_hz, to_hz, duration_s, pause_s in _phrase(rng):
            n_note = round(duration_s * rate_hz)
            _add(singing, _whistle(rng, from_hz, to_hz, n_note, rate_hz), at_s, rate_hz)
            at_s += duration_s + pause_s
        at_s += rng.uniform(0.35, 0.8)
    trees = _at_peak(_in_place(rng, singing, 0.5, 0.25, rate_hz), 0.25)
    return quiet_room(rng, n_samples, rate_hz) + trees


def _phrase(rng: np.random.Generator) -> list[Note]:
    hz = rng.uniform(3000.0, 4200.0)
    chirps: list[Note] = [(1.35 * hz, 0.95 * hz, 0.07, 0.06)] * int(rng.integers(4, 8))
    whistles: list[Note] = [(hz, 1.3 * hz, 0.12, 0.05), (1.3 * hz, 0.8 * hz, 0.16, 0.1)] * 2
    trill: list[Note] = [(0.9 * hz, 1.2 * hz, 0.045, 0.03)] * int(rng.integers(8, 14))
    return (chirps, whistles, trill)[int(rng.integers(3))]


def _whistle(
    rng: np.random.Generator, from_hz: float, to_hz: float, n_samples: int, rate_hz: int
) -> FloatArray:
    """A nearly pure tone that swells and fades; real ones tremble by up to 150 Hz."""
    progress, t_s = np.linspace(0.0, 1.0, n_samples), _seconds(n_samples, rate_hz)
    hz = rng.uniform(0.98, 1.02) * from_hz * (1.0 - progress) + to_hz * progress
    hz += rng.uniform(0.0, 150.0) * np.sin(2 * np.pi * 30.0 * t_s)
    cycles = np.cumsum(hz) / rate_hz
    overtone = 0.08 * np.sin(4 * np.pi * cycles) * (2.0 * hz < 0.45 * rate_hz)
    tone = np.sin(2 * np.pi * cycles) * (hz < 0.45 * rate_hz) + overtone
    return np.asarray(tone * np.sin(np.pi * progress) ** 0.7, np.float32)


def doorbell(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Ding-dong in a hallway: two struck metal bars (G5, E flat 5) with an octave and a bar's
    overtones at 2.76, 5.40 and 8.93."""
    chime = np.zeros(n_samples, np.float32)
    for at_s, hz in ((0.3, 784.0), (0.85, 622.3)):
        bar = [(hz, 0.5, 0.7), (2.0 * hz, 0.12, 0.35), (2.76 * hz, 0.2, 0.175)]
        bar += [(5.40 * hz, 0.1, 0.08), (8.93 * hz, 0.05, 0.03)]
        heard = [partial for partial in bar if partial[0] < 0.45 * rate_hz]
        chime += _struck(_hits(np.array([at_s]), n_samples, rate_hz), heard, rate_hz)
    hallway = _at_peak(_in_place(rng, chime, 0.35, 0.2, rate_hz), 0.35)
    return quiet_room(rng, n_samples, rate_hz) + hallway


def telephone(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A bell telephone: a clapper between two gongs, 20 strikes on each per second, two seconds
    on and one off, in a room."""
    ringing = quiet_room(rng, n_samples, rate_hz)
    strikes_s = np.arange(0.0, n_samples / rate_hz, 1.0 / 40.0)
    strikes_s = strikes_s[strikes_s % 3.0 < 2.0]
    for gong, tones_hz in enumerate(((1050.0, 2240.0, 3650.0), (1310.0, 2790.0, 4470.0))):
        hits = _hits(strikes_s[gong::2], n_samples, rate_hz)
        ringing += _struck(hits, [(hz, 0.05, 0.1) for hz in tones_hz], rate_hz)
    return _in_place(rng, ringing, 0.25, 0.3, rate_hz)
