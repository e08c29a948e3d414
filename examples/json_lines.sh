#!/bin/sh
# Reacts to a sound as it begins: ./json_lines.sh [SOURCE] [LABEL], by default to barks that the
# microphone hears.
# Every event is one line of JSON; `jq` reads them too, where it is installed.
edge-audio listen --source "${1:-mic}" --only "${2:-Bark}" --format jsonl |
    grep --line-buffered '"kind": "start"' |
    while read -r line; do
        echo "Quiet, please: $line"
    done
