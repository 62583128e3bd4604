"""Take pictures of built pages in a headless Chromium: wide and narrow, light and dark.

`python docs/screenshots.py docs/_build/html pictures index getting_started` writes `pictures/index-1300-light.png` and
so on. Chromium comes from the packages of the system, such as Debian's `chromium`; `CHROMIUM` names another one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

WIDTHS = (1300, 420)
SCHEMES = {"light": "1", "dark": "0"}  # Chromium's numbers of preferred colour schemes


def take(page: Path, picture: Path, width: int, scheme: str, height: int) -> None:
    """Take one picture. The page is in a frame, since a window of Chromium is at least 500 pixels wide."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(
            f"<style>body{{margin:0}}iframe{{border:0;width:{width}px;height:{height}px}}</style>"
            f'<iframe src="{page.resolve().as_uri()}"></iframe>'
        )
        command = [
            os.environ.get("CHROMIUM", "chromium"),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder}/profile",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--window-size={max(width, 500)},{height}",
            "--virtual-time-budget=4000",
            f"--screenshot={picture.resolve()}",
            frame.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="folder of built pages")
    parser.add_argument("pictures", type=Path, help="folder of pictures, which is made")
    parser.add_argument("pages", nargs="*", default=["index"], help="pages without .html; by default the front page")
    parser.add_argument("--height", type=int, default=1600, help="height of pictures in pixels")
    arguments = parser.parse_args()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    for name in arguments.pages:
        for width in WIDTHS:
            for scheme in SCHEMES:
                picture = arguments.pictures / f"{name.replace('/', '-')}-{width}-{scheme}.png"
                take(arguments.site / f"{name}.html", picture, width, scheme, arguments.height)
                print(picture)


if __name__ == "__main__":
    main()
