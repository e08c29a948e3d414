"""`python -m edge_audio` is the `edge-audio` command."""

from edge_audio.cli import main

main()
