"""Configuration of the documentation; `make docs` builds it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes

import npsubpix

sys.path.insert(0, str(Path(__file__).parent))  # of gallery_style

project = "npsubpix"
author = "The npsubpix developers"
copyright = author
version = release = npsubpix.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "data", "examples", "gallery"]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # of which the gallery is made

# A name in single backticks is a link if it can be imported, and emphasis if it is a parameter.
default_role = "autolink"
nitpicky = True
# Parameters that can be imported, as attributes of a class, as a module or as a folder here, but have no page.
nitpick_ignore = [("py:obj", name) for name in ("camera", "excess", "images", "mode", "weight")]

# The docstrings state types; the annotations behind them would only repeat those in private names.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# The scripts of the gallery run in this process; one that fails ends the build.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "subsection_order": [f"gallery/{section}" for section in ("measure", "align", "filter", "learn", "choose")],
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("gallery_style.apply",),
    "abort_on_example_error": True,
    "capture_repr": (),
    "doc_module": ("npsubpix",),
    "backreferences_dir": "auto_examples/backreferences",
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "notebook_extensions": set(),  # scripts find the data of the repository, notebooks would not
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # times of a shared machine tell nothing
}

html_theme = "pydata_sphinx_theme"
html_title = f"npsubpix {release}"
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "changelog": []}
html_show_sourcelink = False


def number_references(_app, doctree):
    """Show a reference as [1]: numpydoc makes it unique, and undoes that for reStructuredText pages alone."""
    for text in list(doctree.findall(nodes.Text)):
        if match := re.fullmatch(r"\[R[0-9a-f]{10,}-(\w+)\]", text):
            text.parent.replace(text, nodes.Text(f"[{match[1]}]"))


def run_examples(app):
    """Run the scripts of pages: they print what pages show, and draw their pictures."""
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    for script in sorted((Path(app.srcdir) / "examples").glob("*.py")):
        environment = {**os.environ, "MPLBACKEND": "agg"}
        command = [sys.executable, str(script), str(folder)]
        shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        (folder / f"{script.stem}.txt").write_text(shown.stdout, encoding="utf-8")


def setup(app):
    app.connect("builder-inited", run_examples)
    app.connect("doctree-read", number_references)
