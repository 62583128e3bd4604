"""The operations as operators of torch: what autograd differentiates and torch.compile traces.

Each operation becomes ``torch.ops.npsubpix.<name>``, and its vector-Jacobian product, where there
is one, ``torch.ops.npsubpix.<name>_vjp``, which raises when it is differentiated in turn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from npsubpix._arrays.home import Home, home_of
from npsubpix._arrays.library import Array, HostArray
from npsubpix._dispatch.adoption import adopt_all, give_back_all
from npsubpix._dispatch.backends import function_of
from npsubpix._dispatch.operation import Operation, Result, out_of_memory
from npsubpix._dispatch.operations import OPERATIONS
from npsubpix._dispatch.tape import tape
from npsubpix._dispatch.torch_state import is_batch, is_in_forward_mode, is_watching

__all__ = ["call"]


def call(
    operation: Operation, arrays: tuple[Array | None, ...], options: Mapping[str, Any]
) -> tuple[torch.Tensor, ...]:
    """Run an operation on tensors; arrays other than the first may be numbers."""
    tensors = []
    for argument, array in zip(operation.arguments, arrays, strict=True):
        if array is not None and not isinstance(array, torch.Tensor):
            array = _as_tensor(array)
        if array is not None and array.requires_grad and not argument.differentiable:
            raise TypeError(f"{argument.name} requires a gradient, which this operation does not pass on")
        tensors.append(array)
    if not torch.compiler.is_compiling():
        if (watching := tape.get()) is not None:
            watching.saw_tensors = True
        if _is_eager(tensors):
            if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
                return _Recorded.apply(operation, options, *tensors)  # type: ignore[no-any-return]
            return _run(operation, tensors, options)
        _refuse_forward_mode(operation, tensors)
    results = _OPERATORS[operation.name](*tensors, *(options[name] for name in operation.option_names))
    return results if len(_results(operation)) > 1 else (results,)


def _as_tensor(array: Any) -> torch.Tensor:
    """Make a tensor of what was given beside one; of a float one that holds all of it."""
    if isinstance(array, float):
        if array == 0 or torch.compiler.is_compiling() or is_watching():  # -0.0 equals 0.0
            return torch.as_tensor(array, dtype=torch.float64)
        return _number(array)
    if not torch.compiler.is_compiling():  # torch takes no negative strides, and warns of read-only memory
        array = np.require(array, requirements=["C", "W"])
    return torch.as_tensor(array)


@functools.lru_cache(maxsize=64)
def _number(value: float) -> torch.Tensor:
    """Return a number as a tensor, the same for all calls, and such as autograd can save wherever it is made."""
    with torch.inference_mode(False):
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def _is_eager(tensors: Sequence[torch.Tensor | None]) -> bool:
    """Whether nothing would notice if an operator were not called: no transform, no mode.

    The dispatcher takes 80 us for an operator written in Python, which is most of a small call.
    """
    return all(tensor is None or type(tensor) in _PLAIN for tensor in tensors) and not is_watching()


def _refuse_forward_mode(operation: Operation, tensors: Sequence[torch.Tensor | None]) -> None:
    """Raise for tensors with tangents, which torch would drop in silence."""
    if is_in_forward_mode():
        for tensor in tensors:
            if tensor is not None and torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None:
                raise NotImplementedError(
                    f"npsubpix has no forward-mode derivative of {operation.name}: use backward()"
                )


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def _run(
    operation: Operation, tensors: Sequence[torch.Tensor | None], options: Mapping[str, Any]
) -> tuple[torch.Tensor, ...]:
    home = home_of(tensors[0])
    function = function_of(operation, home)
    with home.working():
        try:
            results = function(*adopt_all(operation, home, tensors), **options)
        except MemoryError as error:
            raise out_of_memory(operation, options, error, home.on_gpu) from None
        return give_back_all(operation, home, results)  # type: ignore[no-any-return]


class _Recorded(torch.autograd.Function):  # type: ignore[misc]
    """An operation that autograd knows of without the dispatcher, which takes most of the time of a small call."""

    @staticmethod
    def forward(
        ctx: Any, operation: Operation, options: Mapping[str, Any], *tensors: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        results = _run(operation, tensors, options)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *_saved(operation, results))
        ctx.operation, ctx.options = operation, options
        return results

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        operation, options, count = ctx.operation, ctx.options, len(ctx.operation.arguments)
        tensors = ctx.saved_tensors
        batched = any(c is not None and is_batch(c) for c in cotangents)
        if torch.is_grad_enabled() or batched or not _is_eager((*cotangents, *tensors)):

            def pull_back() -> Any:
                values = (options[name] for name in operation.option_names)
                return _VJPS[operation.name](*cotangents, *tensors, *values)

        else:

            def pull_back() -> Any:
                return _run_vjp(operation, cotangents, tensors[:count], tensors[count:], options)

        return None, None, *_needed(operation, cotangents, ctx.needs_input_grad[2:], pull_back)


def _needed(
    operation: Operation, cotangents: Sequence[torch.Tensor | None], needs: Sequence[bool], pull_back: Callable[[], Any]
) -> list[torch.Tensor | None]:
    """Return the gradients of all arguments, None for those that need none."""
    answers: list[torch.Tensor | None] = [None] * len(operation.arguments)
    if any(c is not None for c in cotangents):
        grads = pull_back()
        grads = grads if isinstance(grads, tuple) else (grads,)
        for k, grad in zip(operation.differentiable, grads, strict=True):
            if needs[k]:
                answers[k] = grad
    return answers


def _run_vjp(
    operation: Operation,
    cotangents: Sequence[torch.Tensor | None],
    arrays: Sequence[torch.Tensor | None],
    saved: Sequence[torch.Tensor],
    options: Mapping[str, Any],
) -> Any:
    first = arrays[0]
    assert first is not None
    home = home_of(first)
    function = function_of(operation, home, "_vjp")
    with home.working():
        adopted = adopt_all(operation, home, arrays)
        results = _adopt_tensors(home, cotangents), adopted, _adopt_tensors(home, saved)
        try:
            grads = function(*results, **options)
        except MemoryError as error:
            raise out_of_memory(operation, options, error, home.on_gpu) from None
        return _one_or_all([
            first.new_empty(0) if grad is None or array is None
            else home_of(array).give_back(grad).to(array.device, _floating(array.dtype))
            for array, grad in zip([arrays[k] for k in operation.differentiable], grads, strict=True)
        ])  # fmt: skip


def _saved(operation: Operation, results: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [result for result, spec in zip(results, _results(operation), strict=True) if spec.saved]


def _results(operation: Operation) -> tuple[Result, ...]:
    assert operation.results is not None
    return operation.results


def _named(operation: Operation, options: Sequence[Any]) -> dict[str, Any]:
    """Options by name, as kernels take them: the dispatcher makes lists of tuples."""
    values = (tuple(o) if isinstance(o, list) else o for o in options)
    return dict(zip(operation.option_names, values, strict=True))


def _schema(operation: Operation) -> str:
    arrays = [f"Tensor{'?' * a.optional} {a.name}" for a in operation.arguments]
    results = ", ".join(["Tensor"] * len(_results(operation)))
    return f"({', '.join([*arrays, *operation.options])}) -> ({results})"


def _vjp_schema(operation: Operation) -> str:
    cotangents = [f"Tensor? {r.name}_cotangent" for r in _results(operation)]
    arrays = [f"Tensor{'?' * a.optional} {a.name}" for a in operation.arguments]
    saved = [f"Tensor {r.name}" for r in _results(operation) if r.saved]
    grads = ", ".join(["Tensor"] * len(operation.differentiable))
    return f"({', '.join([*cotangents, *arrays, *saved, *operation.options])}) -> ({grads})"


def _one_or_all(results: Sequence[torch.Tensor]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    return results[0] if len(results) == 1 else tuple(results)


def _floating(dtype: torch.dtype) -> torch.dtype:
    if dtype.is_floating_point:
        return dtype
    return torch.float32 if dtype.itemsize <= 2 else torch.float64


def _register(operation: Operation) -> Any:
    count = len(operation.arguments)

    def run(*values: Any) -> Any:
        tensors = [None if v is None else v.detach() for v in values[:count]]
        return _one_or_all(_run(operation, tensors, _named(operation, values[count:])))

    def fake(*values: Any) -> Any:
        first, options = values[0], _named(operation, values[count:])
        dtypes = {
            "float": _floating(first.dtype),
            "same": first.dtype,
            "option": getattr(torch, options.get("dtype") or str(first.dtype).removeprefix("torch.")),
            "bool": torch.bool,
            "float64": torch.float64,
        }
        shapes = operation.shapes_of([None if v is None else v.shape for v in values[:count]], options)
        return _one_or_all([
            first.new_empty(shape, dtype=dtypes[result.dtype])
            for shape, result in zip(shapes, _results(operation), strict=True)
        ])  # fmt: skip

    operator: Any = torch.library.custom_op(
        f"npsubpix::{operation.name}", run, mutates_args=(), schema=_schema(operation)
    )
    operator.register_fake(fake)
    if operation.differentiable:
        vjp = _VJPS[operation.name] = _register_vjp(operation)

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            results = output if isinstance(output, tuple) else (output,)
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*inputs[:count], *_saved(operation, results))
            ctx.options = inputs[count:]

        def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
            def pull_back() -> Any:
                return vjp(*cotangents, *ctx.saved_tensors, *ctx.options)

            return *_needed(operation, cotangents, ctx.needs_input_grad, pull_back), *[None] * len(ctx.options)

        operator.register_autograd(backward, setup_context=setup_context)
    return operator


def _register_vjp(operation: Operation) -> Any:
    results, count = len(_results(operation)), len(operation.arguments)
    kept = sum(result.saved for result in _results(operation))
    places = operation.differentiable

    def split(values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any]]:
        a, b, c = results, results + count, results + count + kept
        return values[:a], values[a:b], values[b:c], values[c:]

    def run(*values: Any) -> Any:
        cotangents, arrays, saved, options = split([v.detach() if isinstance(v, torch.Tensor) else v for v in values])
        return _run_vjp(operation, cotangents, arrays, saved, _named(operation, options))

    def fake(*values: Any) -> Any:
        _, arrays, _, _ = split(values)
        return _one_or_all([
            arrays[0].new_empty(0) if arrays[k] is None
            else arrays[k].new_empty(arrays[k].shape, dtype=_floating(arrays[k].dtype))
            for k in places
        ])  # fmt: skip

    def refuse(ctx: Any, *cotangents: Any) -> None:
        raise NotImplementedError(f"npsubpix has no second derivative of {operation.name}: it is differentiable once")

    operator: Any = torch.library.custom_op(
        f"npsubpix::{operation.name}_vjp", run, mutates_args=(), schema=_vjp_schema(operation)
    )
    operator.register_fake(fake)
    operator.register_autograd(refuse)
    return operator


def _adopt_tensors(home: Home, tensors: Sequence[torch.Tensor | None]) -> tuple[HostArray | None, ...]:
    return tuple(None if t is None else home.adopt(t, "cotangent") for t in tensors)


_VJPS: dict[str, Any] = {}
_OPERATORS = {operation.name: _register(operation) for operation in OPERATIONS.values() if operation.shapes is not None}
