"""Blobs of any size: galaxies of the Hubble deep field, beads in and out of focus, and a volume."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import npsubpix
from npsubpix.plotting import draw_peaks

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])

# [galaxies]
sky = skimage.data.hubble_deep_field().mean(axis=-1)
galaxies = npsubpix.find_blobs(sky, 1.5, 25, threshold_abs=15)
print(galaxies[galaxies.ok])
draw_peaks(sky, galaxies[galaxies.ok]).savefig(OUT / "blobs_galaxies.jpg")
# [end]

# [beads]
with npsubpix.open_image(DATA / "beads.png") as file:
    frame = file.read()
beads = npsubpix.find_blobs(frame, 1.5, 6, dark=True, threshold_abs=8)
print(beads[beads.ok])
draw_peaks(frame, beads[beads.ok]).savefig(OUT / "blobs_beads.png")
# [end]

# [volume]
with npsubpix.open_image(DATA / "cluster.tif") as file:
    volume, size = file.read(), file.pixel_size
spacing = [size[axis][0] for axis in "zyx"]  # in micrometres
particles = npsubpix.find_blobs(volume, 0.4, 1.2, spacing=spacing, threshold_abs=2500)
print(particles)
print("radii in micrometres:", (particles.radius * spacing).round(2).tolist())
figure, axes = plt.subplots(1, 5, figsize=(10, 2), layout="constrained")
for z, ax in enumerate(axes, 2):
    ax.imshow(volume[z], cmap="gray", vmax=volume.max())
    for centre, radius in zip(particles.coords, particles.radius, strict=True):
        if (cut := 1 - ((z - centre[0]) / radius[0]) ** 2) > 0:
            ax.add_patch(plt.Circle(centre[:0:-1], radius[2] * cut**0.5, fill=False, color="tab:orange"))
    ax.set_title(f"slice {z}")
figure.savefig(OUT / "blobs_volume.png", dpi=110)
# [end]
