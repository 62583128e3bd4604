"""From frames of single molecules to a super-resolution picture, and a comparison with other fits."""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])

# [read]
with npsubpix.open_image(DATA / "origami.tif") as file:
    movie = file.read()
print(f"{movie.shape[0]} frames of {movie.shape[1]} x {movie.shape[2]} pixels, {movie.dtype}")
# [end]

# [camera]
camera = npsubpix.Camera(offset=0, electrons_per_count=1, read_variance=0)
# [end]

# [find]
peaks = npsubpix.find_peaks(movie, detect="dog", detect_sigma=0.85, threshold_abs=8, frame_axis=0)
fits = npsubpix.fit_spots(movie, peaks, camera=camera, frame_axis=0)
print(fits)
# [end]

# [select]
good = fits[fits.ok & (fits.coords_std.max(axis=1) < 0.05)]
nanometres = 160 * np.median(good.coords_std)
print(f"{len(good)} of {len(fits)} molecules are used; median standard error {nanometres:.1f} nm")
# [end]

# [render]
zoom = 64
picture = npsubpix.render_spots(
    zoom * (good.coords + 0.5) - 0.5, (zoom * 32, zoom * 32), std=zoom * good.coords_std, integrate=True
)
# [end]

# [compare]
with (DATA / "origami_picasso.csv").open() as file:
    rows = list(csv.DictReader(file))
other = np.array([[float(row["y"]), float(row["x"])] for row in rows])
bound = np.array([[float(row["lpy"]), float(row["lpx"])] for row in rows])
frame = np.array([int(row["frame"]) for row in rows])
reference = npsubpix.Peaks(
    other, np.ones(len(other)), np.rint(other).astype(int), np.zeros(len(other), np.int32), frame
)
agreement = npsubpix.assess(fits, reference, radius=0.5)
print(agreement)
ratio = fits.coords_std[agreement.found_rows] / bound[agreement.truth_rows]
print(f"standard errors here by those of Picasso: {np.median(ratio):.3f}")
# [end]

# [sites]
sites = np.loadtxt(DATA / "origami_sites.csv", delimiter=",", skiprows=1)
away = good.coords[:, None] - sites
nearest = np.hypot(*away.T).argmin(axis=0)
errors = (good.coords - sites[nearest]) / good.coords_std
distance = 160 * np.sqrt(np.mean((good.coords - sites[nearest]) ** 2))
print(f"distance from the nearest site: {distance:.1f} nm along an axis,")
print(f"{np.sqrt(np.mean(errors**2)):.2f} standard errors")
# [end]

# [draw]
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
axes[0].imshow(movie.max(axis=0), cmap="gray")
axes[0].set(title="Brightest of 100 frames", xlabel="x (pixels)", ylabel="y (pixels)")
for ax, (row, column) in zip(axes[1:], [(5.5, 5.5), (5.5, 15.5), (25.5, 25.5)], strict=True):
    ax.imshow(picture, cmap="inferno", vmax=0.3 * picture.max(), extent=(-0.5, 31.5, 31.5, -0.5))
    ax.plot(sites[:, 1], sites[:, 0], "o", mfc="none", mec="white", ms=9, mew=0.5)
    ax.set(xlim=(column - 0.35, column + 0.35), ylim=(row + 0.35, row - 0.35), xticks=[], yticks=[])
    ax.set_title(f"Origami at ({row}, {column}), {0.7 * 160:.0f} nm")
figure.savefig(OUT / "single_molecules.png", dpi=110, bbox_inches="tight")
# [end]
