"""The scripts of the documentation: they run, and what they print is what their pages say of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"

pytestmark = pytest.mark.exhaustive


def printed_by(name: str, folder: Path) -> str:
    """Run a script as the build of the documentation does."""
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), str(folder)],
        env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (folder / f"{name}.png").stat().st_size > 10_000
    return run.stdout


def test_single_molecules(tmp_path):
    """Positions and errors are those of Picasso's fits, and the errors those of the distances from the true sites."""
    text = printed_by("single_molecules", tmp_path)
    assert "30 of 30 true positions found" in text
    assert float(re.search(r"by those of Picasso: (\S+)", text)[1]) == pytest.approx(1, abs=0.02)
    assert float(re.search(r"rmse \((\S+),", text)[1]) < 0.002
    assert float(re.search(r"(\S+) standard errors$", text, re.MULTILINE)[1]) == pytest.approx(1, abs=0.2)


def test_star_field(tmp_path):
    """Fluxes are those of the catalogue to a few hundredths of a magnitude, but for two objects that are no stars."""
    rows = [line.split() for line in printed_by("star_field", tmp_path).split("IRAF's  flags")[1].splitlines()[1:]]
    assert len(rows) == 12
    differences = sorted(abs(float(row[6])) for row in rows)
    assert differences[9] < 0.05
    assert differences[10] > 0.1
