"""The pages: flags that they explain, names of other projects, links between pages, and of the README."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import npsubpix

DOCS = Path(__file__).parents[1] / "docs"


def script(name):
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_advice_on_each_flag():
    """A flag without advice would leave its row in the table of the page empty, or end the build of the pages."""
    advice = script("flag_advice")
    public = [getattr(npsubpix, name) for name in npsubpix.__all__ if name.endswith("Flags")]
    assert set(advice.FLAGS) == set(public)
    page = (DOCS / "errors_and_flags.md").read_text()
    for flags in public:
        assert not [flag.name for flag in flags if not advice.ADVICE[flags.__name__].get(flag.name)]
        assert f"_generated/flags_{flags.__name__}.md" in page


@pytest.mark.parametrize("project", sorted(script("inventories").PROJECTS))
def test_names_of_other_projects_exist(project):
    names = script("inventories").PROJECTS[project][2]
    for name in names:
        module, _, last = name.rpartition(".")
        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError:  # an attribute of an attribute
            module, _, middle = module.rpartition(".")
            owner = getattr(importlib.import_module(module), middle)
        assert hasattr(owner, last), name


def test_inventories_are_read_by_their_format(tmp_path):
    """Sphinx reads a head of four lines and compressed lines of names."""
    import zlib

    mapping = script("inventories").write_inventories(tmp_path)
    address, path = mapping["scipy"]
    assert address == "https://docs.scipy.org/doc/scipy/"
    head, body = Path(path).read_bytes().split(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2\n# Project: scipy\n# Version: -\n")
    name = "scipy.ndimage.map_coordinates"
    assert f"{name} py:function 1 reference/generated/{name}.html#{name} -\n" in zlib.decompress(body).decode()


def test_broken_links_are_found(tmp_path):
    check = script("check_links")
    (tmp_path / "b.html").write_text('<p id="here">')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"><a href="https://example.org/x"><a href="#"><a href="b.html#there"><img src="c.png">'
    )
    assert check.broken_links(tmp_path) == ["a.html: b.html#there has no such anchor", "a.html: c.png is no file"]
    (tmp_path / "a.html").write_text('<a href="b.html#here">')
    assert check.broken_links(tmp_path) == []


def test_words_of_each_field_are_found():
    """The search of the site finds words that are on a page: these are words that users of each field bring along."""
    pages = "\n".join(path.read_text() for path in DOCS.glob("*.md")).casefold()
    microscopy = ["FISH", "SMLM", "PSF", "localization", "drift", "bead", "CRLB", "sCMOS", "tracking", "nuclei"]
    astronomy = ["star", "FWHM", "background", "photometry", "astrometry", "centroiding", "seeing", "deblending"]
    vision = ["subpixel", "template matching", "PIV", "NMS", "keypoints", "heat map", "chessboard", "registration"]
    assert not [word for word in microscopy + astronomy + vision if word.casefold() not in pages]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_pages_outside_of_the_site_link_to_files(page):
    root = DOCS.parent
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (root / page).read_text())
    missing = [link for link in links if "://" not in link and not (root / link).exists()]
    assert not missing


def test_pictures_of_screens_are_taken_at_both_widths_and_in_both_schemes(tmp_path, monkeypatch):
    """A program that writes down how it was called stands for Chromium."""
    screenshots = script("screenshots")
    (tmp_path / "index.html").write_text("<p>")
    program = tmp_path / "chromium"
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "(path,) = [a.split('=', 1)[1] for a in sys.argv if a.startswith('--screenshot=')]\n"
        "open(path, 'w').write(' '.join(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    monkeypatch.setattr(sys, "argv", ["screenshots.py", str(tmp_path), str(tmp_path / "out"), "index"])
    screenshots.main()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"index-{width}-{scheme}.png" for width in (1300, 420) for scheme in ("dark", "light")]
    assert "preferredColorScheme=0" in (tmp_path / "out" / names[0]).read_text()
