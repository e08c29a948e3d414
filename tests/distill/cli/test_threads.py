"""Threads that train sleep while they wait, which must be said before PyTorch loads."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
import distill.cli.distill, distill.cli.pretrain
from distill.cli.threads import use_threads
assert "torch" not in sys.modules
use_threads(2)
print(os.environ["OMP_WAIT_POLICY"], sys.modules["torch"].get_num_threads())
"""


def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise() -> None:
    for given, policy in (({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [policy, "2"]
