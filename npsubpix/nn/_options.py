"""The base of modules, which hold options as attributes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Operator"]


class Operator(torch.nn.Module):  # type: ignore[misc]
    """Base of modules: options are attributes, checked by the plain class and passed to a function by name."""

    _plain: ClassVar[type[Any]]

    def __init__(self, *options: Any) -> None:
        super().__init__()
        self._plain(*options)
        self._names = tuple(field.name for field in fields(self._plain))
        for name, value in zip(self._names, options, strict=True):
            if isinstance(value, Tensor) and not isinstance(value, torch.nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Return the options as written in a call."""
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # kornia saves a temperature only if it is a parameter; 0.8.3 also saves the window of NonMaximaSuppression2d.
        # Its scale pyramid saves the weights of Gaussians.
        for name in list(state_dict):
            if name == f"{prefix}kernel" or name.startswith(f"{prefix}_gk_"):
                del state_dict[name]
        for name, value in self._buffers.items():
            state_dict.setdefault(f"{prefix}{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *args)
