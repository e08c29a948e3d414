"""Prints the likeliest sound of each 80 ms: python live_scores.py [SECONDS] [DEVICE]

DEVICE: a microphone as `edge-audio devices` lists it; the system's own unless it is given."""

import sys

try:
    import sounddevice
except (ImportError, OSError) as error:  # OSError: without the library of PortAudio
    sys.exit(f"this needs a microphone's library ({error}): pip install 'edge-audio[mic]'")

from edge_audio import Tagger


def main(duration_s: float = 10.0, device: str | None = None) -> None:
    tagger = Tagger.open("tiny-int8")
    block_samples = tagger.sample_rate_hz // 10
    try:
        opened = sounddevice.InputStream(
            tagger.sample_rate_hz, block_samples, device, channels=1, dtype="int16"
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        sys.exit(f"no microphone: {error}; `edge-audio devices` lists those that there are")
    with opened as microphone:
        while tagger.time_s < duration_s:
            block, has_lost = microphone.read(block_samples)
            if has_lost:
                print("audio was lost: this machine is too slow", file=sys.stderr)
            for step in tagger.steps(block[:, 0]):
                best = int(step.scores.argmax())
                print(f"{step.time_s:7.2f} s  {step.scores[best]:.2f}  {tagger.labels[best]}")


if __name__ == "__main__":
    try:
        seconds = float(sys.argv[1]) if sys.argv[1:] else 10.0
    except ValueError:
        sys.exit(__doc__)
    main(seconds, *sys.argv[2:3])
