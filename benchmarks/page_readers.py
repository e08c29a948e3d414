"""What readers of the page cost a run of three streams: CPU, memory, lost audio.

    python benchmarks/page_readers.py --readers 0 200 --duration 60

CPU is that of the process that listens and serves, per second of the clock; readers take all that
comes, in another process. Demo scenes stand for microphones: as these they play in real time, and
what is not heard within four seconds is lost.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SETTINGS = """\
format = "none"
{sources}
[page]
port = {port}
[history]
path = "sounds.db"
"""
READER = """\
import selectors, socket, sys
port, n = map(int, sys.argv[1:])
selector, n_bytes = selectors.DefaultSelector(), 0
for _ in range(n):
    reader = socket.create_connection(("127.0.0.1", port))
    reader.sendall(b"GET /api/v1/live HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    selector.register(reader, selectors.EVENT_READ)
while n:
    for key, _ in selector.select():
        n_bytes += len(key.fileobj.recv(1 << 16))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, nargs="+", default=[0, 200])
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of each run")
    arguments = parser.parse_args()
    print("| readers | CPU of one core | memory, MB | lost |\n|---:|---:|---:|---|")
    for n_readers in arguments.readers:
        print(f"| {n_readers} | {' | '.join(measured(n_readers, arguments.duration))} |")


def measured(n_readers: int, duration_s: float) -> list[str]:
    """CPU share, resident memory and what the run says of lost audio, as text."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("kitchen", "attic", "yard")
    sources = "\n".join(f'[[source]]\nurl = "demo"\nname = "{name}"' for name in names)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "home.toml").write_text(SETTINGS.format(sources=sources, port=port))
        command = [sys.executable, "-m", "edge_audio", "listen", "--config", "home.toml"]
        run = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        wait_for(port)
        readers = subprocess.Popen([sys.executable, "-c", READER, str(port), str(n_readers)])
        time.sleep(5.0)  # all have come
        process = psutil.Process(run.pid)
        before_s, began_s = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(duration_s)
        used_s = sum(process.cpu_times()[:2]) - before_s
        share, memory_mb = used_s / (time.monotonic() - began_s), process.memory_info().rss / 1e6
        run.terminate()
        said = run.communicate(timeout=60)[1]
        readers.kill()
    lost = sorted(set(re.findall(r"nothing lost|[\d.]+ s[^,\n]* lost", said)))
    return [f"{share:.0%}", f"{memory_mb:.0f}", ", ".join(lost)]


def wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    main()
