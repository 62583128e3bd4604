"""Names that are no part of torch's interface may vanish: calls then take longer, and are right."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

CODE = """
    import numpy as np, torch
    from torch.autograd import forward_ad
    place = {place}
    there = place.{name}
    del place.{name}
    from npsubpix._dispatch import torch_state
    place.{name} = there  # torch itself needs it
    import npsubpix

    x = np.random.default_rng(0).standard_normal((1, 1, 6, 7))
    tensor = torch.from_numpy(x).requires_grad_()
    found = npsubpix.spatial_soft_argmax2d(tensor.detach())
    print("goes through the operator:", torch_state.is_watching() or torch_state.is_batch(tensor))
    print("same values:", np.array_equal(found.numpy(), npsubpix.spatial_soft_argmax2d(x)))
    print("gradients:", torch.autograd.gradcheck(npsubpix.spatial_soft_argmax2d, tensor))
    with forward_ad.dual_level():
        try:
            npsubpix.spatial_soft_argmax2d(forward_ad.make_dual(tensor.detach(), torch.ones_like(tensor)))
        except NotImplementedError as error:
            print("forward mode:", "forward-mode" in str(error))
    try:
        torch.func.grad(lambda x: npsubpix.spatial_soft_argmax2d(x).sum())(tensor.detach())
    except RuntimeError as error:
        print("transforms:", "functorch" in str(error))
"""


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("torch._C", "_are_functorch_transforms_active"),
        pytest.param("torch._C", "_len_torch_dispatch_stack", marks=pytest.mark.exhaustive),
        pytest.param("torch._C", "_dispatch_keys", marks=pytest.mark.exhaustive),
        pytest.param("forward_ad", "_current_level", marks=pytest.mark.exhaustive),
    ],
)
def test_calls_are_right_without(place, name):
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE).format(place=place, name=name)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.splitlines() == [
        "goes through the operator: True",
        "same values: True",
        "gradients: True",
        "forward mode: True",
        "transforms: True",
    ]


def test_calls_take_the_short_way_with_all_names():
    from npsubpix._dispatch import torch_state

    assert not torch_state.is_watching()
    assert not torch_state.is_in_forward_mode()
    assert not torch_state.is_batch(torch.empty(0))
