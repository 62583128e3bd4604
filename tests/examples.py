"""The examples of the table of operations, as calls of one array of shape (1, 2, 4, 7, 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import npsubpix
from npsubpix._dispatch.operation import Example
from npsubpix._dispatch.operations import OPERATIONS

__all__ = ["EXAMPLES"]


def _call(example: Example) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        result = example(npsubpix, x)
        return (result.coords, result.values) if isinstance(result, npsubpix.Peaks) else result

    return call


#: Calls of the public functions by their names; of a table of peaks they return the columns of floats.
EXAMPLES = {name: _call(example) for operation in OPERATIONS.values() for name, example in operation.functions.items()}
