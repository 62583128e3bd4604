"""Run the core tests with other versions than `make test` has: ``python tests/lane.py oldest [arguments of pytest]``.

oldest    the oldest versions that pyproject.toml declares, on Python 3.10 where there is one
newest    the newest versions that can be installed together
unlinked  the newest, with pieces of kernels compiled by plain ``numba.njit``

Each lane has an environment of its own, ``.venv-oldest`` or ``.venv-newest``, and notes there what it installed. The
oldest is made again when that changes, the newest is brought up to date once a day.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ["pytest>=8", "pytest-xdist>=3.5"]
VERSIONS = """
import sys, numba, numpy, scipy
print("lane", sys.argv[1], "on Python", sys.version.split()[0])
print(*(f"{module.__name__} {module.__version__}" for module in (numpy, scipy, numba)))
"""
LINKED = ["tests/test_linking.py"]  # what is only so where pieces of kernels are linked


def declared() -> list[str]:
    """Read what the package depends on; Python 3.10 has nothing that reads TOML."""
    found = re.search(r"^dependencies = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError("pyproject.toml declares no dependencies")
    return re.findall(r'"([^"]+)"', found[1])


def oldest(requirement: str) -> str:
    """Require the oldest version that is declared, with its corrections."""
    name, version = requirement.split(">=")
    return f"{name}=={version}.*"


def interpreter(lane: str) -> str:
    """Choose the oldest Python for the oldest versions, on the path or of pyenv, if there is one that starts."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which("python3.10"), *map(str, sorted(versions.glob("3.10.*/bin/python")))]
    for python in filter(None, found if lane == "oldest" else []):
        if subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return python
    return sys.executable


def environment(lane: str) -> Path:
    """Return the Python of a lane's environment, which is made, or brought up to date, first."""
    folder = ROOT / f".venv-{lane}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [*(oldest(r) if lane == "oldest" else r for r in declared()), *TOOLS]
    day = "" if lane == "oldest" else str(datetime.datetime.now(datetime.timezone.utc).date())
    note, stamp = "\n".join([interpreter(lane), day, *wanted]), folder / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == note):
        if lane == "oldest" or not python.exists():
            subprocess.run([interpreter(lane), "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", *wanted], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
        stamp.write_text(note)
    return python


def main(lane: str, arguments: list[str]) -> int:
    """Run a lane; return the exit code of pytest."""
    python = environment("oldest" if lane == "oldest" else "newest")
    subprocess.run([python, "-c", VERSIONS, lane], check=True)
    files = ["tests/test_core.py", *(LINKED if lane != "unlinked" else [])]
    variables = {**os.environ, "NPSUBPIX_LINKING": "0" if lane == "unlinked" else "1"}
    command = [python, "-m", "pytest", "-m", "core", "-n", "auto", *files, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] not in (["oldest"], ["newest"], ["unlinked"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
