"""Blobs of any size: galaxies of the Hubble deep field, beads in and out of focus, and a volume."""

import sys
from pathlib import Path

import numpy as np
import skimage.data

import npsubpix
from npsubpix.plotting import draw_peaks, new_figure

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])

# [galaxies]
sky = skimage.data.hubble_deep_field().mean(axis=-1)
galaxies = npsubpix.find_blobs(sky, 1.5, 25, threshold_abs=12)
print(galaxies)
draw_peaks(sky, galaxies).savefig(OUT / "blobs_galaxies.jpg")
# [end]

# [beads]
with npsubpix.open_image(DATA / "beads.png") as file:
    frame = file.read(...)
beads = npsubpix.find_blobs(frame, 1.5, 6, dark=True, threshold_abs=10)
print(beads)
draw_peaks(frame, beads).savefig(OUT / "blobs_beads.png")
# [end]

# [volume]
with npsubpix.open_image(DATA / "cluster.tif") as file:
    volume = file.read(...)
    spacing = tuple(file.pixel_size[axis][0] for axis in file.axes)
particles = npsubpix.find_blobs(volume, 0.3, 1.2, spacing=spacing, threshold_abs=300)
print(particles)
# [end]
