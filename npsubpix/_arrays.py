"""Arrays in, arrays out: recognise the caller's library, adopt its memory, give results back in it.

An array goes one way: `adopt` once, compute, `give_back` once. Nothing here imports a library that
the caller does not already hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import array_api_compat as api
import numpy as np
import numpy.typing as npt

__all__ = [
    "Array",
    "HostArray",
    "adopt",
    "adopt_mask",
    "as_array",
    "beside",
    "give_back",
    "indices_beside",
    "is_array",
    "is_on_gpu",
    "kind_of",
    "place_of",
    "require_cupy",
    "to_numpy",
    "without_half",
    "working_on",
]

#: An array of any supported library, or what NumPy makes an array of.
Array: TypeAlias = Any
HostArray: TypeAlias = npt.NDArray[Any]


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


def as_array(x: Any, name: str = "an argument") -> Array:
    """Return arrays of any library as they are, and whatever else NumPy makes an array of as that."""
    if is_array(x):
        return x
    try:
        return np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} must be an array, got a {type(x).__name__} of parts that differ in shape") from None


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


_NOTHING = contextlib.nullcontext()


@contextlib.contextmanager
def _torch_stream(device: Any) -> Iterator[None]:
    cupy, torch = require_cupy(), sys.modules["torch"]
    stream = torch.cuda.current_stream(device).cuda_stream
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream, device.index):
        yield


def adopt(x: Array, name: str) -> HostArray:
    """Return the memory of an array as kernels take it, without a copy if it is so.

    That is a native, aligned, C-ordered NumPy array for one on the host, and a C-ordered CuPy
    array for one on a GPU, where `working_on` it. On the host, float16 becomes float32; bfloat16
    does everywhere. Kernels never write to what this returns.
    """
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
    return cupy.ascontiguousarray(x) if x.ndim else x  # it would give a number an axis


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
    x = x.detach().resolve_neg().resolve_conj()
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
        torch = api.array_namespace(like)
        tensor = _as_tensor(torch, result)
        half = result.dtype == np.float32 and like.dtype in (torch.float16, torch.bfloat16)
        return tensor.to(like.dtype) if half else tensor
    half = result.dtype == np.float32 and like.dtype.itemsize == 2 and like.dtype.kind not in "iu"
    if kind == "cupy":
        return result.astype(like.dtype) if half else result
    return api.array_namespace(like).asarray(result, dtype=like.dtype if half else None)


def _as_tensor(torch: Any, result: Array) -> Array:
    if isinstance(result, np.ndarray) or result.dtype != np.bool_:
        return torch.from_dlpack(result)
    return torch.from_dlpack(result.view(np.uint8)).view(torch.bool)


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
    return x.float() if kind_of(x) == "torch" else x.astype(np.float32)
