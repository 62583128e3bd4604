"""From a movie of beads to their tracks, and how they diffuse."""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from laptrack import LapTrack

import npsubpix

OUT, folder = Path(sys.argv[1]), Path(tempfile.mkdtemp())

# [movie]
rng = np.random.default_rng(1)
start = np.stack(np.mgrid[20:180:32, 20:240:32], axis=-1).reshape(-1, 2) + rng.uniform(-6, 6, (35, 2))
steps = rng.normal(0, 0.8, (60, 35, 2)) + np.array([0.05, 0.15])  # diffusion of 0.32 pixels² per frame, and a flow
truth = start + np.cumsum(steps, axis=0)
frame = np.repeat(np.arange(60), 35)
movie = npsubpix.simulate_spots(
    (60, 192, 256), truth.reshape(-1, 2), flux=900, sigma=1.6, background=20, rng=rng, frame=frame, frame_axis=0
)
np.save(folder / "beads.npy", movie.astype(np.uint16))
# [end]

# [find]
with npsubpix.open_image(folder / "beads.npy") as file:
    movie = file.read()
peaks = npsubpix.find_peaks(movie, detect="gaussian", detect_sigma=1.6, threshold_abs=8, frame_axis=0)
fits = npsubpix.fit_spots(movie, peaks, camera=npsubpix.Camera(), frame_axis=0)
good = fits[fits.ok]
print(f"{len(good)} of {len(fits)} spots are ok; median standard error {np.median(good.coords_std):.3f} pixels")
# [end]

# [link]
tracks, *_ = LapTrack(cutoff=5**2, gap_closing_cutoff=5**2).predict_dataframe(
    good.to_pandas(), coordinate_cols=["y", "x"], only_coordinate_cols=False
)
tracks = tracks.reset_index().sort_values(["track_id", "frame"])
tracks.to_csv(folder / "tracks.csv", index=False)
lengths = tracks.groupby("track_id").size()
print(f"{len(lengths)} tracks, {int((lengths > 30).sum())} of more than 30 frames")
print(tracks[["track_id", "frame", "y", "x", "y_std", "x_std", "flux"]].head().round(3).to_string(index=False))
# [end]

# [spread]
lags = np.arange(1, 9)
squares = []
for lag in lags:
    moved = tracks.merge(tracks.assign(frame=tracks["frame"] - lag), on=["track_id", "frame"], suffixes=("", "_later"))
    away = (moved[["y_later", "x_later"]].to_numpy() - moved[["y", "x"]].to_numpy()).T
    squares.append(away.var(axis=1).sum())  # the variance leaves out the flow
noise = 2 * (tracks[["y_std", "x_std"]] ** 2).sum(axis=1).mean()  # of both positions of a step
print(f"diffusion {(squares[0] - noise) / 4:.3f} square pixels per frame; 0.320 in the simulation")
# [end]

# [draw]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
axes[0].imshow(movie[0], cmap="gray")
for _, track in tracks.groupby("track_id"):
    axes[0].plot(track["x"], track["y"], lw=1)
axes[0].set(title="tracks on the first frame", xlabel="x (pixels)", ylabel="y (pixels)")
axes[1].plot(lags, squares, "o", label="found")
axes[1].plot(lags, 4 * 0.32 * lags + noise, color="gray", label="simulated, with standard errors")
axes[1].set(xlabel="lag (frames)", ylabel="mean squared displacement (pixels²)", xlim=(0, None), ylim=(0, None))
axes[1].legend()
figure.savefig(OUT / "tracks.png", dpi=100)
# [end]
