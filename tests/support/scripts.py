"""Scripts of `benchmarks`, which are no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache
def load_script(path: Path) -> ModuleType:
    """The script as a module of its own name, one for all tests: classes of two would not be equal,
    and types of the one be looked up in the other."""
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # where its classes look their types up
    module_spec.loader.exec_module(module)
    return module
