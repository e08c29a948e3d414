"""Prints when each sound of a recording begins and ends: python tag_file.py street.wav"""

import sys

import edge_audio


def main(path: str) -> None:
    for sound in edge_audio.tag(path).segments:
        times = f"{sound.start_s:7.2f} to {sound.end_s:7.2f} s"
        print(f"{times}  {sound.score:.2f}  {sound.label}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
