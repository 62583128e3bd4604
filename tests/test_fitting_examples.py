"""The gallery of the documentation: its scripts run, and what they print is what they say of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"

pytestmark = pytest.mark.exhaustive


def printed_by(name: str) -> str:
    """Run a script as a reader who has downloaded it does, with pictures that no window shows."""
    script, environment = GALLERY / f"{name}.py", {**os.environ, "MPLBACKEND": "agg"}
    command, folder = [sys.executable, script.name], script.parent  # from which it sees the data of the repository
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_single_molecules():
    """Positions and errors are those of Picasso's fits, and the errors those of the distances from the true sites."""
    text = printed_by("measure/single_molecules")
    assert "30 of 30 true positions found" in text
    assert float(re.search(r"by those of Picasso: (\S+)", text)[1]) == pytest.approx(1, abs=0.02)
    assert float(re.search(r"rmse \((\S+),", text)[1]) < 0.002
    assert float(re.search(r"(\S+) standard errors$", text, re.MULTILINE)[1]) == pytest.approx(1, abs=0.2)


def test_star_field():
    """Fluxes are those of the catalogue to a few hundredths of a magnitude, but for two objects that are no stars.

    The plate solution is that of IRAF's ``ccmap`` for the same five stars: pixels of 0.764 and 0.767 arcseconds, with
    residuals of 0.229 and 0.241 arcseconds along the axes.
    """
    text = printed_by("measure/star_field")
    rows = [line.split() for line in text.split("IRAF's  flags")[1].splitlines()[1:13]]
    assert len(rows) == 12
    differences = sorted(abs(float(row[6])) for row in rows)
    assert differences[9] < 0.05
    assert differences[10] > 0.1
    width, height = map(float, re.search(r"a pixel is (\S+) x (\S+) arcseconds", text).groups())
    assert width == pytest.approx(0.764, abs=0.003)
    assert height == pytest.approx(0.767, abs=0.003)
    assert float(re.search(r"the five stars are (\S+) arcseconds", text)[1]) < 0.35


def test_the_documented_transformer_learns():
    """The network, trained through nearest pixels with a surrogate, finds blobs to a small part of a pixel.

    It learns nothing through the gradient of nearest pixels itself, which is 0.
    """
    text = printed_by("learn/transformer")
    assert float(re.search(r"surrogate +mean position error (\S+)", text)[1]) < 0.15
    assert float(re.search(r"^nearest +mean position error (\S+)", text, re.MULTILINE)[1]) > 1


def test_beads_are_tracked_whole():
    """A bead is one track, though fits fail in single frames, and diffusion is that of the simulation."""
    text = printed_by("measure/beads_tracked")
    assert "\n16 tracks of" in text
    assert float(re.search(r"diffusion constant (\S+)", text)[1]) == pytest.approx(0.1, abs=0.01)


def test_templates_are_found_and_flow_is_measured():
    """Scores are those of OpenCV, and the flow is right to less than a tenth of a pixel in all windows."""
    text = printed_by("measure/templates")
    assert float(re.search(r"difference from cv2.matchTemplate: (\S+)", text)[1]) < 1e-4
    found, windows, error = re.search(r"(\d+) of (\d+) windows, RMS error (\S+) pixels", text).groups()
    assert found == windows == "196"
    assert float(error) < 0.1
