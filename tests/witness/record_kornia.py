"""Record what the installed kornia computes: ``python -m tests.witness.record_kornia``.

Writes ``kornia_<release>.npz`` beside this file: one array for each result of each case, of quadratic
operators only what they changed; and under ``about`` the release, the versions of torch and NumPy,
the command, and a hash of each input, which has its seed in cases.py. Those that are there were
recorded with torch 2.13.0 on a CPU. 0.8.3 is the witness for nothing but `strict_maxima_bonus`,
which 0.9.0 ignores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.witness.cases import CASES, Case, unrefined

HERE = Path(__file__).parent


def tensor_of(x: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.tensor(x).to(getattr(torch, dtype))


def array_of(x: torch.Tensor) -> np.ndarray:
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()


def as_kornia_takes_it(temperature: np.ndarray, case: Case) -> torch.Tensor:
    """Shape a temperature an image such that kornia broadcasts it over images, not over rows and columns."""
    batch, channels = case.arrays[0].shape[:2]
    full = np.broadcast_to(temperature, (batch, channels))
    axes = (batch, channels, 1) if case.operator.startswith("spatial") else (batch * channels, 1, 1, 1)
    if case.operator.endswith("3d"):
        axes = (*axes, 1)
    return tensor_of(full.reshape(axes), case.dtype)


def run_kornia(case: Case, release: str) -> list[np.ndarray]:
    """Return the results of a case; bfloat16 as float32."""
    from kornia.geometry import subpix

    arrays = [tensor_of(x, case.dtype) for x in case.arrays]
    options: dict[str, Any] = dict(case.options)
    if release != "0.8.3":
        options.pop("strict_maxima_bonus", None)  # ignored, with a warning
    if isinstance(options.get("temperature"), np.ndarray):
        options["temperature"] = as_kornia_takes_it(options["temperature"], case)
    if "precomputed_nms_mask" in options:
        options["precomputed_nms_mask"] = torch.from_numpy(options["precomputed_nms_mask"])
    operator = getattr(subpix, case.operator)
    made = operator(**options)(*arrays, **case.more) if isinstance(operator, type) else operator(*arrays, **options)
    return [array_of(r) for r in (made if isinstance(made, tuple) else (made,))]


def changes(case: Case, results: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is to be stored of the results, and under which name."""
    for k, result in enumerate(results):
        if "Quad" in case.operator or "quad" in case.operator:
            plain = unrefined(case.arrays[0].astype(result.dtype))[k]
            changed = np.flatnonzero(result != plain)
            yield f"{case.name}/{k}/where", changed.astype(np.int32)
            yield f"{case.name}/{k}/what", result.reshape(-1)[changed]
        else:
            yield f"{case.name}/{k}", result


def recall(case: Case, stored: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the results of a case from what is stored of them."""
    results = []
    for k in range(3):
        if f"{case.name}/{k}" in stored:
            results.append(stored[f"{case.name}/{k}"])
        elif f"{case.name}/{k}/where" in stored:
            values = stored[f"{case.name}/{k}/what"]
            result = unrefined(case.arrays[0].astype(values.dtype))[k].copy()
            result.reshape(-1)[stored[f"{case.name}/{k}/where"]] = values
            results.append(result)
    return results


def main() -> None:
    import kornia

    release = kornia.__version__
    recorded = {}
    for case in CASES[release]:
        recorded.update(changes(case, run_kornia(case, release)))
    about = {
        "kornia": release,
        "torch": version("torch"),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "command": "python -m tests.witness.record_kornia",
        "inputs": {case.name: case.digest() for case in CASES[release]},
    }
    path = HERE / f"kornia_{release}.npz"
    np.savez_compressed(path, about=np.array(repr(about)), **recorded)
    sys.stdout.write(f"kornia {release}: {len(CASES[release])} cases, {path.stat().st_size} bytes, {path.name}\n")


if __name__ == "__main__":
    main()
