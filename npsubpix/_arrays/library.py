"""Arrays in, arrays out: recognise the caller's library, adopt its memory, give results back in it.

An array goes one way: `adopt` once, compute, `give_back` once. Nothing here imports a library that
the caller does not already hold.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import array_api_compat as api
import numpy as np

from npsubpix._arrays.lazy import is_lazy, refuse_lazy
from npsubpix._arrays.masks import joined_mask, split_mask, without_mask
from npsubpix._definitions.dtypes import HostArray

__all__ = [
    "Array",
    "HostArray",
    "as_array",
    "as_floats",
    "as_image",
    "beside",
    "has_booleans",
    "in_library_of",
    "indices_beside",
    "is_array",
    "is_on_gpu",
    "is_table",
    "is_tracing",
    "join",
    "kind_of",
    "moveaxis",
    "moved_beside",
    "native_affine_grid",
    "outer_product",
    "place_of",
    "require_cupy",
    "take",
    "to_numpy",
    "with_columns",
    "with_gaps_filled",
    "without_booleans",
    "without_gradient",
    "without_half",
    "working_on",
]

#: An array of any supported library, or what NumPy makes an array of.
Array: TypeAlias = Any

#: The kinds of dtypes that hold numbers.
_NUMBERS = "biufc"

#: Arguments that are images: for one of these, a string is the name of a file.
_IMAGES = ("image", "images", "input", "fixed", "moving", "patches", "bright", "dark", "beads")


def kind_of(x: Array) -> str:
    """Name the library of an array: ``"numpy"``, ``"torch"``, ``"jax"`` or ``"cupy"``."""
    if type(x) is np.ndarray:
        return "numpy"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):  # what torch.compile can follow
        return "torch"
    if api.is_cupy_array(x):
        return "cupy"
    if api.is_jax_array(x):
        return "jax"
    return "numpy"


def is_array(x: Any) -> bool:
    """Whether something is an array of any library, or a scalar of NumPy, and not a plain number."""
    return not isinstance(x, float) and hasattr(x, "shape") and hasattr(x, "dtype")


def is_tracing() -> bool:
    """Whether torch.compile traces what runs: it follows attributes of arrays and plain Python."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "compiler") and bool(torch.compiler.is_compiling())


def as_array(x: Any, name: str) -> Array:
    """Return arrays of any library as they are, and lists and numbers as arrays of NumPy.

    What does not hold numbers is a TypeError that names the argument; so is an array in a file, or one that is not
    computed yet. Masked pixels, and units, are refused: who takes a mask calls `as_image`.
    """
    if type(x) is not np.ndarray and (not is_array(x) or kind_of(x) == "numpy"):
        x = without_mask(x, name)
    if type(x) is np.ndarray:
        return x if x.dtype.kind in _NUMBERS else _of_numbers(x, x, name)
    if not is_array(x):
        return _of_numbers(_made_of(x, name), x, name)
    if kind_of(x) != "numpy":
        return x
    if is_lazy(x):
        refuse_lazy(x, name, is_image=name in _IMAGES)
    return _of_numbers(x, x, name)


def without_booleans(x: Array, dtype: str = "uint8") -> Array:
    """Return an array of booleans as 0 and 1 of a dtype, and any other as it is."""
    return as_floats(x, dtype) if has_booleans(x) else x


def has_booleans(x: Array) -> bool:
    """Whether an array holds booleans."""
    if type(x) is np.ndarray:
        return bool(x.dtype.kind == "b")  # much faster than the name of a dtype
    return str(x.dtype) in ("bool", "torch.bool")


def is_table(x: Any) -> bool:
    """Whether something is a table of positions, such as `Peaks`, or the class of one."""
    return not is_array(x) and hasattr(x, "coords")


def _is_record_of_arrays(x: Any) -> bool:
    """Whether something is a result of several arrays, which NumPy would make a single one of."""
    return hasattr(x, "_fields") and any(map(is_array, x))


def _made_of(x: Any, name: str) -> HostArray:
    """Make an array of lists and numbers."""
    if isinstance(x, (str, bytes, os.PathLike)) or is_table(x) or _is_record_of_arrays(x):
        raise _no_array(x, name)
    try:
        return np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} must be an array, got a {type(x).__name__} of parts that differ in shape") from None


def as_image(
    x: Any, mask: Array | None, name: str = "image", frame_axis: int | None = None
) -> tuple[Array, Array | None]:
    """Return an image as `as_array` does, and a mask joined with the one that the image has itself."""
    if type(x) is np.ndarray or (is_array(x) and kind_of(x) != "numpy"):
        return as_array(x, name), mask
    pixels, own = split_mask(x, name)
    if own is not None:
        mask = joined_mask(own, None if mask is None else as_array(mask, "mask"), frame_axis)
    return as_array(pixels, name), mask


def _of_numbers(data: Array, source: Any, name: str) -> Array:
    """Require numbers of any length: what NumPy does not know, such as bfloat16, has the kind of a record for it."""
    kind = getattr(data.dtype, "kind", "f")
    if kind in _NUMBERS or (kind == "V" and data.dtype.names is None and data.dtype.itemsize <= 2):
        return data
    if kind == "O" and data.ndim == 0 and not is_array(source):
        raise _no_array(source, name)
    fields = "" if data.dtype.names is None else ": pass its columns as an array, such as np.stack([t['y'], t['x']], 1)"
    raise TypeError(f"{name} must hold integers or floats of up to 64 bits, got dtype {data.dtype}{fields}")


def _no_array(x: Any, name: str) -> TypeError:
    """Word the error for what is not an array, with what to pass instead."""
    if isinstance(x, (str, bytes, os.PathLike)):
        hint = ": read it first: npsubpix.open_image(path).read()" if name in _IMAGES else ""
        return TypeError(f"{name} must be an array, got {os.fspath(x)!r}{hint}")
    if is_table(x):
        hint = ": its .coords are an array, in the order of the axes of an image"
    elif _is_record_of_arrays(x):
        hint = f": pass one of its fields, {', '.join(x._fields)}"
    elif hasattr(x, "params"):
        hint = ": pass its .params, with axes exchanged"
    else:
        hint = ""
    got = "None" if x is None else f"a {type(x).__name__}"
    return TypeError(f"{name} must be an array, got {got}{hint}")


def is_on_gpu(x: Array, kind: str) -> bool:
    """Whether the memory of an array is on a CUDA device."""
    if kind == "jax":
        return any(device.platform != "cpu" for device in x.devices())
    return kind == "cupy" or (kind == "torch" and x.device.type == "cuda")


def place_of(x: Array) -> str:
    """Name the device of an array: ``"the host"`` or ``"GPU 0"``."""
    kind = kind_of(x)
    if not is_on_gpu(x, kind):
        return "the host"
    return f"GPU {x.device.index if kind == 'torch' else x.device.id}"


@functools.cache
def require_cupy() -> Any:
    """Return the module of CuPy; say in one line if it or a GPU is missing."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise ImportError(
            "npsubpix works on a GPU through CuPy, which is not installed: "
            "pip install 'npsubpix[cuda13]', or 'npsubpix[cuda12]' for older drivers"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"CuPy finds no GPU that it can use: {error}") from None
    if count == 0:
        raise RuntimeError("CuPy finds no GPU that it can use: there is none")
    return cupy


def working_on(x: Array) -> contextlib.AbstractContextManager[Any]:
    """Make the device of an array current, and the stream its library works on; nothing for the host.

    What CuPy does then comes after what the library has begun, and before what it begins next,
    without waiting for either.
    """
    kind = kind_of(x)
    if not is_on_gpu(x, kind):
        return _NOTHING
    if kind == "cupy":
        return x.device  # type: ignore[no-any-return]
    return _torch_stream(x.device)


def beside(x: HostArray, like: Array) -> Array:
    """Copy what was given as numbers to the GPU that an array is on, if it is on one."""
    kind = kind_of(like)
    if not is_on_gpu(like, kind):
        return x
    if kind == "torch":
        return sys.modules["torch"].as_tensor(x, device=like.device)
    with working_on(like):
        return require_cupy().asarray(x)


def moved_beside(x: Any, like: Array) -> Any:
    """Copy an array of the host to the GPU that another one is on; numbers, and other arrays, stay as they are."""
    if not is_array(x) or is_on_gpu(x, kind_of(x)):
        return x
    return beside(to_numpy(x), like) if is_on_gpu(like, kind_of(like)) else x


def in_library_of(like: Array, x: Array) -> Array:
    """Copy an array on the host to the library and the device of another."""
    if kind_of(like) == "torch" and kind_of(x) != "torch":
        return sys.modules["torch"].as_tensor(x, device=like.device)
    return beside(x, like)


_NOTHING = contextlib.nullcontext()


@contextlib.contextmanager
def _torch_stream(device: Any) -> Iterator[None]:
    cupy, torch = require_cupy(), sys.modules["torch"]
    stream = torch.cuda.current_stream(device).cuda_stream
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream, device.index):
        yield


def indices_beside(x: Array, shape: tuple[int, ...]) -> Array:
    """Return the indices of pixels, (ndim, *shape), in float64, on the device of an array; of NumPy for JAX."""
    kind = kind_of(x)
    if kind == "torch":
        torch = sys.modules["torch"]
        lines = [torch.arange(n, dtype=torch.float64, device=x.device) for n in shape]
        return torch.stack(torch.meshgrid(*lines, indexing="ij"))
    if kind == "cupy":
        with working_on(x):
            return require_cupy().indices(shape, np.float64)
    return np.indices(shape, np.float64)


def moveaxis(x: Array, source: int, target: int) -> Array:
    """View an array with an axis at another place."""
    return x.movedim(source, target) if kind_of(x) == "torch" else np.moveaxis(x, source, target)


def take(x: Array, rows: HostArray, axis: int) -> Array:
    """Return rows of an array by their numbers, along an axis."""
    if kind_of(x) == "torch":
        return x.index_select(axis, sys.modules["torch"].as_tensor(rows, device=x.device))
    with working_on(x):
        return x.take(rows, axis)


def join(parts: Sequence[Array], axis: int) -> Array:
    """Join arrays of one library along an axis."""
    kind = kind_of(parts[0])
    if kind == "torch":
        return sys.modules["torch"].cat(list(parts), axis)
    if kind == "jax":
        return api.array_namespace(parts[0]).concat(list(parts), axis=axis)
    with working_on(parts[0]):
        return np.concatenate(list(parts), axis)  # which is CuPy's own for its arrays


def with_columns(x: Array, columns: Sequence[Array]) -> Array:
    """Replace the arrays along the last axis of an array; it is overwritten where its library can do that."""
    if kind_of(x) not in ("numpy", "cupy"):
        return moveaxis(join([column[None] for column in columns], 0), 0, -1)
    with working_on(x):
        for k, column in enumerate(columns):
            x[..., k] = column
    return x


def with_gaps_filled(x: Array, mask: Array | None, frame_axis: int | None, values: Callable[[], Array]) -> Array:
    """Replace pixels that are masked or not finite; `values` is called for an array of the shape of the image.

    Arrays on a GPU are not looked at, as the host would have to wait: there it is called whenever there are floats.
    """
    kind = kind_of(x)
    torch = sys.modules["torch"] if kind == "torch" else None
    is_float = x.is_floating_point() if torch else x.dtype.kind not in "iub"
    hidden = None if mask is None else as_array(mask, "mask")
    if hidden is not None and frame_axis is not None and hidden.ndim == x.ndim - 1:
        hidden = hidden[(slice(None),) * frame_axis + (None,)]
    if hidden is not None and not _covers(hidden, x):
        hidden = None  # which the check of masks refuses
    if not is_float and hidden is None:
        return x
    with working_on(x):
        gaps = torch.logical_not(torch.isfinite(x)) if torch else ~np.isfinite(x)
        if hidden is not None:
            gaps = gaps | (torch.as_tensor(hidden, device=x.device) if torch else hidden)
        if not is_on_gpu(x, kind) and not bool(gaps.any()):
            return x
        level = values()
        return torch.where(gaps, level.to(x.dtype) if is_float else level, x) if torch else np.where(gaps, level, x)


def _covers(mask: Array, x: Array) -> bool:
    """Whether a mask can be one of an array, or of each of its frames."""
    if not has_booleans(mask) or mask.ndim != x.ndim:
        return False
    return all(n in (1, m) for n, m in zip(mask.shape, x.shape, strict=True))


def native_affine_grid(theta: Array, size: tuple[int, ...], align_corners: bool) -> Array | None:
    """Return the grid that the library of an array makes of affine transforms, or None where it makes none.

    Torch's own is differentiable, and can be traced.
    """
    if kind_of(theta) != "torch":
        return None
    return sys.modules["torch"].nn.functional.affine_grid(theta, list(size), align_corners)


def without_gradient(x: Array) -> Array:
    """Return a tensor without its graph, for results that have no gradient; other arrays as they are."""
    return x.detach() if kind_of(x) == "torch" else x


def to_numpy(x: Array) -> HostArray:
    """Copy an array of any library to the host as a NumPy array."""
    kind = kind_of(x)
    if kind == "cupy":
        return x.get()  # type: ignore[no-any-return]
    return np.asarray(x.detach().cpu()) if kind == "torch" else np.asarray(x)


def without_half(x: Array) -> Array:
    """Return an array of half precision in float32, and any other as it is.

    What comes of an array of half precision is given back in half precision: not what a caller wants who asks for
    another dtype.
    """
    if str(x.dtype).rpartition(".")[2] not in ("float16", "bfloat16"):
        return x
    return as_floats(x, "float32")


def as_floats(x: Array, dtype: str) -> Array:
    """Convert an array to a dtype, mostly one of floats, on its own device: CuPy would work on the current one."""
    kind = kind_of(x)
    if kind == "torch":
        return x.to(getattr(sys.modules["torch"], dtype))
    if kind == "cupy":
        with working_on(x):
            return x.astype(dtype)
    return x.astype(dtype)


def outer_product(lines: Sequence[Array]) -> Array:
    """Multiply lines of numbers, one for each axis of the product, on their own device."""
    with working_on(lines[0]) if kind_of(lines[0]) == "cupy" else _NOTHING:
        product = lines[0]
        for line in lines[1:]:
            product = product[..., None] * line
        return product
