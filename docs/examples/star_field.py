"""From an image of a galaxy to the positions and fluxes of its stars, and a comparison with a catalogue."""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])

# [read]
with npsubpix.open_image(DATA / "m51.fits.gz") as file:
    image = file.read().astype(np.float32)
background = npsubpix.local_background(image, 32)
low, high = background.level.min(), background.level.max()
print(f"{image.shape[0]} x {image.shape[1]} pixels, background from {low:.0f} to {high:.0f}")
# [end]

# [find]
peaks = npsubpix.find_peaks(image - background.level, detect="dog", detect_sigma=1.3, threshold_abs=20)
fits = npsubpix.fit_spots(image, peaks, background="plane", sigma=1.3)
print(fits)
# [end]

# [measure]
spots = npsubpix.measure_spots(image, fits, radius=4)
print(spots)
# [end]

# [match]
with (DATA / "m51_starfind.csv").open() as file:
    rows = list(csv.DictReader(file))
catalogue = np.array([[float(row["y0"]), float(row["x0"])] for row in rows])
magnitude = np.array([float(row["mag"]) for row in rows])
good = fits.ok
print(npsubpix.assess(fits[good], catalogue, radius=0.5))
centroids = npsubpix.refine_peaks(image - background.level, fits, method="centroid", radius=4)
print(npsubpix.assess(centroids[good & centroids.ok], catalogue, radius=0.5))
# [end]

# [table]
matched = npsubpix.assess(fits, catalogue, radius=1)
found, known = matched.found_rows, matched.truth_rows
difference = -2.5 * np.log10(spots.flux[found]) - magnitude[known]
offset = np.median(difference)
print("      y       x      dy      dx      flux  flux_std  magnitude - IRAF's  flags")
for k, (row, star) in enumerate(zip(found, known, strict=True)):
    (y, x), (dy, dx) = catalogue[star], centroids.coords[row] - catalogue[star]
    print(
        f"{y:7.2f} {x:7.2f}  {dy:+.3f}  {dx:+.3f} {spots.flux[row]:9.0f} {spots.flux_std[row]:9.0f}"
        f" {difference[k] - offset:+19.3f}  {fits.flag_names()[row]}"
    )
# [end]

# [draw]
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
axes[0].imshow(np.arcsinh((image - 40) / 40), cmap="gray", origin="lower")
axes[0].plot(fits.coords[:, 1], fits.coords[:, 0], "o", mfc="none", mec="tab:orange", ms=8, mew=0.6, label="found")
axes[0].plot(catalogue[:, 1], catalogue[:, 0], "s", mfc="none", mec="tab:cyan", ms=12, label="catalogue")
axes[0].legend(loc="upper left")
axes[0].set(xlabel="x (pixels)", ylabel="y (pixels)")
flux = 10 ** (-0.4 * (magnitude[known] + offset))
axes[1].errorbar(flux, spots.flux[found], spots.flux_std[found], fmt="o", ms=4)
axes[1].plot([flux.min(), flux.max()], [flux.min(), flux.max()], lw=1, color="gray")
axes[1].set(
    xscale="log", yscale="log", xlabel="flux of the catalogue, scaled", ylabel="flux in an aperture of 4 pixels"
)
figure.savefig(OUT / "star_field.png", dpi=110, bbox_inches="tight")
# [end]
