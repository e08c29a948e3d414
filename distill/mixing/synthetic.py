"""Sounds that few recordings have and that can be synthesised honestly: alarms, sirens, telephones,
whistles, engines. Every variant of a kind is drawn anew: pitch, rhythm, timbre, level, room.

They are made of what such devices do (patterns of ISO 8201, gongs that decay, combs of firing
pulses), for training alone; the demo scene is made elsewhere, so that nothing is trained on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from distill.mixing.mixtures import coloured_noise, reverberate
from edge_audio.support.arrays import FloatArray

Rng = np.random.Generator
Wave = NDArray[np.float64]

RATE_HZ = 16_000
_MAX_HZ = 7_600.0  # partials above are left out: they would fold back


class Kind(NamedTuple):
    """labels: what a sound of this kind is. make: one variant as a wave of any level."""

    labels: tuple[str, ...]
    make: Callable[[Rng], Wave]


def synthesise(name: str, seed: int, index: int) -> FloatArray:
    """Variant `index` of the kind `name`, f32[n] within [-1, 1] at RATE_HZ, of 3 to 9 seconds.
    It follows from the arguments alone."""
    rng = np.random.default_rng((seed, index, *name.encode()))
    wave = KINDS[name].make(rng)
    heard = _through_a_speaker(rng, wave / max(float(np.abs(wave).max()), 1e-9))
    if rng.random() < 0.7:
        heard = reverberate(rng, heard, rng.uniform(0.1, 0.6), RATE_HZ)
    heard *= 10.0 ** (rng.uniform(-18.0, -3.0) / 20.0) / max(float(np.abs(heard).max()), 1e-9)
    noise = coloured_noise(rng, len(heard), rng.uniform(-75.0, -50.0))
    return np.asarray(np.clip(heard + noise, -1.0, 1.0), np.float32)


def _through_a_speaker(rng: Rng, wave: Wave) -> FloatArray:
    """Distorted a little, and without its lowest and highest parts."""
    drive = rng.uniform(0.3, 2.0)
    band_hz = rng.uniform(60.0, 250.0), rng.uniform(5_000.0, 7_800.0)
    sections = butter(2, band_hz, "bandpass", fs=RATE_HZ, output="sos")
    return np.asarray(sosfilt(sections, np.tanh(drive * wave) / np.tanh(drive)), np.float32)


def _time_s(duration_s: float) -> Wave:
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def _phase(hz: Wave) -> Wave:
    """Cycles so far of a pitch that may change with every sample."""
    cycles: Wave = np.cumsum(hz) / RATE_HZ
    return cycles


def _partials(hz: Wave, levels: Sequence[float], ratios: Sequence[float] | None = None) -> Wave:
    """A sum of sines at multiples of a pitch, 1, 2, 3 ... unless `ratios` says otherwise."""
    wave, cycles = np.zeros(len(hz)), _phase(hz)
    for index, level in enumerate(levels):
        ratio = ratios[index] if ratios is not None else index + 1.0
        wave += level * np.sin(2.0 * np.pi * ratio * cycles) * (ratio * hz < _MAX_HZ)
    return wave


def _falling(rng: Rng, n: int, steepness: float) -> list[float]:
    """Levels of n partials that fall as 1 / k ** steepness, each by up to 6 dB off."""
    return [k**-steepness * 10.0 ** (rng.uniform(-6.0, 6.0) / 20.0) for k in range(1, n + 1)]


def _gate(time_s: Wave, on_s: Sequence[tuple[float, float]], ramp_s: float = 0.005) -> Wave:
    """1 from start to stop of each stretch, with ramps that make no clicks."""
    gate = np.zeros(len(time_s))
    for start, stop in on_s:
        rise, fall = (time_s - start) / ramp_s, (stop - time_s) / ramp_s
        gate = np.maximum(gate, np.clip(np.minimum(rise, fall), 0.0, 1.0))
    return gate


def _pulses(total_s: float, period_s: float, offsets_s: Sequence[float], on_s: float) -> Wave:
    """Gate of a pattern that repeats: pulses of on_s at offsets_s from the start of each period."""
    starts = np.arange(0.0, total_s, period_s)
    return _gate(
        _time_s(total_s), [(start + x, start + x + on_s) for start in starts for x in offsets_s]
    )


def _steady(total_s: float, hz: float) -> Wave:
    return np.full(len(_time_s(total_s)), hz)


def _sounder(rng: Rng, hz: Wave) -> Wave:
    """A piezo disc or small horn: a square wave through its resonance, few partials."""
    return _partials(hz, [1.0, rng.uniform(0.0, 0.2), rng.uniform(0.05, 0.4), 0.0, 0.1])


def _smoke_alarm(rng: Rng) -> Wave:
    """Temporal three of ISO 8201: three pulses of half a second, then a pause."""
    pulse_s = rng.uniform(0.45, 0.55)
    hz = rng.uniform(2_800.0, 3_500.0) if rng.random() < 0.8 else rng.uniform(500.0, 540.0)
    gate = _pulses(7.0, 8 * pulse_s, [0.1, 0.1 + 2 * pulse_s, 0.1 + 4 * pulse_s], pulse_s)
    return gate * _sounder(rng, _steady(7.0, hz))


def _carbon_monoxide_alarm(rng: Rng) -> Wave:
    """Temporal four: four short pulses, then a pause of seconds."""
    pulse_s, pause_s = rng.uniform(0.09, 0.13), rng.uniform(1.5, 5.0)
    offsets_s = [0.1 + 2 * pulse_s * k for k in range(4)]
    gate = _pulses(6.0, 8 * pulse_s + pause_s, offsets_s, pulse_s)
    return gate * _sounder(rng, _steady(6.0, rng.uniform(2_800.0, 3_500.0)))


def _burglar_alarm(rng: Rng) -> Wave:
    """A horn that changes between two tones, or sweeps between them, some times a second."""
    time_s, rate_hz = _time_s(6.0), rng.uniform(1.5, 6.0)
    low_hz = rng.uniform(700.0, 2_200.0)
    sweep = (time_s * rate_hz) % 1.0
    step = sweep if rng.random() < 0.5 else np.round(sweep)
    return _partials(low_hz * (1.0 + step * rng.uniform(0.15, 0.5)), _falling(rng, 5, 0.8))


def _siren(rng: Rng, rate_hz: float, shape: Callable[[Wave], Wave]) -> Wave:
    """shape: cycles f64[n] -> height in the sweep, 0 to 1."""
    time_s, low_hz = _time_s(8.0), rng.uniform(450.0, 750.0)
    height = shape(time_s * rate_hz + rng.uniform(0.0, 1.0))
    hz = low_hz * rng.uniform(2.0, 2.8) ** height
    return _partials(hz, _falling(rng, 9, rng.uniform(0.6, 1.2)))


def _wave_up_and_down(cycles: Wave) -> Wave:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * cycles)


def _wail(rng: Rng) -> Wave:
    return _siren(rng, rng.uniform(0.15, 0.35), _wave_up_and_down)


def _yelp(rng: Rng) -> Wave:
    return _siren(rng, rng.uniform(2.5, 4.5), lambda cycles: 1.0 - cycles % 1.0)


def _two_tone(rng: Rng) -> Wave:
    """Two tones a third to a fourth apart, each for half a second or so (hi-lo)."""
    time_s, low_hz = _time_s(8.0), rng.uniform(380.0, 700.0)
    is_high = np.floor(time_s * rng.uniform(1.2, 2.4)) % 2
    hz = low_hz * rng.uniform(1.2, 1.36) ** is_high
    return _partials(hz, _falling(rng, 10, rng.uniform(0.5, 1.0)))


def _air_raid(rng: Rng) -> Wave:
    """A rotor with two rows of holes that winds up, holds and runs down: two pitches, slow."""
    time_s = _time_s(9.0)
    height = np.interp(time_s, [0.0, rng.uniform(2.0, 4.0), 6.0, 9.0], [0.05, 0.95, 1.0, 0.2])
    hz = rng.uniform(380.0, 500.0) * height
    second = rng.choice([1.2, 1.25, 4.0 / 3.0])
    levels = _falling(rng, 8, 0.7)
    return _partials(hz, levels) + rng.uniform(0.3, 0.9) * _partials(hz * second, levels)


def _strikes(rng: Rng, times_s: Wave, partials_hz: Sequence[float], decay_s: float) -> Wave:
    """A struck metal body, hit at times_s of a sound of 6 seconds: partials that decay, the higher
    the sooner, and a click."""
    n = round(3.0 * decay_s * RATE_HZ)
    time_s = np.arange(n) / RATE_HZ
    hit = np.zeros(n)
    for k, hz in enumerate(partials_hz):
        decay = np.exp(-time_s * (1.0 + 0.6 * k) / decay_s)
        phase = rng.uniform(0.0, 2.0 * np.pi)
        hit += decay * np.sin(2.0 * np.pi * hz * time_s + phase) / (1.0 + 0.5 * k)
    hit += 0.15 * rng.standard_normal(n) * np.exp(-time_s / 0.001)
    wave = np.zeros(round(6.0 * RATE_HZ))
    for start in (times_s * RATE_HZ).astype(int):
        room = wave[start : start + n]
        room += rng.uniform(0.7, 1.0) * hit[: len(room)]
    return wave


def _sum(waves: Iterable[Wave]) -> Wave:
    return np.asarray(np.sum(list(waves), axis=0), float)


def _gong_hz(rng: Rng, low_hz: float) -> list[float]:
    """Partials of a small bell: not harmonic."""
    ratios = np.array([1.0, 2.0, 2.76, 4.07, 5.4]) * rng.uniform(0.97, 1.03, 5)
    return [float(hz) for hz in low_hz * ratios if hz < _MAX_HZ]


def _bell_ringer(rng: Rng) -> Wave:
    """A clapper between two gongs, some twenty strikes a second, in bursts."""
    strikes_s = np.arange(0.05, 5.9, 1.0 / rng.uniform(16.0, 26.0))
    ring_s, pause_s = rng.uniform(0.4, 2.0), rng.uniform(0.3, 2.0)
    strikes_s = strikes_s[strikes_s % (ring_s + pause_s) < ring_s]
    low_hz = rng.uniform(800.0, 1_500.0)
    gongs = (_gong_hz(rng, low_hz), _gong_hz(rng, low_hz * rng.uniform(1.1, 1.3)))
    decay_s = rng.uniform(0.4, 1.0)
    return _sum(_strikes(rng, strikes_s[k::2], gong, decay_s) for k, gong in enumerate(gongs))


def _electronic_ring(rng: Rng) -> Wave:
    """Two tones that warble some times a second, in bursts."""
    time_s, low_hz = _time_s(6.0), rng.uniform(500.0, 1_600.0)
    is_high = np.floor(time_s * rng.uniform(14.0, 34.0)) % 2
    tone = _partials(low_hz * rng.uniform(1.15, 1.4) ** is_high, _falling(rng, 4, 1.0))
    on_s = rng.uniform(0.4, 1.6)
    return tone * _pulses(6.0, on_s + rng.uniform(0.4, 2.0), [0.05], on_s)


def _kettle(rng: Rng) -> Wave:
    """Steam that begins to whistle: noise, then a tone that climbs and wavers."""
    time_s, start_s = _time_s(8.0), rng.uniform(0.5, 3.0)
    blown = np.clip((time_s - start_s) / rng.uniform(1.0, 3.0), 0.0, 1.0)
    waver = 1.0 + 0.01 * np.sin(2 * np.pi * np.cumsum(rng.uniform(3, 8, len(time_s))) / RATE_HZ)
    hz = rng.uniform(1_400.0, 3_000.0) * (0.75 + 0.25 * blown) * waver
    tone = blown * _partials(hz, [1.0, rng.uniform(0.05, 0.4), 0.05])
    steam = sosfilt(butter(2, 1_500.0, "highpass", fs=RATE_HZ, output="sos"), _noise(rng, 8.0))
    return np.asarray(tone + rng.uniform(0.1, 0.4) * (0.3 + 0.7 * blown) * steam, float)


def _noise(rng: Rng, duration_s: float) -> Wave:
    return rng.standard_normal(round(duration_s * RATE_HZ))


def _engine(rng: Rng, speed: Wave, n_cylinders: int) -> Wave:
    """A comb of firing pulses. speed: revolutions per second f64[n]; a four-stroke cylinder fires
    every second revolution, each a little stronger or weaker than the next and never quite on
    time, which gives the orders between the multiples of the firing rate."""
    jitter = np.interp(
        np.arange(len(speed)),
        np.arange(0, len(speed), 400),
        rng.normal(0, 0.012, -(-len(speed) // 400)),
    )
    fired = _phase(speed * n_cylinders / 2.0 * (1.0 + jitter))
    number = np.floor(fired).astype(int)
    strength = rng.uniform(0.6, 1.0, n_cylinders)[number % n_cylinders]
    strength = strength * rng.normal(1.0, 0.1, number.max() + 1)[number]
    pulse = strength * np.exp(-(fired % 1.0) * rng.uniform(5.0, 14.0))
    exhaust_hz = rng.uniform(60.0, 140.0), rng.uniform(700.0, 2_500.0)
    sections = butter(1, exhaust_hz, "bandpass", fs=RATE_HZ, output="sos")
    rough = 1.0 + rng.uniform(0.2, 0.8) * rng.standard_normal(len(pulse))
    body: Wave = sosfilt(sections, (pulse - pulse.mean()) * rough)
    return body


def _idling(rng: Rng) -> Wave:
    return _engine(rng, _steady(8.0, rng.uniform(10.0, 16.0)), int(rng.choice([1, 2, 4, 6])))


def _cruising(rng: Rng) -> Wave:
    return _engine(rng, _steady(8.0, rng.uniform(25.0, 60.0)), int(rng.choice([3, 4, 6])))


def _revving(rng: Rng) -> Wave:
    """Up and down some times, quickly up and slowly down."""
    time_s = _time_s(8.0)
    starts_s = np.arange(rng.uniform(0.2, 1.0), 7.0, rng.uniform(1.2, 3.0))
    points = [(s + x, y) for s in starts_s for x, y in ((0.0, 0.0), (0.35, 1.0), (1.1, 0.1))]
    height = np.interp(time_s, *zip(*points, strict=True))
    idle = rng.uniform(13.0, 20.0)
    return _engine(rng, idle * rng.uniform(2.5, 5.0) ** height, int(rng.choice([1, 2, 4])))


def _ding_dong(rng: Rng) -> Wave:
    """Two bars, the second a third lower, each struck once, maybe again later."""
    high_hz, apart_s = rng.uniform(550.0, 900.0), rng.uniform(0.4, 0.9)
    low_hz = high_hz / rng.choice([1.2, 1.25, 1.26, 4.0 / 3.0])
    starts_s = np.array([0.1] if rng.random() < 0.5 else [0.1, rng.uniform(2.5, 3.5)])
    ratios = (1.0, 2.0 + rng.uniform(0.0, 0.76), 3.0 + rng.uniform(0.0, 2.4))
    decay_s = rng.uniform(0.4, 0.9)
    bars = ((high_hz, starts_s), (low_hz, starts_s + apart_s))
    return _sum(_strikes(rng, at, [hz * r for r in ratios], decay_s) for hz, at in bars)


def _buzzer(rng: Rng) -> Wave:
    """A vibrating armature at twice the mains frequency: a square wave full of partials."""
    hz = rng.choice([50.0, 60.0]) * rng.choice([1.0, 2.0]) * rng.uniform(0.99, 1.01)
    on_s = rng.uniform(0.3, 1.5)
    gate = _pulses(4.0, on_s + rng.uniform(0.2, 1.5), [0.05], on_s)
    return gate * _partials(_steady(4.0, hz), _falling(rng, 60, rng.uniform(0.3, 0.8)))


def _reversing(rng: Rng) -> Wave:
    on_s = rng.uniform(0.35, 0.6)
    gate = _pulses(7.0, 2.0 * on_s, [0.1], on_s)
    beeps = gate * _sounder(rng, _steady(7.0, rng.uniform(950.0, 1_400.0)))
    engine = _engine(rng, _steady(7.0, rng.uniform(10.0, 18.0)), 6)
    rumble: Wave = rng.uniform(0.05, 0.4) * engine / np.abs(engine).max()
    return beeps + rumble


def _timer(rng: Rng) -> Wave:
    """Bursts of two to four beeps, as kitchen timers and alarm clocks give them."""
    n, beep_s = int(rng.integers(2, 5)), rng.uniform(0.05, 0.12)
    gate = _pulses(6.0, rng.uniform(0.9, 1.2), [0.05 + 2 * beep_s * k for k in range(n)], beep_s)
    return gate * _sounder(rng, _steady(6.0, rng.uniform(1_800.0, 3_200.0)))


def _microwave(rng: Rng) -> Wave:
    """The hum of fan and transformer, which ends; then three to five long beeps."""
    hum = _partials(_steady(8.0, rng.choice([50.0, 60.0]) * 2.0), _falling(rng, 8, 1.0))
    fan = sosfilt(butter(1, 900.0, fs=RATE_HZ, output="sos"), _noise(rng, 8.0))
    running = _gate(_time_s(8.0), [(0.0, 3.5)], 0.05) * (0.15 * hum + 0.2 * fan)
    beep_s, n = rng.uniform(0.3, 0.9), int(rng.integers(3, 6))
    beeps = _gate(
        _time_s(8.0), [(3.6 + 1.4 * beep_s * k, 3.6 + beep_s * (1.4 * k + 1)) for k in range(n)]
    )
    return np.asarray(running, float) + beeps * _sounder(
        rng, _steady(8.0, rng.uniform(950.0, 2_500.0))
    )


KINDS = {
    "smoke-alarm": Kind(("Smoke detector, smoke alarm", "Alarm"), _smoke_alarm),
    "carbon-monoxide-alarm": Kind(("Alarm",), _carbon_monoxide_alarm),
    "burglar-alarm": Kind(("Alarm",), _burglar_alarm),
    "siren-wail": Kind(("Siren",), _wail),
    "siren-yelp": Kind(("Siren",), _yelp),
    "siren-two-tone": Kind(("Siren",), _two_tone),
    "air-raid-siren": Kind(("Civil defense siren", "Siren"), _air_raid),
    "telephone-bell": Kind(("Telephone bell ringing", "Telephone"), _bell_ringer),
    "telephone-warble": Kind(("Telephone",), _electronic_ring),
    "kettle": Kind(("Whistle",), _kettle),
    "engine-idling": Kind(("Idling", "Engine"), _idling),
    "engine-cruising": Kind(("Engine",), _cruising),
    "engine-revving": Kind(("Accelerating, revving, vroom", "Engine"), _revving),
    "doorbell": Kind(("Ding-dong", "Doorbell"), _ding_dong),
    "buzzer": Kind(("Buzzer",), _buzzer),
    "reversing-beeps": Kind(("Reversing beeps", "Beep, bleep"), _reversing),
    "timer": Kind(("Beep, bleep",), _timer),
    "microwave": Kind(("Microwave oven", "Beep, bleep"), _microwave),
}
"""What can be made, by the name in its files. Labels are AudioSet's; a kettle that sings is a
whistle there."""
