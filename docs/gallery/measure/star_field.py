"""
Stars: centroids, fluxes and sky coordinates
============================================

Stars in front of a galaxy are found, measured, and placed on the sky to a fraction of an arcsecond.

The image is M51 in blue light, 512 × 512 pixels of a photograph of 1987. Its background varies by a factor of six. The
positions and magnitudes that IRAF's ``starfind`` measured in the same image, and the sky coordinates of five stars of
the Guide Star Catalog, tell how right the results are.
"""

import csv
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import fit_wcs_from_points

import npsubpix

DATA = Path("../../data")  # of the repository, seen from the folder of this script

# %%
# Image and background
# --------------------
#
# `npsubpix.local_background` measures the background, and the noise around it, in boxes of 32 × 32 pixels.

with npsubpix.open_image(DATA / "m51.fits.gz") as file:
    image = file.read().astype(np.float32)
background = npsubpix.local_background(image, 32)
low, high = background.level.min(), background.level.max()
print(f"{image.shape[0]} x {image.shape[1]} pixels, background from {low:.0f} to {high:.0f}")

# %%
# Find and fit
# ------------
#
# The difference of two Gaussians removes what is left of the galaxy, and ``threshold_abs`` is in units of the noise of
# the filtered image. Nothing is known of the camera, so that `npsubpix.fit_spots` fits by least squares, with a
# background that may be inclined.

peaks = npsubpix.find_peaks(image - background.level, detect="dog", detect_sigma=1.3, threshold_abs=20)
fits = npsubpix.fit_spots(image, peaks, background="plane", sigma=1.3)
print(fits)

# %%
# Fluxes
# ------
#
# Fluxes in an aperture do not depend on the shape of a star. The background of each is that of an annulus around it,
# and the noise of a star's own light is measured from all of them.

spots = npsubpix.measure_spots(image, fits, radius=4)
print(spots)

# %%
# Positions against the catalogue
# -------------------------------
#
# Positions of the catalogue are centroids. The image of a star is not quite symmetric here, so that a Gaussian and a
# centroid disagree by more than their standard errors, which are those of noise; centroids with a window of about the
# size of IRAF's come closer. `npsubpix.assess` counts everything that is not in the catalogue as false: those rows are
# stars and knots of the galaxy that are fainter or wider than IRAF was asked for.

with (DATA / "m51_starfind.csv").open() as file:
    rows = list(csv.DictReader(file))
catalogue = np.array([[float(row["y0"]), float(row["x0"])] for row in rows])
magnitude = np.array([float(row["mag"]) for row in rows])
good = fits.ok
print(npsubpix.assess(fits[good], catalogue, radius=0.5))
centroids = npsubpix.refine_peaks(image - background.level, fits, method="centroid", radius=4)
print(npsubpix.assess(centroids[good & centroids.ok], catalogue, radius=0.5))

# %%
# Magnitudes have an arbitrary zero in both tables, whose median difference is subtracted. Two objects differ by more
# than a tenth of a magnitude: the nucleus of the galaxy, and a knot that is wider than a star, whose fit is flagged
# ``POOR_FIT``.

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

# %%
# Sky coordinates
# ---------------
#
# Five stars of the Guide Star Catalog give the plate solution. Each belongs to the fit nearest to the pixel at which
# IRAF's manual shows it. `astropy <https://docs.astropy.org/en/stable/wcs/>`_ counts pixels from 0, as this library
# does, with x first.

with (DATA / "m51_gsc.csv").open() as file:
    guide = SkyCoord([f"{row['ra']} {row['dec']}" for row in csv.DictReader(file)], unit=(u.hourangle, u.deg))
seen = np.array([[409.38, 326.50], [61.10, 464.50], [408.65, 441.01], [130.20, 223.35], [355.33, 133.37]])
used = [np.hypot(*(fits.coords - place).T).argmin() for place in seen]
y, x = fits.coords[used].T
wcs = fit_wcs_from_points((x, y), guide, projection="TAN")
residual = wcs.pixel_to_world(x, y).separation(guide).arcsec
height, width = wcs.proj_plane_pixel_scales()
print(f"a pixel is {width.to_value(u.arcsec):.3f} x {height.to_value(u.arcsec):.3f} arcseconds")
print(f"the five stars are {np.sqrt(np.mean(residual**2)):.2f} arcseconds from the catalogue (rms)")
print("their flags:", ", ".join(np.array(fits.flag_names())[used]))

# %%
# With it, each row has a place on the sky. Its standard error in pixels becomes one in milliarcseconds, of the place
# relative to other stars of the image: the plate solution itself is no better than the catalogue.

stars = fits[good]
order = np.argsort(-stars.flux)[:8]
y, x = stars.coords.T
sky = wcs.pixel_to_world(x, y)
for k in order:
    error = 1000 * width.to_value(u.arcsec) * stars.coords_std[k].max()
    print(f"{sky[k].to_string('hmsdms', precision=2)}  +- {error:3.0f} mas  flux {stars.flux[k]:8.0f}")

# %%
# The picture
# -----------
#
# The brightness is compressed by an inverse hyperbolic sine, as astronomers do.

figure = plt.figure(figsize=(7.2, 6.6))
axes = figure.add_subplot(projection=wcs)
axes.imshow(np.arcsinh((image - 40) / 40), cmap="gray", origin="lower", vmin=0, vmax=5)
axes.plot(stars.coords[:, 1], stars.coords[:, 0], "o", mfc="none", mec="#e69f00", ms=9, mew=1, label="found")
axes.plot(catalogue[:, 1], catalogue[:, 0], "s", mfc="none", mec="#56b4e9", ms=14, mew=1.2, label="IRAF's starfind")
axes.plot(fits.coords[used, 1], fits.coords[used, 0], "+", color="#f0e442", ms=9, label="guide stars")
axes.set(xlabel="right ascension (J2000)", ylabel="declination (J2000)", title="M51 and the stars before it")
axes.legend(loc="upper left", labelcolor="white", facecolor="black", framealpha=0.6, frameon=True)
figure.show()

# %%
# Fluxes agree over three magnitudes, but for the nucleus and the knot:

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6, 5.5), height_ratios=[2, 1], sharex=True)
other = 10 ** (-0.4 * (magnitude[known] + offset))
upper.errorbar(other, spots.flux[found], spots.flux_std[found], fmt="o", ms=5)
upper.plot([other.min(), other.max()], [other.min(), other.max()], lw=1, color="gray", zorder=0)
upper.set(xscale="log", yscale="log", ylabel="flux in 4 pixels\n(counts)")
poor = ~fits.ok[found]
for subset, name, colour, marker in ((~poor, "ok", "#0072b2", "o"), (poor, "flagged", "#d55e00", "s")):
    error = 1.086 * spots.flux_std[found] / spots.flux[found]
    lower.errorbar(
        other[subset], difference[subset] - offset, error[subset], fmt=marker, color=colour, ms=5, label=name
    )
lower.axhline(0, lw=1, color="gray", zorder=0)
lower.set(xlabel="flux of the catalogue, scaled (counts)", ylabel="difference\n(magnitudes)")
lower.legend(loc=(0.5, 0.55))
figure.show()
