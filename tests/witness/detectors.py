"""Calls of detectors that kornia is a witness for; recorded by ``python -m tests.witness.detectors``.

Writes ``detectors_0.9.0.npz`` beside this file: frames and responses of each case, and under ``about`` the release, the
versions of torch and NumPy, the command, and a hash of each input. The file that is there was recorded with torch
2.13.0 on a CPU.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from tests.witness.cases import maps

RECORDING = Path(__file__).parent / "detectors_0.9.0.npz"

#: Options of kornia's classes, by the name of the argument of the detector that takes one.
Part = tuple[str, tuple[Any, ...], dict[str, Any]]

SEED_PYRAMID: Part = ("ScalePyramid", (3, 1.6, 32), {"double_image": True})
DOG = {"resp_module": ("BlobDoG", (), {}), "scale_space_response": True, "minima_are_also_good": True}


@dataclass(frozen=True)
class Detection:
    """A call of a detector for images (B, 1, H, W), with a mask or without."""

    name: str
    images: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None

    def digest(self) -> str:
        """Return a hash of the arrays: recordings are of no use to others."""
        arrays = [self.images] if self.mask is None else [self.images, self.mask]
        return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]

    def made(self, package: Any, **refinement: Any) -> Any:
        """Make the detector of classes of a package; further options are those of its refinement."""
        options = dict(self.options)
        for name, value in options.items():
            if isinstance(value, tuple):
                more = refinement if name == "subpix_module" else {}
                options[name] = getattr(package, value[0])(*value[1], **value[2], **more)
        return package.ScaleSpaceDetector(**options)


def _images(seed: int, shape: tuple[int, ...], smooth: int = 3, dtype: str = "float32") -> np.ndarray:
    return maps(seed, shape, 100.0, smooth).astype(dtype)


def _spotted_mask(shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Zero in a box and along a line, and, of floats, growing weights elsewhere."""
    rows, columns = np.indices(shape)
    mask = 0.05 + columns / shape[1] if dtype.startswith("f") else np.ones(shape)
    mask[(rows > 20) & (rows < 45) & (columns > 10) & (columns < 40)] = 0
    mask[rows == columns] = 0
    return mask[None, None].astype(dtype)


_SEED = DOG | {"scale_pyr_module": SEED_PYRAMID, "num_features": 150}

CASES = (
    Detection("seed", _images(1, (2, 1, 66, 81)), _SEED),
    Detection("fewer", _images(1, (2, 1, 66, 81)), _SEED | {"num_features": 20, "mr_size": 3.0}),
    Detection("double", _images(2, (1, 1, 65, 80), 4, "float64"), _SEED),
    Detection("hessian", _images(3, (2, 1, 70, 91)), {"mr_size": 4.0, "num_features": 60}),
    Detection(
        "differences",
        _images(4, (1, 1, 90, 64), 2),
        {
            "resp_module": ("BlobHessian", ("diff",), {}),
            "scale_pyr_module": ("ScalePyramid", (2, 0.4, 10), {"extra_levels": 2}),
            "minima_are_also_good": True,
            "subpix_module": ("IterativeQuadInterp3d", (3,), {"max_subpixel_shift": 0.7, "allow_scale_steps": False}),
            "num_features": 100,
        },
    ),
    Detection("maxima", _images(5, (1, 1, 81, 70)), DOG | {"minima_are_also_good": False, "num_features": 80}),
    Detection("masked", _images(6, (2, 1, 66, 81)), _SEED, _spotted_mask((66, 81), "uint8") * np.uint8(255)),
    Detection("weighted", _images(7, (2, 1, 66, 81)), {"num_features": 60}, _spotted_mask((66, 81), "float32")),
)


def kornia_package() -> SimpleNamespace:
    """Return the classes of kornia that detectors are made of."""
    import kornia.feature
    import kornia.geometry.subpix
    import kornia.geometry.transform

    names = {
        kornia.feature: ("BlobDoG", "BlobHessian", "ScaleSpaceDetector"),
        kornia.geometry.subpix: ("AdaptiveQuadInterp3d", "IterativeQuadInterp3d"),
        kornia.geometry.transform: ("ScalePyramid",),
    }
    return SimpleNamespace(**{name: getattr(module, name) for module, many in names.items() for name in many})


def detected_by_kornia(case: Detection) -> list[np.ndarray]:
    """Return frames and responses of a case."""
    mask = None if case.mask is None else torch.from_numpy(case.mask)
    with torch.no_grad():
        return [result.numpy() for result in case.made(kornia_package())(torch.from_numpy(case.images), mask)]


def recalled(case: Detection, stored: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return what was recorded of a case."""
    return [stored[f"{case.name}/{k}"] for k in range(2)]


def main() -> None:
    import kornia

    recorded = {f"{case.name}/{k}": x for case in CASES for k, x in enumerate(detected_by_kornia(case))}
    about = {
        "kornia": kornia.__version__,
        "torch": version("torch"),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "command": "python -m tests.witness.detectors",
        "inputs": {case.name: case.digest() for case in CASES},
    }
    np.savez_compressed(RECORDING, about=np.array(repr(about)), **recorded)
    filled = {case.name: int((recorded[f"{case.name}/0"] != 0).any((2, 3)).sum()) for case in CASES}
    sys.stdout.write(f"kornia {kornia.__version__}: {filled}, {RECORDING.stat().st_size} bytes, {RECORDING.name}\n")


if __name__ == "__main__":
    main()
