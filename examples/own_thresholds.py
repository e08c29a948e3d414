"""Reports two labels alone, each from a score of one's own, and later than the model would.

python own_thresholds.py street.wav"""

import sys

import soundfile

from edge_audio import EventSpec, Tagger, Threshold, load_bundle, open_backend, select_events


def main(path: str) -> None:
    bundle = load_bundle("tiny-int8")
    manifest = bundle.manifest

    # On the model's own terms: labels to report, and the score that each has to reach.
    chosen = select_events(
        manifest.events, manifest.labels, only=["Ocean", "Siren"], threshold={"Siren": 0.4}
    )
    print({label: threshold.on for label, threshold in chosen.thresholds.items()})

    # Everything by hand: a sound must last 0.3 s, and may pause for a second.
    own = EventSpec(
        smoothing_s=0.16,
        min_on_s=0.3,
        min_off_s=1.0,
        thresholds={"Ocean": Threshold(on=0.4, off=0.2), "Siren": Threshold(on=0.5, off=0.3)},
    )
    tagger = Tagger(bundle, open_backend(bundle), own)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == tagger.sample_rate_hz, "Tagger(..., rate_hz=rate_hz) resamples"
    for event in tagger.push(samples) + tagger.flush():
        print(event)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
