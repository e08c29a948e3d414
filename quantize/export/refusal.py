"""What an exporter says of a graph that its runtime cannot express."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from edge_audio.errors import EdgeAudioError

REWRITES = {
    "abs_complex": "pairs of real numbers",
    "complex": "pairs of real numbers",
    "cumsum": "a product with a triangular matrix",
    "cummax": "torch.maximum step by step",
    "scan": "one step per call, the state as input and output",
    "while_loop": "one step per call, the state as input and output",
    "softplus": "relu(x) + log(1 + exp(-abs(x)))",
    "log_sigmoid": "-softplus(-x) by relu, exp and log",
    "einsum": "torch.bmm",
    "matmul": "torch.bmm",
    "sort": "nothing that depends on the order of values",
    "nonzero": "a product with a mask",
    "masked_select": "a product with a mask",
    "fft": "a product with the Fourier matrix",
    "stft": "a product with the Fourier matrix",
    "select": "a slice of length one",
    "unsqueeze": "reshape",
}

_OPERATOR = re.compile(r"(?:aten|prims|higher_order|stablehlo|vhlo|tfl)[.:_]{1,2}([A-Za-z_0-9]+)")


def refuse(runtime: str, operators: Iterable[str]) -> EdgeAudioError:
    """One line that names the operators and, where one is known, what to write instead."""
    names = sorted(operators)
    hints = {rewrite for name in names if (rewrite := _rewrite(name))}
    cure = f"write it as {' or '.join(sorted(hints))}" if hints else "rewrite that part of step()"
    return EdgeAudioError(f"{runtime} cannot express {', '.join(names)} of this graph: {cure}")


@contextmanager
def refusing(runtime: str) -> Iterator[None]:
    """Turns whatever an exporter raises into one such line."""
    try:
        yield
    except EdgeAudioError:
        raise
    except Exception as error:  # exporters raise whatever their passes raise
        operators = set(_OPERATOR.findall(str(error)))
        if operators:
            raise refuse(runtime, operators) from error
        reason = " ".join(str(error).split())[:300]
        raise EdgeAudioError(f"{runtime} cannot express this graph: {reason}") from error


def _rewrite(operator: str) -> str | None:
    found = [rewrite for name, rewrite in REWRITES.items() if name in operator]
    return found[0] if found else None
