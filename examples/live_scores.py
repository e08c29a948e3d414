"""Prints the likeliest sound of each 80 ms: python live_scores.py [SECONDS] [DEVICE]

DEVICE: a microphone as `edge-audio devices` lists it; the system's own unless it is given."""

import sys

import edge_audio


def main(duration_s: float = 10.0, device: str | None = None) -> None:
    listening = edge_audio.listen(device=device, duration_s=duration_s)
    try:
        for step in listening.steps():
            ((label, score),) = listening.tagger.top(1)
            print(f"{step.time_s:7.2f} s  {score:.2f}  {label}")
    except edge_audio.EdgeAudioError as error:
        sys.exit(f"no microphone: {error}; `edge-audio devices` lists those that there are")


if __name__ == "__main__":
    try:
        seconds = float(sys.argv[1]) if sys.argv[1:] else 10.0
    except ValueError:
        sys.exit(__doc__)
    main(seconds, *sys.argv[2:3])
