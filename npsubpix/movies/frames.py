"""A frame that is larger than memory: how it is searched, and what a worker needs to work on a tile of it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, ClassVar

import numpy as np

from npsubpix._arrays.checks import check_mask
from npsubpix._arrays.home import home_of
from npsubpix._arrays.lazy import bytes_as_text
from npsubpix._arrays.library import HostArray, is_array, without_booleans
from npsubpix._arrays.stacks import stack_of
from npsubpix._definitions.peaks import PeakSearch, with_defaults
from npsubpix._definitions.refinement import Noise, Refinement, noise_of
from npsubpix._dispatch.tiles import Box, MeshOfFrame, bound_of_values, halo_of
from npsubpix.camera import noise_of_pixels
from npsubpix.movies.detection import Filter, filter_of
from npsubpix.movies.jobs import Sent
from npsubpix.movies.maps import StoredMap, changed, part_of
from npsubpix.movies.plans import frame_bytes
from npsubpix.movies.sources import Movie
from npsubpix.movies.tasks import Task
from npsubpix.movies.windows import window
from npsubpix.peaks import check_joint, check_search, find_peaks
from npsubpix.refinement import with_fit
from npsubpix.results import Background

__all__ = [
    "Frame",
    "Parted",
    "count_of_noise_maps",
    "frame_of",
    "has_unusable_noise",
    "in_whole",
    "map_of_frame",
    "noise_in",
    "noise_of_fit",
    "noise_of_part",
    "slices",
    "volume",
    "with_mesh",
]

#: Maps that a mesh stands for.
_MESHES = {"background": "level", "sigma": "noise"}


@dataclasses.dataclass(frozen=True)
class Parted:
    """A frame of which parts are read, with its maps: numbers, or arrays of its shape."""

    movie: Movie | Sent
    number: int
    shape: tuple[int, ...]
    maps: dict[str, Any]
    halo: tuple[int, ...]
    memory: int

    #: What is said if there is no memory for a tile.
    advice: ClassVar[str] = ""

    @property
    def sight(self) -> tuple[int, ...]:
        """How far a tile sees beyond its core, per axis."""
        return self.halo

    def read(self, box: Box) -> HostArray:
        """Read a part of the frame, as a stack of one."""
        movie = self.movie.get() if isinstance(self.movie, Sent) else self.movie
        own = movie.read(self.number, self.number + 1, slices(box))[0]
        pixels = without_booleans(np.asarray(own))
        return stack_of(home_of(pixels), pixels, None)

    def widened(self, core: Box, halo: tuple[int, ...]) -> Box:
        """Return a part with a halo around it, as far as the frame goes."""
        return tuple((max(b - h, 0), min(e + h, n)) for (b, e), h, n in zip(core, halo, self.shape, strict=True))

    def map_of(self, name: str, box: Box) -> HostArray | None:
        """Return a map in a part of the frame, flat; a number as an array of one."""
        value = self.maps.get(name)
        if value is None:
            return None
        if isinstance(value, MeshOfFrame):
            return value.at(_MESHES[name], volume(box)).reshape(-1)
        if np.size(value) == 1 and np.ndim(value) < 2:
            return np.asarray(value, np.float64).reshape(1)
        cut = np.ascontiguousarray(part_of(value, slices(box)))
        return cut if name == "mask" else stack_of(home_of(cut), cut, None).reshape(-1)


@dataclasses.dataclass(frozen=True)
class Frame(Parted):
    """A frame, how it is searched, and where its pixels come from: all that a worker needs but the tile.

    Its maps are the mask, the background, sigma, and the noise of pixels.
    """

    search: PeakSearch
    refinement: Refinement
    noise: tuple[Any, Any, Any, Any]
    bound: float | None
    fit: dict[str, Any] | None
    psf: Any = None  # samples of the model by which candidates are refined
    filter: Filter | None = None  # of the image in which peaks are sought

    @property
    def sight(self) -> tuple[int, ...]:
        """How far a tile sees beyond its core, per axis."""
        reach = (0,) * len(self.shape) if self.filter is None else self.filter.reach
        return tuple(h + r for h, r in zip(self.halo, reach, strict=True))


def frame_of(movie: Movie, sent: Movie | Sent, task: Task, number: int, memory: int) -> Frame:
    """Return how a frame is searched; refuse what cannot be done in tiles."""
    options = {**_defaults(), **task.options}
    size = bytes_as_text(frame_bytes(movie, task))
    whole = f"{movie.source.name}: a frame, of shape {movie.shape}, takes about {size} to "
    whole += "work on, more than max_memory, and %s needs the whole frame at once: raise max_memory"
    if not isinstance(task.name, str):
        raise ValueError(whole % "a function as the task")
    if options["mode"] is not None:
        raise ValueError(whole % f"mode={options['mode']!r}")
    if not isinstance(options["detect"], (str, type(None))):
        raise ValueError(whole % "detect, if it is no name of a filter,")
    own_filter = filter_of(options, movie.shape)
    own_maps = functools.partial(map_of_frame, ndim=len(movie.shape))
    options = changed(options, own_maps)
    fit = None if task.fit is None else changed(task.fit, own_maps)
    background, sigma, mask = options["background"], options["sigma"], options["mask"]
    if task.boxes is not None:
        background = None  # which is measured first
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    names = inspect.signature(check_search).parameters
    search, refinement = check_search(len(movie.shape), **{n: options[n] for n in names if n != "ndim"})
    if refinement.method == "saddle" and own_filter is None:
        raise ValueError("refine='saddle' needs detect, as maxima are no saddles")
    error, camera = options["error"], options["camera"]
    refinement, psf = with_fit(refinement, "refine", options["fit"], options["radius"], error, camera, movie.shape)
    check_joint(refinement, options["num_peaks"])
    is_known = error is None and camera is None and own_filter is None
    noise = noise_of_pixels(*((sigma, None, "sigma") if is_known else (error, camera)))
    own = {"mask": mask, "background": background, "sigma": sigma}
    for name, value in (
        *own.items(),
        *zip(("error", "offset", "electrons_per_count", "read_variance"), noise, strict=True),
    ):
        if is_array(value) and tuple(value.shape) not in ((), movie.shape):
            raise ValueError(f"{name} must be a number or have the shape of a frame, {movie.shape}, got {value.shape}")
    if mask is not None:
        check_mask(mask, movie.shape, "mask")
    halo = halo_of(search.size, movie.shape)
    frame = Frame(
        sent, number, movie.shape, own, halo, memory, search, refinement, noise, search.threshold_abs, fit, psf,
        own_filter,
    )  # fmt: skip
    return _with_maps(frame, background, sigma)


def with_mesh(frame: Frame, mesh: MeshOfFrame) -> Frame:
    """Return a frame with its background, and its noise if that is not known, from a mesh."""
    sigma = frame.maps["sigma"]
    known = frame.maps["known_sigma"]
    if not known:
        sigma = mesh
        if frame.filter is None and all(value is None for value in frame.noise):
            frame = dataclasses.replace(frame, noise=(mesh, None, None, None))
    return _with_maps(frame, mesh, sigma)


def _with_maps(frame: Frame, background: Any, sigma: Any) -> Frame:
    """Return a frame with background and noise, and the value that all peaks exceed."""
    search = frame.search
    level, spread = with_defaults(background, sigma)
    bound = search.threshold_abs
    if level is not None:
        signs = (1, -1) if search.minima else (1,)
        bound = bound_of_values(_ends(level, "level"), _ends(spread, "noise"), search.threshold_abs, signs)
    maps = {**frame.maps, "background": level, "sigma": spread, "known_sigma": sigma is not None}
    return dataclasses.replace(frame, maps=maps, bound=bound)


def has_unusable_noise(frame: Frame) -> bool:
    """Whether the noise that was given lets no pixel of a frame be a peak."""
    return frame.maps["known_sigma"] and not (_ends(frame.maps["sigma"], "noise") >= 0).any()


def _ends(value: Any, name: str) -> HostArray:
    """Return numbers of which the least and the greatest are those of a map, or beyond."""
    if isinstance(value, MeshOfFrame):
        return value.ends_of(name)
    if isinstance(value, StoredMap):
        return value.ends()
    return np.asarray(value, np.float64 if np.ndim(value) == 0 else None).reshape(-1)


def map_of_frame(_: str, value: Any, ndim: int) -> Any:
    """Return the map of a frame from one of a block of a single frame."""
    return value[0] if is_array(value) and np.ndim(value) == ndim + 1 and len(value) == 1 else value


def _defaults() -> dict[str, Any]:
    parameters = inspect.signature(find_peaks).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def volume(box: Box) -> Box:
    """Return a part of an image or a volume along z, y and x."""
    return (*((0, 1),) * (3 - len(box)), *box)


def slices(box: Box) -> tuple[slice, ...]:
    """Return the slices of a part of a frame."""
    return tuple(slice(begin, end) for begin, end in box)


def noise_of_fit(frame: Frame, box: Box) -> tuple[Any, ...]:
    """Return the noise of a fit in a part of the frame: numbers, None, or maps of the part in float64.

    It is the error, and offset, electrons per count, read variance and EM gain of the camera; the latter is 1 if a map
    of electrons per count is divided by it.
    """
    assert frame.fit is not None
    camera = frame.fit.get("camera")
    values = frame.fit.get("error"), *((None,) * 4 if camera is None else vars(camera).values())
    error, offset, factor, variance, gain = (_floats(value, box) for value in values)
    if np.ndim(factor) or np.ndim(gain):
        factor, gain = factor / gain, 1
    return error, offset, factor, variance, gain


def _floats(value: Any, box: Box) -> Any:
    if not is_array(value) or np.ndim(value) == 0:
        return value
    cut = np.ascontiguousarray(part_of(value, slices(box)))
    return stack_of(home_of(cut), cut, None)[0].astype(np.float64, copy=False)


def count_of_noise_maps(frame: Frame) -> int:
    """Return of how many maps of the noise work on a tile needs arrays of the whole frame."""
    values: list[Any] = list(frame.noise)
    if frame.fit is not None:
        camera = frame.fit.get("camera")
        values += [frame.fit.get("error"), *(() if camera is None else vars(camera).values())]
    return sum(isinstance(v, MeshOfFrame) or (is_array(v) and np.ndim(v) > 0) for v in values)


def in_whole(frame: Frame, box: Box, value: Any) -> Any:
    """Return a map of a part of the frame in an array of all of it; a number as it is."""
    return window(frame.shape, slices(box), value) if np.ndim(value) == len(frame.shape) else value


def noise_in(frame: Frame, box: Box) -> Noise | None:
    """Return the noise of pixels, in arrays of the whole frame that hold the tile."""
    noise = noise_of_part(frame, box)
    return None if noise is None else Noise(*(in_whole(frame, box, value).reshape(-1) for value in noise))


def noise_of_part(frame: Frame, box: Box) -> Noise | None:
    """Return the noise of pixels in a part of the frame: numbers in arrays of one, or maps of the part."""
    return noise_of(*(_noise_at(value, box) for value in frame.noise))


def _noise_at(value: Any, box: Box) -> HostArray | None:
    if value is None:
        return None
    if isinstance(value, MeshOfFrame):
        return value.at("noise", volume(box)).reshape([end - begin for begin, end in box])
    return part_of(value, slices(box)) if is_array(value) and np.ndim(value) > 0 else np.array([float(value)])
