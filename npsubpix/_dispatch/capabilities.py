"""Which functions run where: the table of docs/gpu.md, made from that of operations.

``python -m npsubpix._dispatch.capabilities`` prints it, and writes it into the files that it is given.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from npsubpix._dispatch.backends import has_gpu_kernels
from npsubpix._dispatch.operations import OPERATIONS

__all__ = ["NUMBERS", "table"]

#: Classes that are made of several operations.
_COMPOSED = ("ScaleSpaceDetector", "ScalePyramid", "BlobDoG", "BlobHessian")

#: Dtypes of arrays, for every function. bfloat16 is torch's and JAX's, and becomes float32 on its way to kernels.
NUMBERS = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16",
)  # fmt: skip


def table() -> str:
    """Return the table of docs/gpu.md, in Markdown."""
    lines = ["| functions | arrays on the host | arrays on a GPU | dtypes | gradients |", "|---|---|---|---|---|"]
    dtypes = "integers, float16, float32, float64, bfloat16"
    for operation in OPERATIONS.values():
        if operation.functions:
            functions = ", ".join(f"`{name}`" for name in operation.functions)
            gradient = "yes" if operation.differentiable else "no"
            gpu = "CuPy, torch" if has_gpu_kernels(operation.family) else "not yet"
            lines.append(f"| {functions} | NumPy, JAX, torch | {gpu} | {dtypes} | {gradient} |")
    classes = ", ".join(f"`{name}`" for name in _COMPOSED)
    lines.append(f"| {classes} | NumPy, torch | CuPy, torch | {dtypes} | yes |")
    return "\n".join(lines) + "\n"


def _write(page: Path) -> None:
    """Put the table between the two comments of a page."""
    text = page.read_text("utf-8")
    page.write_text(re.sub(r"(prints -->\n\n).*?(\n<!-- end -->)", rf"\1{table()}\2", text, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    for path in sys.argv[1:]:
        _write(Path(path))
    sys.stdout.write(table())
