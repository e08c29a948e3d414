"""Bundles as firmware: the C99 engine, and what turns a bundle into a folder that builds by itself
for a microcontroller, a Pi, a phone or a web page.

`build_firmware(load_bundle("micro-int8"), TARGETS["cortex-m4"], Path("micro"))` is what
`edge-audio firmware build` does.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_bridge.folder.build import build_firmware
    from firmware_bridge.folder.codegen import Firmware
    from firmware_bridge.target_table import TARGETS, Target

__all__ = ["TARGETS", "Firmware", "Target", "build_firmware"]

_PLACES = {
    "TARGETS": "target_table",
    "Firmware": "folder.codegen",
    "Target": "target_table",
    "build_firmware": "folder.build",
}


def __getattr__(name: str) -> object:
    """Imports a public name once it is asked for: the command line lists its commands sooner."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = pkgutil.resolve_name(f"{__name__}.{_PLACES[name]}:{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
