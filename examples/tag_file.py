"""Prints when each sound of a recording begins and ends: python tag_file.py street.wav"""

import sys

import soundfile
import soxr

from edge_audio import PolicySpec, Tagger


def main(path: str) -> None:
    tagger = Tagger.open("tiny-int8", policy=PolicySpec())  # one sound, one event
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate_hz, tagger.sample_rate_hz)
    started_s: dict[str, float] = {}
    for event in tagger.push(mono) + tagger.flush():
        if event.kind == "start":
            started_s[event.label] = event.time_s
        else:
            start_s = started_s.pop(event.label)
            print(f"{start_s:7.2f} to {event.time_s:7.2f} s  {event.score:.2f}  {event.label}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
