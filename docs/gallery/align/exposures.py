"""
Exposures aligned, and added without cosmic rays
================================================

Two exposures of a telescope that turned between them are brought onto each other by their stars; seven become one deep
image.

The exposures are simulated: the mount was flipped, so that half of them are upside down, the seeing varies, and each
has 30 cosmic rays.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

import npsubpix
from npsubpix.plotting import draw_alignment

side = 200
rng = np.random.default_rng(6)
stars, flux = rng.uniform(-60, side + 60, (220, 2)), 150 * (rng.pareto(1.3, 220) + 0.5)
folder = Path(tempfile.mkdtemp())
for number in range(7):
    angle = np.deg2rad(180 if number > 3 else 0) + rng.normal(0, 0.03)  # the meridian flip of a mount
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (stars - side / 2) @ turn.T + side / 2 + rng.normal(0, 6, 2) if number else stars
    width = rng.uniform(1.3, 1.8)  # of the seeing
    image = rng.poisson(100 + npsubpix.render_spots(places, (side, side), std=width, amplitude=flux)).astype(np.float32)
    image[tuple(rng.integers(0, side, (2, 30)))] += rng.exponential(2000, 30)  # cosmic rays
    sky = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 202.47, "CRVAL2": 47.2, "CDELT1": -3e-4,
               "CDELT2": 3e-4, "CRPIX1": 100.5, "CRPIX2": 100.5})  # fmt: skip
    fits.writeto(folder / f"night{number}.fits", image, sky.to_header() if number == 0 else None)

# %%
# Two exposures
# -------------
#
# ``init="stars"`` finds the transform on which the stars of both images agree, at any angle; then the pixels are
# aligned. The result has standard errors, of the shift of the centre and of the angle.

exposures = sorted(folder.glob("night*.fits"))
frames = [fits.getdata(path) for path in exposures]
result = npsubpix.align(frames[0], frames[4], model="euclidean", init="stars")
print(result)

# %%
# The first exposure is orange and the other one, upside down, blue; stars in both are white. Noise is left out of the
# picture, and so are cosmic rays, by a median of 3 × 3 pixels:


def stars_alone(frame):
    """Return what stands out of the noise."""
    return np.sqrt(np.clip(npsubpix.window_median(frame, 3) - 113, 0, 50))


figure, panels = plt.subplots(1, 2, figsize=(9, 4.8))
draw_alignment(stars_alone(frames[0]), stars_alone(frames[4]), result, y_up=True, ax=panels)
figure.show()

# %%
# Seven exposures
# ---------------
#
# `npsubpix.align_stack` aligns a series, and `npsubpix.coadd` adds it up; ``method="clip"`` is a mean without outliers,
# such as cosmic rays.

results = npsubpix.align_stack(frames, model="euclidean", init="stars")
for path, aligned in zip(exposures, results, strict=True):
    (y, x), error = aligned.shift, aligned.shift_std.max()
    degrees = np.rad2deg(aligned.angle)
    print(f"{path.name}  {y:7.3f} {x:7.3f} +- {error:.3f} px  {degrees:8.3f} degrees  ok: {aligned.ok}")
print(npsubpix.coadd(frames, results, method="clip"))

# %%
# The command line does the same from files to a file. The sum has the header and the world coordinates of the first
# exposure, with its coverage, weights and numbers of rejected values as extensions:

command = (
    "npsubpix align night0.fits night0.fits night1.fits night2.fits night3.fits night4.fits night5.fits night6.fits"
    " --model euclidean --stars --stack clip --output deep.fits --table shifts.csv"
)
arguments = [sys.executable, "-m", "npsubpix", *command.split()[1:]]
print(f"$ {command}")
print(subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout)
with fits.open(folder / "deep.fits") as file:
    file.info()
    deep = file[0].data
    print(WCS(file[0].header).pixel_to_world(99.5, 99.5))

# %%
# Faint stars come out of the noise, and the cosmic rays are gone:

single, many = (npsubpix.local_background(pixels, 40).noise.mean() for pixels in (frames[0], deep))
print(f"noise of an exposure {single:.2f}, of the sum {many:.2f}")
figure, panels = plt.subplots(1, 2, figsize=(9.4, 4.3), sharey=True)
for ax, pixels, title in zip(panels, (frames[0], deep), ("one exposure", "seven, coadded"), strict=True):
    shown = ax.imshow(pixels, origin="lower", vmin=80, vmax=180, interpolation="nearest")
    ax.set(title=title, xlabel="x (pixels)")
panels[0].set_ylabel("y (pixels)")
figure.colorbar(shown, ax=panels, label="counts", shrink=0.95)
figure.show()
