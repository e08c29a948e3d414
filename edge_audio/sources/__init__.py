"""Where audio comes from: microphones, files, pipes, network streams and the demo scene."""
