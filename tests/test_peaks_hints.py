"""Nothing found: the command line says which option would find something."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rich")
testing = pytest.importorskip("typer.testing")

from npsubpix.cli.app import app  # noqa: E402  after the check that typer is there


def lines_of(tmp_path, image, *options) -> list[str]:
    np.save(tmp_path / "image.npy", image)
    result = testing.CliRunner().invoke(app, ["locate", str(tmp_path / "image.npy"), *map(str, options)])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def spots(height: float) -> np.ndarray:
    y, x = np.indices((30, 40))
    image = sum(height * np.exp(-((y - b) ** 2 + (x - a) ** 2) / 8) for b, a in ((9.3, 10.6), (20.1, 29.5)))
    return np.minimum(image + 20, 255).astype(np.uint8)


def test_saturated_spots_and_binary_images_are_found(tmp_path):
    for image in (spots(900), np.where(spots(200) > 100, 255, 0).astype(np.uint8)):
        assert lines_of(tmp_path, image, "--threshold", 50)[0].startswith("2 peaks in image.npy")
        assert lines_of(tmp_path, image, "--threshold", 50, "--plateau", "drop") == [
            "0 peaks in image.npy",
            "2 peaks are found with --plateau refine: they are plateaus of equal pixels.",
        ]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--threshold", 230), "2 peaks are found without --threshold, the highest of 213."),
        (("--threshold-rel", 1.5), "2 peaks are found without --threshold-rel, the highest of 213."),
        (("--size", 99), "2 peaks are found with --size 3 and without thresholds."),
    ],
)
def test_options_that_exclude_all(tmp_path, options, line):
    lines = lines_of(tmp_path, spots(200), *options)
    assert lines[0] == "0 peaks in image.npy"
    assert line in lines


@pytest.mark.parametrize(
    ("masked", "line"),
    [
        (np.s_[:], "All pixels of the image are masked: those at which the image of --mask is not 0 are ignored."),
        (np.s_[5:], "1 peak is found without --mask."),
    ],
)
def test_masks_that_exclude_all(tmp_path, masked, line):
    mask = np.zeros((30, 40), np.uint8)
    mask[masked] = 1
    np.save(tmp_path / "mask.npy", mask)
    lines = lines_of(tmp_path, spots(200), "--plateau", "drop", "--mask", tmp_path / "mask.npy")
    assert lines[0] == "0 peaks in image.npy"
    assert line in lines


@pytest.mark.parametrize(
    ("image", "line"),
    [
        (np.zeros((9, 9)), "All pixels of the image are 0."),
        (np.full((9, 9), np.nan), "The image holds no finite pixels."),
        (np.add.outer(np.arange(9.0), np.arange(9)), "1 peak is at the border, where the window is not whole."),
        (np.hypot(*(np.indices((9, 9)) - 4.0)), "found with --minima."),
    ],
)
def test_images_without_peaks(tmp_path, image, line):
    lines = lines_of(tmp_path, image, "--plateau", "drop")
    assert lines[0] == "0 peaks in image.npy"
    assert any(text.endswith(line) for text in lines[1:])


def test_nothing_is_said_quietly(tmp_path):
    assert lines_of(tmp_path, np.zeros((9, 9)), "--quiet") == []
