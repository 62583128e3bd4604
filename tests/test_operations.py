"""The table of operations, the kernels of both backends and the public functions agree on names."""

from __future__ import annotations

import importlib
import inspect

import pytest

import npsubpix
from npsubpix._dispatch.operation import Operation
from npsubpix._dispatch.operations import OPERATIONS

#: Public functions that run no kernels of their own: torch or NumPy does it, or other functions do.
WITHOUT_KERNELS = {"affine_grid", "choose_conv_method", "sample_vjp", "transform_points", "vjp"}

FUNCTIONS = {name: operation for operation in OPERATIONS.values() for name in operation.functions}


def twin(operation: Operation, backend: str, suffix: str = "") -> inspect.Signature:
    module = importlib.import_module(f"npsubpix.{backend}.{operation.family}")
    return inspect.signature(getattr(module, operation.name + suffix))


def named(signature: inspect.Signature, *kinds: inspect._ParameterKind) -> list[str]:
    return [name for name, parameter in signature.parameters.items() if parameter.kind in kinds]


BY_POSITION = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL


@pytest.mark.parametrize("backend", ["_cpu", "_cuda"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_twins_take_the_arrays_and_the_options_of_the_table(operation, backend):
    """An option that is called otherwise in one place would be given to another parameter, or to none."""
    signature = twin(operation, backend)
    assert named(signature, *BY_POSITION) == [argument.name for argument in operation.arguments]
    assert named(signature, inspect.Parameter.KEYWORD_ONLY) == list(operation.option_names)
    if operation.differentiable:
        signature = twin(operation, backend, "_vjp")
        assert named(signature, *BY_POSITION) == ["cotangents", "arrays", "saved"]
        assert named(signature, inspect.Parameter.KEYWORD_ONLY) == list(operation.option_names)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS.values() if o.functions], ids=lambda o: o.name)
def test_public_functions_have_the_names_of_the_table(operation):
    """A caller gives arrays and options by the names that kernels know, but for those that are internal."""
    public = [set(inspect.signature(getattr(npsubpix, name)).parameters) for name in operation.functions]
    own = {argument.name for argument in operation.arguments} | set(operation.option_names)
    assert operation.internal <= own
    assert own - operation.internal <= set().union(*public)
    assert not operation.internal & set.intersection(*public)


def test_every_public_function_is_in_the_table_once():
    public = {name for name in npsubpix.__all__ if name[0].islower()}
    assert sum(len(operation.functions) for operation in OPERATIONS.values()) == len(FUNCTIONS)
    assert set(FUNCTIONS) == public - WITHOUT_KERNELS


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_options_that_torch_traces_have_types(operation):
    typed = [len(option.split()) == 2 for option in operation.options]
    assert all(typed) if operation.shapes is not None else not any(typed)
