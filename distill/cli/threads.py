"""Threads that train."""

from __future__ import annotations

import os


def use_threads(n_threads: int) -> None:
    """Has PyTorch compute with so many threads. Call it before anything imports torch.

    At the end of every small operation its threads wait for each other, and by default they do so
    by spinning: where another program has one of the cores, each wait burns its time slice, and a
    step takes up to ten times as long. Sleeping costs next to nothing on a machine with nothing
    else to do.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    torch.set_num_threads(n_threads)
