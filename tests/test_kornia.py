"""npsubpix against kornia: release 0.9.0, recorded and live, and 0.8.3 for the bonus that 0.9.0 does not give."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix import nn
from tests.assertions import assert_same
from tests.witness.cases import CASES, Case, unrefined
from tests.witness.record_kornia import HERE, array_of, recall, run_kornia, tensor_of

#: How many units in the last place results may differ by. kornia rounds each step to the dtype of the
#: input: in float64 the two differ by little but the order of sums; in float32 npsubpix keeps sums
#: and fits in float64; and in half precision it rounds the result alone.
UNITS = {"float64": 4, "float32": 4, "float16": 2, "bfloat16": 2}
EPS = {name: torch.finfo(getattr(torch, name)).eps for name in UNITS}

Results = list[np.ndarray]


@functools.cache
def recordings(release: str) -> dict[str, np.ndarray]:
    with np.load(HERE / f"kornia_{release}.npz") as stored:
        return dict(stored)


def run_npsubpix(case: Case, library: str) -> Results:
    """Return the results of a case for arrays of a library; bfloat16 as float32."""
    options = dict(case.options)
    if library == "numpy":
        arrays: list[Any] = [x.astype(case.dtype) for x in case.arrays]
    else:
        arrays = [tensor_of(x, case.dtype) for x in case.arrays]
        for name in options:
            if isinstance(options[name], np.ndarray):
                options[name] = torch.tensor(options[name])
    operator = getattr(nn if library == "nn" else npsubpix, case.operator)
    made = operator(**options)(*arrays, **case.more) if isinstance(operator, type) else operator(*arrays, **options)
    results = made if isinstance(made, tuple) else (made,)
    return [np.asarray(r) if library == "numpy" else array_of(r) for r in results]


def bound(case: Case, theirs: np.ndarray, k: int) -> float:
    """Return by how much a result may differ: some units in the last place of the greatest number around."""
    name = case.operator.lower().replace("_", "")
    finite = np.abs(theirs[np.isfinite(theirs)])
    scale = float(finite.max(initial=0))
    if k == 0 and "softmax" not in name and "gaussian" not in name:
        scale = max(scale, 1.0)  # coordinates are sums of numbers up to 1 and more
    exponent = 0.0
    if "soft" in name:
        x = np.abs(case.arrays[0][np.isfinite(case.arrays[0])]).max(initial=0)
        scale = max(scale, x) if k else scale  # values of either sign cancel in the mean
        # The rounding of x / T is one of the weights.
        temperature = case.options.get("temperature")
        exponent = float(x / np.min(1.0 if temperature is None else temperature))
    # Below the normal numbers each of the products of a window is rounded to a multiple of the smallest number.
    smallest = 27 * float(torch.finfo(getattr(torch, case.dtype)).smallest_normal) * EPS[case.dtype]
    return UNITS[case.dtype] * EPS[case.dtype] * scale * (1 + exponent) + smallest


def agree(case: Case, ours: Results, theirs: Results) -> None:
    """Assert that two results are the same: exactly, if they are comparisons of numbers that are there."""
    exact = case.operator.startswith(("nms", "NonMaxima"))
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert_same(a, b, within=None if exact else bound(case, b, k))


def check_infinity(case: Case, ours: Results, theirs: Results) -> None:
    """Pixels of +inf have all the weight, those of -inf none; kornia makes NaN of windows that hold one."""
    x = case.arrays[0]
    agree(case, [np.where(np.isnan(b), b, a) for a, b in zip(ours, theirs, strict=True)], theirs)
    assert not any(np.isnan(a).any() for a in ours)
    blind = [np.isnan(b) for b in theirs]
    if np.isposinf(x).any():
        assert all(b.any() for b in blind)
        if case.operator == "spatial_softmax2d":
            np.testing.assert_array_equal(ours[0], np.isposinf(x))
            return
        # Pixel 16 of each map: row 1 and column 7 of 6 x 9; or plane 0, row 3 and column 1 of 3 x 4 x 5.
        position = (0, 1, 3) if case.operator.endswith("3d") else (0.75, -0.6)
        for axis, number in enumerate(position):
            np.testing.assert_allclose(ours[0][:, :, axis][blind[0][:, :, axis]], number, atol=1e-15)
        assert all((value[there] == np.inf).all() for value, there in zip(ours[1:], blind[1:], strict=True))
    else:
        assert not blind[0].any()
        low = replace(case, arrays=(np.where(np.isneginf(x), -1e4, x),))
        agree(case, ours, run_npsubpix(low, "numpy"))


def check_radius(case: Case, ours: Results, theirs: Results) -> None:
    """A maximum that leaves its own radius is not refined; kornia lets it go on through its neighbours'."""
    different = ~np.isclose(ours[0], theirs[0], rtol=0, atol=bound(case, theirs[0], 0)).all(2)
    assert 0 < different.sum() < 0.2 * (theirs[0] != unrefined(case.arrays[0])[0]).any(2).sum()
    further = run_npsubpix(replace(case, options={**case.options, "dilation_radius": 5}), "numpy")
    for k, (a, b, plain) in enumerate(zip(ours, theirs, unrefined(case.arrays[0]), strict=True)):
        there = different if k else np.broadcast_to(different[:, :, None], a.shape)
        np.testing.assert_array_equal(a[there], plain[there])
        np.testing.assert_allclose(further[k][there], b[there], atol=bound(case, b, k))
        np.testing.assert_allclose(a[~there], b[~there], atol=bound(case, b, k))


def check_border(case: Case, ours: Results, theirs: Results) -> None:
    """A voxel on the border is never refined; kornia may take the fit of the nearest one inside."""
    edge = np.ones(case.arrays[0].shape, bool)
    edge[..., 1:-1, 1:-1, 1:-1] = False
    for k, (a, b, plain) in enumerate(zip(ours, theirs, unrefined(case.arrays[0]), strict=True)):
        there = edge if k else np.broadcast_to(edge[:, :, None], a.shape)
        np.testing.assert_array_equal(a[there], plain[there])
        assert (b[there] != plain[there]).any()
        np.testing.assert_allclose(a[~there], b[~there], atol=bound(case, b, k))


#: Deliberate differences, as docs/coming_from_kornia.md lists them.
DIFFERENCES: dict[str, Callable[[Case, Results, Results], None]] = {
    "": agree,
    "temperature": agree,  # given in the shape that kornia takes: run_kornia reshapes it
    "infinity": check_infinity,
    "dilation_radius": check_radius,
    "border": check_border,
}


def check(case: Case, theirs: Results) -> None:
    libraries = ["torch"] if case.dtype == "bfloat16" else ["numpy", "torch"]
    if case.operator[0].isupper():
        libraries.append("nn")
    for library in libraries:
        DIFFERENCES[case.differs](case, run_npsubpix(case, library), theirs)


def _marked(case: Case) -> Any:
    """Mark double precision of what takes longest to compile as exhaustive: single precision is kornia's own."""
    rare = case.dtype == "float64" and case.name.startswith(("window", "spatial", "class", "different"))
    return pytest.param(case, id=case.name, marks=[pytest.mark.exhaustive] * rare)


@pytest.mark.parametrize("case", [_marked(case) for cases in CASES.values() for case in cases])
def test_recorded(case):
    """What kornia computed when it was recorded."""
    release = next(release for release, cases in CASES.items() if case in cases)
    check(case, recall(case, recordings(release)))


@pytest.mark.parametrize("case", [_marked(case) for case in CASES["0.9.0"]])
def test_live(case):
    """What the installed kornia computes on this machine, with this torch."""
    kornia = pytest.importorskip("kornia")
    if kornia.__version__ != "0.9.0":
        pytest.skip(f"kornia is {kornia.__version__}, not 0.9.0")
    check(case, run_kornia(case, "0.9.0"))


@pytest.mark.parametrize("release", CASES)
def test_recordings_are_of_these_cases(release):
    """Nothing is compared with the recording of another input."""
    about = ast.literal_eval(str(recordings(release)["about"]))
    assert about["kornia"] == release
    assert about["inputs"] == {case.name: case.digest() for case in CASES[release]}


def test_a_bonus_was_recorded():
    """The recordings of 0.8.3 are no witness if nothing in them got a bonus."""
    for case in CASES["0.8.3"]:
        bonus = case.options.get("strict_maxima_bonus", 10.0)
        values = recall(case, recordings("0.8.3"))[1]
        without = run_npsubpix(replace(case, options={**case.options, "strict_maxima_bonus": 0.0}), "numpy")[1]
        if case.operator.startswith("conv_soft"):
            ratio = (values / without)[np.abs(values / without - 1) > 1e-3]
            np.testing.assert_allclose(ratio, 1 + bonus, rtol=1e-5)
            assert ratio.size >= 3
        else:
            np.testing.assert_allclose(np.sort((values - without).ravel())[-5:], [0, *[bonus] * 4], atol=1e-5)


#: The functions of kornia.geometry.subpix.
FUNCTIONS = (
    "conv_quad_interp3d",
    "conv_soft_argmax2d",
    "conv_soft_argmax3d",
    "iterative_quad_interp3d",
    "nms2d",
    "nms3d",
    "nms3d_minmax",
    "render_gaussian2d",
    "spatial_expectation2d",
    "spatial_soft_argmax2d",
    "spatial_softmax2d",
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures(name):
    """A call with positional arguments means the same, but for the bonus, which is 0.8.3's."""
    subpix = pytest.importorskip("kornia.geometry.subpix")
    ours, theirs = (
        [(p.name, None if p.name == "strict_maxima_bonus" else p.default, p.kind) for p in parameters.values()]
        for parameters in (inspect.signature(getattr(m, name)).parameters for m in (npsubpix, subpix))
    )
    assert ours == theirs


def test_every_function_of_kornia_is_there():
    subpix = pytest.importorskip("kornia.geometry.subpix")
    assert {name for name in vars(subpix) if inspect.isfunction(getattr(subpix, name))} == set(FUNCTIONS)


@pytest.mark.exhaustive  # which compiles for each operator
def test_booleans_as_in_kornia(rng):
    kornia = pytest.importorskip("kornia.geometry.subpix")
    x = rng.random((1, 2, 5, 9, 10)) > 0.8
    image, volume = torch.from_numpy(x[:, :, 2]), torch.from_numpy(x)
    for call in (
        lambda library: library.nms2d(image, (3, 3)),
        lambda library: library.nms2d(image, (5, 5), mask_only=True),
        lambda library: library.nms3d(volume, (3, 3, 3)),
        lambda library: library.nms3d_minmax(volume)[1],
        lambda library: library.spatial_softmax2d(image),
        lambda library: library.spatial_soft_argmax2d(image, normalized_coordinates=False),
    ):
        torch.testing.assert_close(call(npsubpix), call(kornia))
    for name, source in (
        ("conv_soft_argmax2d", image),
        ("spatial_expectation2d", image),
        ("conv_quad_interp3d", volume),
    ):
        for library, error in ((kornia, NotImplementedError), (npsubpix, TypeError)):
            with pytest.raises(error):
                getattr(library, name)(source)
