"""Command ``npsubpix simulate``: write frames of spots whose positions are known, and the table of these."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix.cli.files import display_name
from npsubpix.cli.terminal import Errors, UsageError, say

__all__ = ["SimulateRequest", "simulate_and_report"]

_FORMATS = (".tif", ".tiff", ".npy")


@dataclass(frozen=True)
class SimulateRequest:
    """Arguments of the command line."""

    output: Path
    truths: list[Path]
    shape: Any
    frames: int
    spots: int
    flux: float
    sigma: Any
    background: float
    margin: float
    drift: Any  # per frame, along each axis, or a table of it
    sites: int | None
    camera: dict[str, float]  # arguments of Camera; empty for photons
    seed: int
    quiet: bool


def simulate_and_report(request: SimulateRequest, errors: Errors) -> None:
    """Simulate all frames, write them and the table."""
    from npsubpix._tables import describe, write_table

    shape = _check(request)
    try:
        drift = _drift(request, len(shape))
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    rng = np.random.default_rng(request.seed)
    count = request.frames * request.spots
    coords = _places(request, shape, rng)
    frame = np.repeat(np.arange(request.frames), request.spots)
    coords += 0 if drift is None else drift[frame]
    with errors.survived():
        _write_frames(request, shape, coords, rng)
    axes = "zyx"[-len(shape) :]
    columns: dict[str, npt.NDArray[Any]] = {"frame": frame} if request.frames > 1 else {}
    columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
    columns["flux"] = np.full(count, request.flux)
    widths = request.sigma if isinstance(request.sigma, tuple) else (request.sigma,) * len(shape)
    columns |= {f"sigma_{axis}": np.full(count, width) for axis, width in zip(axes, widths, strict=True)}
    metadata = describe(axes) | {
        "image": display_name(request.output),
        "options": {name: getattr(request, name) for name in ("shape", "frames", "spots", "flux", "sigma", "background",
                                                              "margin", "sites", "camera", "seed")}
        | {"drift": str(request.drift) if isinstance(request.drift, Path) else request.drift},
    }  # fmt: skip
    lines = [f"{count} spots in {request.frames} frame{'s' * (request.frames > 1)} of {' × '.join(map(str, shape))}"]
    lines += [f"Wrote {display_name(request.output)}"] if request.output.exists() else []
    for truth in request.truths:
        with errors.survived():
            write_table(truth, columns, metadata)
            lines.append(f"Wrote {display_name(truth)}")
    if not request.quiet:
        say("\n".join(lines))


def _places(request: SimulateRequest, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the places of spots, frame by frame: new ones in each frame, or those of some of the same molecules."""
    low, high = np.full(len(shape), request.margin - 0.5), np.array(shape) - 0.5 - request.margin
    sites = request.spots if request.sites is None and request.drift is not None else request.sites
    if sites is None:
        return rng.uniform(low, high, (request.frames * request.spots, len(shape)))
    molecules = rng.uniform(low, high, (sites, len(shape)))
    if sites == request.spots:
        return np.tile(molecules, (request.frames, 1))
    shown = [rng.choice(sites, request.spots, replace=False) for _ in range(request.frames)]
    return molecules[np.concatenate(shown)]


def _drift(request: SimulateRequest, axes: int) -> npt.NDArray[np.float64] | None:
    """Return the drift of each frame, from its rate or from a table."""
    from npsubpix.io.tables import read_table

    if request.drift is None:
        return None
    if not isinstance(request.drift, Path):
        rate = request.drift if isinstance(request.drift, tuple) else (request.drift,) * axes
        return np.arange(float(request.frames))[:, None] * np.array(rate, np.float64)
    columns, _ = read_table(request.drift)
    names = ("frame", *"zyx"[-axes:])
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(f"{request.drift}: has no column {missing[0]}; needed are {', '.join(names)}")
    order = np.argsort(columns["frame"], kind="stable")
    if not np.array_equal(np.asarray(columns["frame"])[order], np.arange(request.frames)):
        raise ValueError(f"{request.drift}: frames must be 0 to {request.frames - 1}, each once, as --frames says")
    shifts = np.stack([np.asarray(columns[name], np.float64)[order] for name in names[1:]], axis=1)
    if not np.isfinite(shifts).all():
        raise ValueError(f"{request.drift}: the drift of frame {np.argwhere(~np.isfinite(shifts))[0, 0]} is not known")
    return shifts


def _check(request: SimulateRequest) -> tuple[int, ...]:
    """Refuse arguments that would fail later, before any work is done; return the shape of a frame."""
    from npsubpix import Camera
    from npsubpix._arrays.checks import check_image_shape
    from npsubpix._arrays.options import check_count, check_finite, check_lengths
    from npsubpix._tables import check_place, check_table_path

    try:
        shape = request.shape if isinstance(request.shape, tuple) else (request.shape,) * 2
        sizes = check_image_shape(shape, "--shape")
        if len(sizes) < 2:
            raise ValueError(f"--shape must hold 2 or 3 integers, got {request.shape}")
        check_lengths(request.sigma, len(sizes), "--sigma")
        check_count(request.frames, "--frames", 1)
        check_count(request.spots, "--spots")
        for name in ("flux", "background", "margin"):
            if check_finite(getattr(request, name), f"--{name}") < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(request, name)}")
        if request.camera:
            Camera(**request.camera)
        if request.sites is not None and check_count(request.sites, "--sites") < request.spots:
            raise ValueError(f"--sites must be at least --spots, {request.spots}, got {request.sites}")
        if isinstance(request.drift, tuple) and len(request.drift) != len(sizes):
            raise ValueError(f"--drift must be one number, or one per axis of {sizes}, got {request.drift}")
        rates = () if isinstance(request.drift, Path) or request.drift is None else np.ravel(request.drift)
        if not np.isfinite(rates).all():
            raise ValueError(f"--drift must be finite, got {request.drift}")
        if 2 * request.margin >= min(sizes):
            raise ValueError(f"--margin must leave room for spots, got {request.margin:g} on each side of {sizes}")
        if request.output.suffix.lower() not in _FORMATS:
            raise ValueError(f"{request.output}: the name of the image must end with {', '.join(_FORMATS)}")
        if request.output.suffix.lower() != ".npy" and importlib.util.find_spec("tifffile") is None:
            raise ValueError(f"{request.output}: TIFF files need tifffile: pip install 'npsubpix[app]'")
        check_place(request.output)
        for truth in request.truths:
            check_table_path(truth)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return sizes


def _write_frames(
    request: SimulateRequest, shape: tuple[int, ...], coords: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Write frames one by one, as float32."""
    from npsubpix import Camera, simulate_spots
    from npsubpix._tables import replacing

    camera = Camera(**request.camera) if request.camera else None

    def frames() -> Any:
        for number in range(request.frames):
            rows = slice(number * request.spots, (number + 1) * request.spots)
            yield simulate_spots(
                shape,
                coords[rows],
                flux=request.flux,
                sigma=request.sigma,
                background=request.background,
                camera=camera,
                rng=rng,
            ).astype(np.float32)

    whole = (request.frames, *shape) if request.frames > 1 else shape
    with replacing(request.output) as temporary:
        if request.output.suffix.lower() == ".npy":
            saved = np.lib.format.open_memmap(temporary, "w+", np.float32, whole)
            for number, image in enumerate(frames()):
                saved[number if request.frames > 1 else ...] = image
            saved.flush()
            return
        import tifffile

        axes = "T" * (request.frames > 1) + "ZYX"[-len(shape) :]
        tifffile.imwrite(
            temporary, frames(), shape=whole, dtype=np.float32, metadata={"axes": axes}, photometric="minisblack"
        )
