"""
Single molecules: a super-resolved picture
==========================================

One hundred blurred frames of blinking molecules become a picture in which sites 20 nm apart are separate.

The frames, 32 × 32 pixels of 160 nm, show DNA origami whose sites light up one at a time. They were simulated by
`Picasso <https://github.com/jungmannlab/picasso>`_, so that the sites are known; Picasso's own fits of the frames are
known too.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

DATA = Path("../../data")  # of the repository, seen from the folder of this script

# %%
# Read
# ----

with npsubpix.open_image(DATA / "origami.tif") as file:
    movie = file.read()
print(f"{movie.shape[0]} frames of {movie.shape[1]} x {movie.shape[2]} pixels, {movie.dtype}")

# %%
# A pixel's photons are its counts in this simulation. Of a real camera, take the offset and the electrons per count
# from its data sheet or from `npsubpix.estimate_camera`.

camera = npsubpix.Camera(offset=0, electrons_per_count=1, read_variance=0)

# %%
# Find and fit
# ------------
#
# A filter of the size of a molecule finds the spots: ``threshold_abs`` is then in units of the noise of the filtered
# frame. Fits begin at these positions, in the frame itself, and use maximum likelihood, since the camera is known.

peaks = npsubpix.find_peaks(movie, detect="dog", detect_sigma=0.85, threshold_abs=8, frame_axis=0)
fits = npsubpix.fit_spots(movie, peaks, camera=camera, frame_axis=0)
print(fits)

# %%
# Rows that are not ``ok`` and molecules with large errors are left out:

good = fits[fits.ok & (fits.coords_std.max(axis=1) < 0.05)]
nanometres = 160 * np.median(good.coords_std)
print(f"{len(good)} of {len(fits)} molecules are used; median standard error {nanometres:.1f} nm")

# %%
# Render
# ------
#
# Each molecule is drawn as a Gaussian as wide as its standard error, on pixels of 2.5 nm. The centre of the first
# pixel is 0 in both pictures, so that a position p becomes 64 (p + 0.5) − 0.5.

zoom = 64
picture = npsubpix.render_spots(
    zoom * (good.coords + 0.5) - 0.5, (zoom * 32, zoom * 32), std=zoom * good.coords_std, integrate=True
)

# %%
# The nine origami are alike, ten pixels from each other. Placed upon each other they show their design, three by four
# sites, of which a camera's pixel is larger than any distance between two neighbours:

within = good.coords - (10 * np.floor(good.coords / 10) + 5.5)
fine, side = 400, 360
design = npsubpix.render_spots(fine * within + (side - 1) / 2, (side, side), std=fine * good.coords_std)
reach = side / fine / 2
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 4.6))
left.imshow(movie.mean(axis=0), cmap="inferno", interpolation="nearest")
left.set(title="mean of 100 frames", xlabel="x (pixels of 160 nm)", ylabel="y (pixels of 160 nm)")
left.add_patch(plt.Rectangle((5.5 - reach, 5.5 - reach), 2 * reach, 2 * reach, fill=False, color="white", lw=1.5))
left.text(5.5, 7.4, "one origami", color="white", ha="center", va="top")
right.imshow(design, cmap="inferno", vmax=0.5 * design.max(), extent=(-reach, reach, reach, -reach))
right.set(title="molecules of all origami in such a square", xticks=[], yticks=[])
right.plot([0.28, 0.28 + 20 / 160], [0.41] * 2, color="white", lw=3)
right.text(0.28 + 10 / 160, 0.39, "20 nm", color="white", ha="center", va="bottom")
figure.show()

# %%
# Compare
# -------
#
# The true sites, and Picasso's fits of the same frames, tell whether the errors can be believed:

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

# %%
# Positions of both programs differ by a thousandth of a pixel, and standard errors by less than a percent. The row that
# is "false" is a fit that Picasso's table does not have. Distances from the true sites are, as they should be, about
# one standard error:

sites = np.loadtxt(DATA / "origami_sites.csv", delimiter=",", skiprows=1)
away = good.coords[:, None] - sites
nearest = np.hypot(*away.T).argmin(axis=0)
errors = (good.coords - sites[nearest]) / good.coords_std
distance = 160 * np.sqrt(np.mean((good.coords - sites[nearest]) ** 2))
print(f"distance from the nearest site: {distance:.1f} nm along an axis,")
print(f"{np.sqrt(np.mean(errors**2)):.2f} standard errors")

# %%
# White circles are the true sites of three origami. Those without light bound no molecule within these 100 frames.

extent = (-0.5, 31.5, 31.5, -0.5)
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, (row, column) in zip(panels, [(5.5, 5.5), (5.5, 15.5), (25.5, 25.5)], strict=True):
    ax.imshow(picture, cmap="inferno", vmax=0.3 * picture.max(), extent=extent, interpolation="bilinear")
    ax.plot(sites[:, 1], sites[:, 0], "o", mfc="none", mec="white", ms=11, mew=0.8)
    ax.set(xlim=(column - 0.35, column + 0.35), ylim=(row + 0.35, row - 0.35), xticks=[], yticks=[])
    ax.set_title(f"origami at ({row}, {column}), {0.7 * 160:.0f} nm")
figure.show()

# %%
# ``fits.to_pandas()`` and ``fits.save("molecules.csv")`` hand the table on, and ``fits.to_picasso("locs.hdf5", ...)``
# gives it to Picasso.
