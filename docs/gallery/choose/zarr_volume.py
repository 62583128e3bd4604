"""
A Zarr volume on a dask cluster
===============================

A volume that is read chunk by chunk by the workers of a cluster gives the very rows that one call on the array gives.

The volume is small here, and the cluster is in this process. Only two lines differ for one that is not: the path, and
the address of the cluster.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import zarr
from dask.distributed import Client

import npsubpix

# %%
# A volume on the disk
# --------------------
#
# 48 × 192 × 192 voxels with 150 beads, in chunks of 16 × 64 × 64.

rng = np.random.default_rng(5)
shape, chunk = (48, 192, 192), (16, 64, 64)
truth = rng.uniform(5, np.subtract(shape, 6), (150, 3))
light = npsubpix.render_spots(truth, shape, std=1.5, amplitude=4000.0)
store = Path(tempfile.mkdtemp()) / "volume.zarr"
array = zarr.create_array(store, shape=shape, chunks=chunk, dtype="uint16")
array[:] = rng.poisson(light + 4).astype(np.uint16)

# %%
# Locate
# ------
#
# `npsubpix.locate` takes the path, which workers open themselves, the client of the cluster, and the memory that each
# may use. ``frames=False`` says that all of it is one volume. With 8 MB, it is cut into tiles, which end where chunks
# end as far as they can; beads at the seams are found once.

options = {"frames": False, "threshold_abs": 30, "min_distance": 3, "refine": "centroid", "radius": 4}
with Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
    beads = npsubpix.locate(store, executor=client, max_memory="8 MB", **options)
print(beads)

# %%
# The rows are those of one call on the whole volume, bit for bit:

at_once = npsubpix.locate(array[:], **options)
print("the same rows:", np.array_equal(beads.coords, at_once.coords) and np.array_equal(beads.flags, at_once.flags))
result = npsubpix.assess(beads[beads.ok], truth, radius=2)
print(result)

# %%
# The volume from above. Blue lines are the chunks; no bead is lost or found twice at them.

volume = array[:]
figure, ax = plt.subplots(figsize=(6.6, 6))
ax.imshow(volume.max(axis=0), cmap="gray", vmax=np.percentile(volume.max(axis=0), 99.8), interpolation="nearest")
for edge in range(chunk[1], shape[1], chunk[1]):
    ax.axhline(edge - 0.5, color="#56b4e9", lw=1)
    ax.axvline(edge - 0.5, color="#56b4e9", lw=1)
z, y, x = beads.coords.T
dots = ax.scatter(x, y, s=14, c=z, cmap="plasma", vmin=0, vmax=shape[0])
figure.colorbar(dots, label="z (pixels)", shrink=0.85)
chunks = np.prod(np.floor_divide(shape, chunk))
ax.set(xlabel="x (pixels)", ylabel="y (pixels)", title=f"{len(beads)} beads in {chunks} chunks")
figure.show()
