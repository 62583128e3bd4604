"""
Beads tracked through a movie
=============================

From a movie in a file to a table of tracks. Positions of each frame, linked by laptrack, give the diffusion constant of
beads, and the error of a position once more.

Sixteen beads diffuse for 150 frames. They are simulated and saved as a TIFF, so that the diffusion constant is known.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tifffile
from laptrack import LapTrack

import npsubpix

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(4)
n_frames, diffusion = 150, 0.1  # pixels² per frame
start = np.stack(np.meshgrid([16, 48, 80, 112], [16, 48, 80, 112], indexing="ij"), axis=-1).reshape(-1, 2)
steps = rng.normal(0, np.sqrt(2 * diffusion), (n_frames, 16, 2))
truth = start + rng.uniform(-8, 8, start.shape) + np.cumsum(steps, axis=0)
light = npsubpix.simulate_spots(
    (n_frames, 128, 128), truth.reshape(-1, 2), flux=600, sigma=1.6, background=6, rng=rng,
    frame=np.repeat(np.arange(n_frames), 16), frame_axis=0,
)  # fmt: skip
tifffile.imwrite(folder / "beads.tif", light.astype(np.uint16), metadata={"axes": "TYX"})

# %%
# Find
# ----
#
# One call takes all frames. The matched filter of a spot finds it, and the fit by maximum likelihood brings the
# standard error of each position along.

with npsubpix.open_image(folder / "beads.tif") as file:
    movie = file.read()
peaks = npsubpix.find_peaks(movie, detect="gaussian", detect_sigma=1.6, threshold_abs=8, frame_axis=0)
spots = npsubpix.fit_spots(movie, peaks, camera=npsubpix.Camera(), frame_axis=0)
spots = spots[spots.ok]
print(spots)

# %%
# Link
# ----
#
# `laptrack <https://laptrack.readthedocs.io/>`_ takes the table as pandas has it; its cut-off is a squared distance. A
# bead whose fit is not ``ok`` in a frame leaves a gap, which is closed, up to two frames long. By default, laptrack
# leaves the largest of few gaps open; ``alternative_cost_percentile=100`` closes all that the cut-off allows.
# ``trackpy.link(spots.to_trackpy(), search_range=4, memory=2)`` does as well.

table = spots.to_pandas()
linker = LapTrack(cutoff=4**2, gap_closing_cutoff=4**2, alternative_cost_percentile=100)
tracks, _, _ = linker.predict_dataframe(table, coordinate_cols=["y", "x"], only_coordinate_cols=False)
tracks = tracks.reset_index().sort_values(["track_id", "frame"])
tracks.to_csv(folder / "tracks.csv", index=False)
print(tracks[["track_id", "frame", "y", "x", "y_std", "x_std", "flux"]].head().round(3).to_string(index=False))
lengths = tracks.groupby("track_id").size()
print(f"{len(lengths)} tracks of {lengths.min()} to {lengths.max()} frames")

figure, ax = plt.subplots(figsize=(6, 5.6))
ax.imshow(movie[0], cmap="gray", interpolation="nearest")
for number, (_, track) in enumerate(tracks.groupby("track_id")):
    ax.plot(track["x"], track["y"], lw=1.3, color=plt.cm.plasma(0.25 + 0.7 * (number % 8) / 7))
    ax.plot(track["x"].iloc[0], track["y"].iloc[0], "o", ms=4, color="white")
ax.set(xlabel="x (pixels)", ylabel="y (pixels)", title="first frame, and tracks (dots: where they begin)")
figure.show()

# %%
# Mean squared displacement
# -------------------------
#
# After a lag of t frames it is 4 D t + 4 s², where s is the error of a position along an axis: the line does not begin
# at 0. The slope is the diffusion constant, and the intercept can be compared with the standard errors of the fits.


def mean_squared_displacement(track, lag):
    """Return the mean over all pairs of frames of a track that are a lag apart."""
    places = track.set_index("frame")[["y", "x"]].reindex(range(n_frames)).to_numpy()
    return np.nanmean(((places[lag:] - places[:-lag]) ** 2).sum(axis=1))


lags = np.arange(1, 7)
long = [track for _, track in tracks.groupby("track_id") if len(track) > 30]
each = np.array([[mean_squared_displacement(track, lag) for lag in lags] for track in long])
mean, error = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))
slope, intercept = np.polyfit(lags, mean, 1, w=1 / error)
by_fits = np.sqrt(np.mean(spots.coords_std**2))
print(f"diffusion constant {slope / 4:.4f} pixels² per frame, true {diffusion}")
print(f"error of a position {np.sqrt(max(intercept, 0) / 4):.3f} pixels by the intercept, {by_fits:.3f} by the fits")

# %%
# With few pairs of frames the intercept is rough; the standard errors of the fits do not need any tracks.

figure, ax = plt.subplots(figsize=(6, 4))
ax.errorbar(lags, mean, error, fmt="o", label="mean of the tracks")
t = np.array([0, lags[-1]])
ax.plot(t, slope * t + intercept, label=f"line: D = {slope / 4:.3f} pixels² per frame")
ax.plot(t, 4 * diffusion * t + 4 * by_fits**2, "--", color="black", lw=1, label="true D, and the errors of the fits")
ax.set(xlabel="lag (frames)", ylabel="mean squared displacement (pixels²)", xlim=(0, None), ylim=(0, None))
ax.legend(loc="upper left")
figure.show()
