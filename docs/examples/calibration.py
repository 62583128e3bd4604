"""From photographs of a chessboard to a calibrated camera."""

import sys
import tempfile
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np

import npsubpix

OUT, folder = Path(sys.argv[1]), Path(tempfile.mkdtemp())

# [photographs]
rng = np.random.default_rng(4)
true_matrix = np.array([[520.0, 0, 323.4], [0, 518.0, 236.1], [0, 0, 1]])
true_distortion = np.array([-0.21, 0.06, 0.0, 0.0, 0.0])
columns, rows, square = 9, 6, 25.0  # inner corners, and the side of a square in millimetres
y, x = np.mgrid[0:480:0.5, 0:640:0.5] - 0.25  # two samples per pixel and axis
pixels = np.stack([x.ravel(), y.ravel()], axis=1)
rays = cv2.undistortPoints(pixels[:, None], true_matrix, true_distortion)[:, 0]
for number in range(8):
    turn = cv2.Rodrigues(rng.uniform(-0.45, 0.45, 3))[0]
    place = np.array([-100.0, -60.0, 390.0]) + rng.uniform(-25, 25, 3)
    u, v, w = np.linalg.solve(np.column_stack([turn[:, :2], place]), np.c_[rays, np.ones(len(rays))].T)
    u, v = u / w / square + 1, v / w / square + 1
    inside = (u > 0) & (u < columns + 1) & (v > 0) & (v < rows + 1)
    dark = inside & ((np.floor(u) + np.floor(v)) % 2 == 0)
    photograph = np.where(dark, 40.0, 200.0).reshape(480, 2, 640, 2).mean((1, 3))
    photograph = cv2.GaussianBlur(photograph, (0, 0), 0.7) + rng.normal(0, 2, photograph.shape)
    cv2.imwrite(str(folder / f"board{number}.png"), photograph.clip(0, 255).astype(np.uint8))
# [end]

# [corners]
board = np.zeros((rows * columns, 3), np.float32)
board[:, :2] = square * np.mgrid[:columns, :rows].T.reshape(-1, 2)
boards, corners, tables = [], [], []
for path in sorted(folder.glob("board*.png")):
    with npsubpix.open_image(path) as file:
        image = file.read()
    found, seeds = cv2.findChessboardCorners(image, (columns, rows))
    if not found:
        print(f"{path.name}: no board")
        continue
    table = npsubpix.refine_corners(image, seeds.reshape(-1, 2)[:, ::-1])
    print(f"{path.name}: {int(table.ok.sum())} of {len(table)} corners")
    boards.append(board[table.ok])
    corners.append(table.coords[table.ok][:, ::-1].astype(np.float32))
    tables.append((image, table))
# [end]

# [calibrate]
residual, matrix, distortion, turns, places = cv2.calibrateCamera(
    boards, corners, (640, 480), None, None, flags=cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
)
print(f"\nresidual {residual:.3f} pixels")
print("             found     true")
for name, place in {"focal x": (0, 0), "focal y": (1, 1), "centre x": (0, 2), "centre y": (1, 2)}.items():
    print(f"{name:9s}{matrix[place]:9.2f}{true_matrix[place]:9.2f}")
print(f"k1       {distortion.ravel()[0]:9.4f}{true_distortion[0]:9.4f}")
# [end]

# [draw]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
image, table = tables[0]
axes[0].imshow(image, cmap="gray")
axes[0].plot(table.coords[:, 1], table.coords[:, 0], ".", color="tab:orange")
axes[0].set(title="corners of the first photograph", xlabel="x (pixels)", ylabel="y (pixels)")
errors = [
    seen - cv2.projectPoints(known, turn, place, matrix, distortion)[0][:, 0]
    for known, seen, turn, place in zip(boards, corners, turns, places, strict=True)
]
axes[1].plot(*np.concatenate(errors).T, ".", ms=4)
axes[1].set(title="residuals of all corners", xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal")
axes[1].grid(alpha=0.3)
figure.savefig(OUT / "calibration.png", dpi=100)
# [end]
