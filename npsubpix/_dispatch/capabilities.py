"""Which functions run where: the table of the README, made from that of operations.

``python -m npsubpix._dispatch.capabilities`` prints it.
"""

from __future__ import annotations

import sys

from npsubpix._dispatch.backends import has_gpu_kernels
from npsubpix._dispatch.operations import OPERATIONS

__all__ = ["NUMBERS", "table"]

#: Dtypes of arrays, for every function. bfloat16 is torch's and JAX's, and becomes float32 on its way to kernels.
NUMBERS = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16",
)  # fmt: skip


def table() -> str:
    """Return the table of the README, in Markdown."""
    lines = ["| functions | arrays on the host | arrays on a GPU | dtypes | gradients |", "|---|---|---|---|---|"]
    for operation in OPERATIONS.values():
        if operation.functions:
            functions = ", ".join(f"`{name}`" for name in operation.functions)
            gradient = "yes" if operation.differentiable else "no"
            dtypes = "integers, float16, float32, float64, bfloat16"
            gpu = "CuPy, torch" if has_gpu_kernels(operation.family) else "not yet"
            lines.append(f"| {functions} | NumPy, JAX, torch | {gpu} | {dtypes} | {gradient} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
