"""One loaded model listens to any number of streams, each with a state of its own.

python many_streams.py kitchen.wav yard.wav"""

import sys
from pathlib import Path

import soundfile

from edge_audio import PolicySpec, Tagger

BLOCK_SAMPLES = 1_600  # 0.1 s


def main(paths: list[str]) -> None:
    first = Tagger.open("tiny-int8", policy=PolicySpec())
    taggers = {path: first.another() for path in paths}  # the weights are in memory once
    files = {path: soundfile.SoundFile(path) for path in paths}
    while files:
        for path in list(files):
            block = files[path].read(BLOCK_SAMPLES, dtype="int16")
            tagger = taggers[path]
            if len(block) == 0:
                files.pop(path).close()
            for event in tagger.push(block) if len(block) else tagger.flush():
                print(f"{Path(path).stem}: {event.time_s:.2f} s {event.kind} {event.label}")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    main(sys.argv[1:])
