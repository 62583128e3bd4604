"""Whether torch would notice that an operator was not called; only names outside of its interface say so.

They are looked up once, at import. Where torch lacks one, the answer is that it would: calls then go through
registered operators, which takes longer and gives the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import forward_ad

__all__ = ["is_batch", "is_in_forward_mode", "is_watching"]


def _forward_mode() -> Callable[[], bool]:
    """Make the function that says whether tensors may have tangents."""
    if not hasattr(forward_ad, "_current_level"):
        return lambda: True

    def is_in_forward_mode() -> bool:
        return forward_ad._current_level >= 0  # type: ignore[no-any-return]

    return is_in_forward_mode


def _watching() -> Callable[[], bool]:
    """Make the function that says whether a transform, a mode of dispatch or forward mode is active."""
    try:
        transforms, modes = torch._C._are_functorch_transforms_active, torch._C._len_torch_dispatch_stack
        _ = forward_ad._current_level
    except AttributeError:
        return lambda: True

    def is_watching() -> bool:
        return transforms() or modes() > 0 or forward_ad._current_level >= 0  # type: ignore[no-any-return]

    return is_watching


def _batches() -> Callable[[torch.Tensor], bool]:
    """Make the function that says whether a tensor stands for a batch of cotangents, which no transform tells."""
    try:
        keys_of, batched = torch._C._dispatch_keys, torch._C._parse_dispatch_key("Batched")
        _ = keys_of(torch.empty(0)).has(batched)
    except (AttributeError, RuntimeError, TypeError):
        return lambda _: True

    def is_batch(tensor: torch.Tensor) -> bool:
        return keys_of(tensor).has(batched)  # type: ignore[no-any-return]

    return is_batch


is_batch, is_in_forward_mode, is_watching = _batches(), _forward_mode(), _watching()
