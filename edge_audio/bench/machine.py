"""The machine that figures were measured on, and what a process takes of its memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from edge_audio.bundle.spec import Spec

BUSY_LOAD = 0.5
"""A load at the start above this means that others compute as well."""

CPU_INFO = Path("/proc/cpuinfo")

_KB_PER_MB = 1000.0


class Machine(Spec, frozen=True):
    """load: processes that wanted to run in the minute before the start, on average."""

    cpu: str
    n_cpus: int
    load: float
    system: str
    python: str
    edge_audio: str
    date: str

    @property
    def is_busy(self) -> bool:
        """Whether other processes may have disturbed the figures."""
        return self.load > BUSY_LOAD

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.n_cpus} CPUs, {self.system}, Python {self.python}, "
            f"load {self.load:.2f} at the start, {self.date}"
        )


def this_machine() -> Machine:
    """The machine that this process runs on, and its load now."""
    return Machine(
        cpu=_cpu_name(),
        n_cpus=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        edge_audio=version("edge-audio"),
        date=datetime.now().astimezone().date().isoformat(),
    )


def _cpu_name() -> str:
    """Name of the CPU (x86), with its vectors, which libraries gain from unequally and which a
    virtual machine's name does not tell, or of the whole board (Raspberry Pi)."""
    for name in ("model name", "Model"):
        if value := _field(CPU_INFO, name):
            vectors = _widest_vectors(_field(CPU_INFO, "flags").split())
            return f"{value} ({vectors})" if vectors else value
    return platform.processor() or platform.machine()


def _widest_vectors(flags: Sequence[str]) -> str:
    """What x86 CPUs with these flags have, "" for others."""
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "sse4_1": "SSE4.1"}
    return next((name for flag, name in known.items() if flag in flags), "")


def resident_mb() -> float:
    """Resident memory of this process now; its peak where the system does not tell."""
    return _memory_mb("VmRSS")


def peak_resident_mb() -> float:
    """Largest resident memory of this process so far."""
    return _memory_mb("VmHWM")


def _memory_mb(name: str) -> float:
    # Linux's ru_maxrss starts with the memory of the parent, so that it is the second choice.
    if value := _field(Path("/proc/self/status"), name):
        return int(value.split()[0]) / _KB_PER_MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else _KB_PER_MB)


def _field(path: Path, name: str) -> str:
    """The first value of that name in a file of `name : value` lines, "" without."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    rows = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in rows if key.strip() == name), "")
