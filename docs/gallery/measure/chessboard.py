"""
Chessboard corners, and the camera behind them
==============================================

From photographs in files to a camera: corners refined to a few hundredths of a pixel give its focal length, its centre
and its distortion.

Six photographs of a board of 10 × 7 squares are simulated and saved, with a distorting lens, blur, uneven light and
noise, so that all corners and the camera are known. OpenCV finds the board and calibrates; `npsubpix.refine_corners`
refines in between.
"""

import tempfile
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

import npsubpix

rng = np.random.default_rng(2)
shape, focal, middle, distortion = (480, 640), 700.0, np.array([320.0, 240.0]), -0.2
matrix = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
lens = np.array([distortion, 0, 0, 0, 0])
board = np.zeros((54, 3), np.float32)  # inner corners, in squares
board[:, :2] = np.mgrid[:9, :6].T.reshape(-1, 2)


def photograph(turn, place):
    """Draw the board as the camera sees it: three by three rays per pixel."""
    y, x = (np.mgrid[: 3 * shape[0], : 3 * shape[1]] - 1) / 3
    rays = cv2.undistortPoints(np.stack([x, y], -1).reshape(-1, 1, 2), matrix, lens).reshape(-1, 2)
    rotation = cv2.Rodrigues(turn)[0]
    onto_board = np.linalg.inv(np.column_stack([rotation[:, :2], place]))
    u, v, w = onto_board @ np.column_stack([rays, np.ones(len(rays))]).T
    u, v = u / w, v / w
    squares = (np.floor(u) + np.floor(v)) % 2 == 0
    inside = (u > -1) & (u < 9) & (v > -1) & (v < 6)
    bright = np.where(inside & squares, 40.0, 190.0).reshape(shape[0], 3, shape[1], 3).mean((1, 3))
    light = 1 - 0.3 * np.hypot(*(np.mgrid[: shape[0], : shape[1]] - middle[::-1, None, None])) / 400
    return np.clip(gaussian_filter(bright, 0.8) * light + rng.normal(0, 3, shape), 0, 255).astype(np.uint8)


tilts = [(0.1, 0.1, 0.05), (0.5, 0.1, 0.1), (-0.4, 0.3, -0.1), (0.1, 0.55, 0.2), (0.2, -0.5, 0), (-0.45, -0.35, 0.3)]
turns = [np.array(tilt) for tilt in tilts]
away = np.array([0, 0, 15.5]) + rng.uniform(-0.4, 0.4, (6, 3))  # of the middle of the board
places = [centre - cv2.Rodrigues(turn)[0] @ [4, 2.5, 0] for centre, turn in zip(away, turns, strict=True)]
folder = Path(tempfile.mkdtemp())
for number, (turn, place) in enumerate(zip(turns, places, strict=True)):
    cv2.imwrite(str(folder / f"board{number}.png"), photograph(turn, place))
truth = [
    cv2.projectPoints(board.astype(float), turn, place, matrix, lens)[0].reshape(-1, 2)
    for turn, place in zip(turns, places, strict=True)
]

# %%
# Refine
# ------
#
# OpenCV has positions (x, y) in float32, this library (row, column): the axes are reversed on the way in and out. Of a
# real board, leave out corners that are not ``ok``, and their points of the board: ``cv2.calibrateCamera`` takes boards
# with different numbers of corners.

views, corners = [], {"found": [], "cv2.cornerSubPix": [], "refine_corners": []}
for path in sorted(folder.glob("board*.png")):
    with npsubpix.open_image(path) as file:
        view = file.read()
    views.append(view)
    found, seeds = cv2.findChessboardCorners(view, (9, 6), flags=cv2.CALIB_CB_ADAPTIVE_THRESH)
    if not found:
        raise SystemExit(f"{path.name}: no board")
    seeds = np.rint(seeds.reshape(-1, 2))  # whole pixels, from which both methods start
    refined = npsubpix.refine_corners(view, seeds[:, ::-1])
    print(f"{path.name}: {refined.ok.sum()} of {len(refined)} corners are ok")
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    corners["found"].append(seeds)
    other = cv2.cornerSubPix(view, seeds[:, None].copy(), (5, 5), (-1, -1), stop)
    corners["cv2.cornerSubPix"].append(other.reshape(-1, 2))
    corners["refine_corners"].append(refined.coords[:, ::-1].astype(np.float32))

# %%
# Calibrate
# ---------
#
# OpenCV may count corners from the other end of the board; each belongs to the true one nearest to it. The errors of
# each method, and the camera that OpenCV computes from its corners:

errors = {}
print(f"{'':16} rms error  focal x  focal y  centre x  centre y       k1")
print(f"{'true':16} {'':9} {focal:8.2f} {focal:8.2f} {middle[0]:9.2f} {middle[1]:9.2f} {distortion:8.4f}")
for name, found in corners.items():
    order = [np.hypot(*(a[:, None] - b).transpose(2, 0, 1)).argmin(1) for a, b in zip(found, truth, strict=True)]
    errors[name] = np.concatenate([a - b[k] for a, b, k in zip(found, truth, order, strict=True)])
    _, camera, bend, *_ = cv2.calibrateCamera(
        [board[k] for k in order], found, shape[::-1], None, None,
        flags=cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
    )  # fmt: skip
    rms = np.sqrt(np.mean(errors[name] ** 2))
    (fx, _, cx), (_, fy, cy), _ = camera
    print(f"{name:16} {rms:9.3f} {fx:8.2f} {fy:8.2f} {cx:9.2f} {cy:9.2f} {bend.flat[0]:8.4f}")

# %%
# The picture
# -----------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=[1.45, 1])
left.imshow(views[1], vmin=0, vmax=255)
left.plot(*corners["refine_corners"][1].T, "+", color="#e69f00", ms=11, mew=1.8)
left.set(xlabel="x (pixels)", ylabel="y (pixels)", title="a view, and its refined corners")
for name, colour, marker in (("cv2.cornerSubPix", "#56b4e9", "x"), ("refine_corners", "#d55e00", "+")):
    right.plot(*errors[name].T, marker, color=colour, ms=5, mew=1, label=name)
right.axhline(0, color="gray", lw=0.8, zorder=0)
right.axvline(0, color="gray", lw=0.8, zorder=0)
right.set(xlabel="error in x (pixels)", ylabel="error in y (pixels)", aspect="equal", title="errors of 324 corners")
right.set(xlim=(-0.25, 0.25), ylim=(-0.25, 0.25))
right.legend(loc="upper left", markerscale=1.6, handletextpad=0.2)
figure.show()

# %%
# :doc:`/corners` explains the options, and compares residuals with those of ``cv2.cornerSubPix`` on real photographs.
