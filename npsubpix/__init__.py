"""Sub-pixel measurement on NumPy, CuPy and torch arrays.

Names are loaded when they are first used: importing npsubpix imports neither Numba nor any array
library but NumPy. `__init__.pyi` says what they are and where they are defined.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

with open(f"{__file__}i", encoding="utf-8") as _stub:  # noqa: PTH123, which takes as long to import as all the rest
    _HOME = {words[3]: words[1] for words in map(str.split, _stub) if words[:1] == ["from"]}

__all__ = sorted(_HOME)


#: Public modules that hold no operation, which messages and pages speak of as ``npsubpix.io``.
_MODULES = ("io", "nn", "plotting")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_MODULES])
