"""Arrays in and out: adopt the caller's memory, give results back in the caller's library."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import array_api_compat as api
import numpy as np

from npsubpix._arrays.library import Array, HostArray, is_on_gpu, kind_of, require_cupy

__all__ = ["adopt", "adopt_mask", "give_back"]


def adopt(x: Array, name: str) -> HostArray:
    """Return the memory of an array as kernels take it, without a copy if it is so.

    That is a native, aligned, C-ordered NumPy array for one on the host, and a C-ordered CuPy
    array for one on a GPU, where `working_on` it. On the host, float16 becomes float32; bfloat16
    does everywhere. Kernels never write to what this returns.
    """
    if type(x) is np.ndarray and _is_plain(x):
        return x
    kind = kind_of(x)
    if is_on_gpu(x, kind):
        return _from_gpu(x, kind, name)  # type: ignore[no-any-return]
    if kind == "torch":
        data = _from_torch(x, name)
    elif isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array, got a masked array: "
            "pass its data, and its mask where there is a mask argument"
        )
    else:
        data = np.asarray(x)
    return data if _is_plain(data) else _plain(data, name)


def adopt_mask(x: Array) -> HostArray:
    """Return the memory of an array that is known to be of booleans."""
    kind = kind_of(x)
    if is_on_gpu(x, kind):
        return _from_gpu(x, kind, "the mask", "b")  # type: ignore[no-any-return]
    data = np.require(x.detach() if kind_of(x) == "torch" else x, requirements=["C", "A"])
    return data if data.flags.writeable else _writable_alias(data)


def _from_gpu(x: Array, kind: str, name: str, kinds: str = "iuf") -> Array:
    cupy = require_cupy()
    if kind == "torch":
        x = _plain_tensor(x, name)
        is_bool = str(x.dtype) == "torch.bool"  # which DLPack did not know for long
        if not is_bool and (x.is_complex() or (x.is_floating_point() and x.dtype.itemsize < 2)):
            raise TypeError(f"{name} must hold integers or floats of up to 64 bits, got dtype {x.dtype}")
        x = cupy.from_dlpack(x.byte() if is_bool else x)
        x = x.view(np.bool_) if is_bool else x
    if x.dtype.name == "bfloat16":
        x = x.astype(np.float32)
    if x.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold integers or floats of up to 64 bits, got dtype {x.dtype}")
    return cupy.ascontiguousarray(x) if x.ndim else x  # a number would get an axis


def _is_plain(data: HostArray) -> bool:
    return bool(data.flags.carray and data.dtype.isnative and data.dtype.num in _KERNEL_TYPES)


def _plain(data: HostArray, name: str) -> HostArray:
    """Convert what kernels cannot take as it is; refuse what is not a real number."""
    if data.dtype.name == "bfloat16":
        data = data.astype(np.float32)
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold integers or floats of up to 64 bits, got dtype {data.dtype}")
    if data.dtype.kind == "f" and data.dtype.itemsize == 2:
        data = data.astype(np.float32)
    data = np.require(data, dtype=data.dtype.newbyteorder("="), requirements=["C", "A"])
    return data if data.flags.writeable else _writable_alias(data)


def _writable_alias(data: HostArray) -> HostArray:
    """View read-only memory as writable: Numba compiles a kernel anew for read-only arrays, and none is written to."""
    if data.size == 0:
        return np.empty(data.shape, data.dtype)
    memory: Any = (ctypes.c_byte * data.nbytes).from_address(data.ctypes.data)
    memory.owner = data
    alias: HostArray = np.frombuffer(memory, data.dtype)
    return alias.reshape(data.shape)


_KERNEL_TYPES = frozenset(np.dtype(t).num for t in ("b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "f", "d"))


def _from_torch(x: Array, name: str) -> HostArray:
    if x.device.type != "cpu":
        raise TypeError(f"{name} is on device {x.device}: only CPU and CUDA tensors are supported")
    x = _plain_tensor(x, name)
    try:
        return x.numpy()  # type: ignore[no-any-return]  # in a fifth of the time of DLPack
    except (RuntimeError, TypeError):
        pass  # a torch that was built for another NumPy, or no memory that NumPy knows
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{name} must be a dense tensor of integers or floats, got {x.layout} {x.dtype}") from error


def _plain_tensor(x: Array, name: str) -> Array:
    """Return a tensor without what DLPack cannot say: a graph, a pending sign, no memory, bfloat16."""
    torch = sys.modules["torch"]
    if x.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            f"{name} requires a gradient, which this operation does not pass on: call it on {name}.detach()"
        )
    x = x.detach()
    if x.is_neg() or x.is_conj():
        x = x.resolve_neg().resolve_conj()
    if x._is_zerotensor():  # has no memory
        x = x.clone()
    return x.float() if x.dtype == torch.bfloat16 else x


def give_back(result: HostArray, like: Array) -> Array:
    """Return `result` in the library of `like`; a float32 result of a half-precision input in its precision."""
    kind = kind_of(like)
    if kind == "numpy":
        dtype = getattr(like, "dtype", None)
        if result.dtype == np.float32 and dtype == np.float16:
            return result.astype(np.float16)
        return result
    if kind == "torch":
        torch = sys.modules["torch"]
        tensor = _as_tensor(torch, result)
        half = result.dtype == np.float32 and like.dtype in (torch.float16, torch.bfloat16)
        return tensor.to(like.dtype) if half else tensor
    half = result.dtype == np.float32 and like.dtype.itemsize == 2 and like.dtype.kind not in "iu"
    if kind == "cupy":
        return result.astype(like.dtype) if half else result
    return api.array_namespace(like).asarray(result, dtype=like.dtype if half else None)


def _as_tensor(torch: Any, result: Array) -> Array:
    if isinstance(result, np.ndarray) and result.flags.writeable:
        try:
            return torch.from_numpy(result)  # in less than half of the time of DLPack
        except (RuntimeError, TypeError):
            pass  # a torch that was built for another NumPy
    if isinstance(result, np.ndarray) or result.dtype != np.bool_:
        return torch.from_dlpack(result)
    return torch.from_dlpack(result.view(np.uint8)).view(torch.bool)
