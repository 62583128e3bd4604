"""Configuration of the documentation; `make docs` builds it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from numpydoc.xref import DEFAULT_LINKS

# One form of each kernel is compiled, for one thread: compilation takes most of the time of a build.
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import npsubpix

sys.path.insert(0, str(Path(__file__).parent))
from flag_advice import write_tables
from inventories import write_inventories

project = "npsubpix"
author = "The npsubpix developers"
copyright = author
version = release = npsubpix.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_generated", "data", "examples", "gallery"]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # of which the gallery is made

# A name in single backticks is a link if it can be imported, and emphasis if it is a parameter.
default_role = "autolink"
nitpicky = True
# Parameters that can be imported, as attributes of a class, as a module or as a folder here, but have no page.
nitpick_ignore = [("py:obj", name) for name in ("args", "camera", "excess", "images", "mode", "reach", "weight")]

# The docstrings state types; the annotations behind them would only repeat those in private names.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
# In the types of parameters and results, classes of this package and of others are links, and all else is text.
LINKED = ("astropy.table.QTable", "matplotlib.axes.Axes", "matplotlib.figure.Figure", "pandas.DataFrame")
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    **{name: name for name in DEFAULT_LINKS},
    **{name: f"npsubpix.{name}" for name in npsubpix.__all__ if name[0].isupper()},
    **{name.rpartition(".")[2]: name for name in LINKED},
    **{name: f":class:`{name}`" for name in LINKED},
}
# Lists of names that are written here: the documentation is built without a network.
GENERATED = Path(__file__).parent / "_generated"
GENERATED.mkdir(exist_ok=True)
intersphinx_mapping = write_inventories(GENERATED)

myst_enable_extensions = ["dollarmath", "colon_fence"]
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
    "header_links_before_dropdown": 6,
    "navigation_depth": 2,
    "show_nav_level": 2,
    "collapse_navigation": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False


def number_references(_app, doctree):
    """Show a reference as [1]: numpydoc makes it unique, and undoes that for reStructuredText pages alone."""
    for text in list(doctree.findall(nodes.Text)):
        if match := re.fullmatch(r"\[R[0-9a-f]{10,}-(\w+)\]", text):
            text.parent.replace(text, nodes.Text(f"[{match[1]}]"))


def run_examples(app):
    """Run the scripts of pages: they print what pages show, and draw their pictures."""
    folder = Path(app.srcdir) / "_generated"
    write_tables(folder)
    for script in sorted((Path(app.srcdir) / "examples").glob("*.py")):
        environment = {**os.environ, "MPLBACKEND": "agg"}
        command = [sys.executable, str(script), str(folder)]
        shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        (folder / f"{script.stem}.txt").write_text(shown.stdout, encoding="utf-8")


def setup(app):
    app.connect("builder-inited", run_examples)
    app.connect("doctree-read", number_references)
