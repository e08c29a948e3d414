"""Kotlin's compiler, which no package of Debian brings in a version of this decade."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

KOTLIN_PACKAGE = "kotlin-compiler@2.2.20"
KOTLIN_DIR = REPOSITORY / "build" / "kotlin" / "node_modules" / "kotlin-compiler"


def kotlinc() -> Path:
    """The script, to be run by bash; skips the test where there is none."""
    compiler = Path(shutil.which("kotlinc") or KOTLIN_DIR / "bin" / "kotlinc")
    if not compiler.is_file():
        folder = KOTLIN_DIR.parents[1].relative_to(REPOSITORY)
        pytest.skip(f"needs kotlinc: npm install --prefix {folder} {KOTLIN_PACKAGE}")
    return compiler
