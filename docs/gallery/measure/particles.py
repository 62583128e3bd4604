"""
Particles in and out of focus, and in a volume
==============================================

Dark beads of different apparent sizes, and two colloidal particles in a confocal stack, with their radii.

Both are real images: beads from the tests of `trackpy <https://github.com/soft-matter/trackpy>`_, and a stack from
those of `PIMS <https://github.com/soft-matter/pims>`_.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import npsubpix
from npsubpix.plotting import draw_peaks

DATA = Path("../../data")  # of the repository, seen from the folder of this script

# %%
# Beads
# -----
#
# They are dark on bright ground, ``dark=True``, and those out of focus are larger:

with npsubpix.open_image(DATA / "beads.png") as file:
    frame = file.read()
beads = npsubpix.find_blobs(frame, 1.5, 6, dark=True, threshold_abs=8)
beads = beads[beads.ok]
print(beads)

figure, ax = plt.subplots(figsize=(7.2, 5.4))
draw_peaks(frame, beads, ax=ax)
ax.set_title(f"{len(beads)} beads, each with its radius")
figure.show()

# %%
# A volume
# --------
#
# Voxels are 0.5 × 0.168 × 0.168 µm. With ``spacing``, the smallest and the greatest standard deviation are in its unit;
# the table stays in pixels, with a size per axis.

with npsubpix.open_image(DATA / "cluster.tif") as file:
    volume, size = file.read(), file.pixel_size
spacing = [size[axis][0] for axis in "zyx"]  # in micrometres
particles = npsubpix.find_blobs(volume, 0.4, 1.2, spacing=spacing, threshold_abs=2500)
print(particles)
print("radii in micrometres:", (particles.radius * spacing).round(2).tolist())

# %%
# The stack ends less than two and a half standard deviations above or below the particles, where nothing is known of
# their light: they are flagged ``AT_BORDER``, and their sizes are estimates. They move while the slices are taken.

slices = range(1, 7)
width, height = volume.shape[2] * spacing[2], volume.shape[1] * spacing[1]
figure, panels = plt.subplots(2, 3, figsize=(8.2, 5), sharex=True, sharey=True)
for z, ax in zip(slices, panels.flat, strict=True):
    half = spacing[1] / 2
    ax.imshow(volume[z], vmax=volume.max(), extent=(-half, width - half, height - half, -half))
    for centre, radius in zip(particles.coords, particles.radius, strict=True):
        cut = 1 - ((z - centre[0]) / radius[0]) ** 2
        if cut > 0:
            place = (centre[2] * spacing[2], centre[1] * spacing[1])
            ax.add_patch(plt.Circle(place, radius[2] * spacing[2] * np.sqrt(cut), fill=False, color="#e69f00", lw=1.5))
    ax.set_title(f"z = {z * spacing[0]:.1f} µm")
for ax in panels[1]:
    ax.set_xlabel("x (µm)")
for ax in panels[:, 0]:
    ax.set_ylabel("y (µm)")
figure.show()
