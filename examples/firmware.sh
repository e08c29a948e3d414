#!/bin/sh
# Builds the C engine with two labels for this machine, tests it, and lets it hear a recording of
# raw 16-bit samples at 16 kHz: ./firmware.sh sound.pcm. For a microcontroller, take another
# --target (`edge-audio firmware targets`) and its compiler: docs/firmware.md.
set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
printf '%s\n' Dog 'Chicken, rooster' > "$folder/labels.txt"
edge-audio firmware build micro-int8 --target cmake --labels "$folder/labels.txt" \
    --out "$folder/engine"
cd "$folder/engine"
engine="-O2 -ffp-contract=off -Isrc src/*.c -Iport port/listen.c port/report.c port/port.c"
# shellcheck disable=SC2086  # words and patterns
cc $engine -Itest test/*.c -o self_test && ./self_test
# shellcheck disable=SC2086
cc $engine port/main.c -o listen
cd - > /dev/null
"$folder/engine/listen" "$1"
