"""Drift of a sample, measured from its molecules and from beads, and subtracted."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

OUT = Path(sys.argv[1])

# [movie]
rng = np.random.default_rng(1)
n_frames, n_molecules = 5000, 500
time = np.arange(n_frames) / n_frames
truth = np.column_stack([1.5 * np.sin(3 * time) - time, 2.5 * time**2 + 0.3 * np.cos(9 * time)])
rings = rng.uniform(4, 60, (n_molecules // 10, 1, 2))
angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
molecules = (rings + 0.6 * np.stack([np.sin(angle), np.cos(angle)], axis=1)).reshape(-1, 2)
frame = rng.integers(0, n_frames, 9000)
which = rng.integers(0, n_molecules, 9000)
std = rng.uniform(0.05, 0.15, (9000, 1)) * np.ones(2)
found = molecules[which] + truth[frame] + std * rng.normal(size=std.shape)
table = npsubpix.Peaks(
    found, np.ones(9000), np.rint(found).astype(int), np.zeros(9000, np.int32), frame, coords_std=std
)
# [end]

# [rcc]
drift = npsubpix.drift_of(table)
print(drift)
# [end]

# [apply]
moved = npsubpix.apply_drift(table, drift)
places = molecules[which] + truth[frame].mean(axis=0)
for name, spots in (("before", table), ("after", moved)):
    print(f"{name}: {np.sqrt(((spots.coords - places) ** 2).mean()):.3f} pixels from the molecules")
print(f"standard errors say {np.sqrt((moved.coords_std**2).mean()):.3f}")
# [end]

# [compare]
wrong = drift.shift - (truth[drift.frame] - truth[frame].mean(axis=0))
print(f"error of the drift: {np.sqrt((wrong**2).mean()):.4f} pixels")
print(f"in units of its standard errors: {np.sqrt(((wrong / drift.shift_std) ** 2).mean()):.2f}")
# [end]

# [tracks]
beads = np.array([[10.0, 12.0], [50.0, 20.0], [31.0, 55.0]])
every = np.repeat(np.arange(n_frames), 3)
seen = np.tile(beads, (n_frames, 1)) + truth[every] + rng.normal(0, 0.03, (3 * n_frames, 2))
tracked = npsubpix.drift_of(seen, frame=every, method="tracks")
print(tracked)
wrong = tracked.shift - (truth - truth.mean(axis=0))
print(f"error of the drift: {np.sqrt((wrong**2).mean()):.4f} pixels")
# [end]

# [draw]
figure, (left, *right) = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=[1.6, 1, 1], layout="constrained")
for k, (axis, colour) in enumerate(zip("yx", ("#56b4e9", "#d55e00"), strict=True)):
    left.plot(tracked.frame, tracked.shift[:, k], ",", color=colour, alpha=0.5)
    left.plot(drift.frame, drift.shift[:, k], color=colour, label=axis)
    left.plot(truth[:, k] - truth[frame, k].mean(), "--", color="black", lw=0.8)
left.set(xlabel="frame", ylabel="drift / pixels")
left.legend(frameon=False)
zoom, corner = 16, rings[0, 0] + truth[frame].mean(axis=0) - 4
for axes, (name, spots) in zip(right, (("before", table), ("after", moved)), strict=True):
    shape = (8 * zoom, 8 * zoom)
    picture = npsubpix.render_spots(zoom * (spots.coords - corner), shape, std=zoom * 0.1)
    axes.imshow(picture, cmap="inferno", origin="lower")
    axes.set(title=name, xticks=[], yticks=[])
figure.savefig(OUT / "drift.png", dpi=110)
# [end]
