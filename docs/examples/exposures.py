"""From exposures of a turning telescope to one deep image: aligned by their stars, and coadded without cosmic rays."""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

import npsubpix

OUT, SIDE = Path(sys.argv[1]), 200

# [simulate]
rng = np.random.default_rng(6)
stars, flux = rng.uniform(-60, SIDE + 60, (220, 2)), 150 * (rng.pareto(1.3, 220) + 0.5)
folder = Path(tempfile.mkdtemp())
for number in range(7):
    angle = np.deg2rad(180 if number > 3 else 0) + rng.normal(0, 0.03)  # the meridian flip of a mount
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (stars - SIDE / 2) @ turn.T + SIDE / 2 + rng.normal(0, 6, 2) if number else stars
    width = rng.uniform(1.3, 1.8)  # of the seeing
    image = rng.poisson(100 + npsubpix.render_spots(places, (SIDE, SIDE), std=width, amplitude=flux)).astype(np.float32)
    image[tuple(rng.integers(0, SIDE, (2, 30)))] += rng.exponential(2000, 30)  # cosmic rays
    sky = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 202.47, "CRVAL2": 47.2, "CDELT1": -3e-4,
               "CDELT2": 3e-4, "CRPIX1": 100.5, "CRPIX2": 100.5})  # fmt: skip
    fits.writeto(folder / f"night{number}.fits", image, sky.to_header() if number == 0 else None)
# [end]

# [align]
exposures = sorted(folder.glob("night*.fits"))
frames = [fits.getdata(path) for path in exposures]
results = npsubpix.align_stack(frames, model="euclidean", init="stars")
for path, result in zip(exposures, results, strict=True):
    (y, x), error = result.shift, result.shift_std.max()
    print(f"{path.name}  {y:7.3f} {x:7.3f} +- {error:.3f} px  {np.rad2deg(result.angle):8.3f} degrees  ok: {result.ok}")
print(npsubpix.coadd(frames, results, method="clip"))
# [end]

# [command]
command = (
    "npsubpix align night0.fits night0.fits night1.fits night2.fits night3.fits night4.fits night5.fits night6.fits"
)
command += " --model euclidean --stars --stack clip --output deep.fits --table shifts.csv"
arguments = [sys.executable, "-m", "npsubpix", *command.split()[1:]]
shown = subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout
print(f"\n$ {command}\n{shown}")
with fits.open(folder / "deep.fits") as file:
    file.info()
    deep = file[0].data
    print(WCS(file[0].header).pixel_to_world(99.5, 99.5))
# [end]

# [noise]
single = npsubpix.local_background(frames[0], 40).noise.mean()
print(f"noise of an exposure {single:.2f}, of the sum {npsubpix.local_background(deep, 40).noise.mean():.2f}")
# [end]

# [draw]
figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for ax, pixels, title in zip(axes, (frames[0], deep), ("one exposure", "seven, coadded"), strict=True):
    ax.imshow(pixels, cmap="gray", origin="lower", vmin=80, vmax=180)
    ax.set(title=title, xticks=[], yticks=[])
figure.savefig(OUT / "exposures.png", dpi=110, bbox_inches="tight")
# [end]
