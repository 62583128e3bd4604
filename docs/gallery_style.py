"""How the figures of the gallery look: `conf.py` applies it before each example."""

import matplotlib as mpl

#: Colours of Okabe and Ito, which people who do not see all colours can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def apply(_gallery_conf, _script):
    """Set the defaults of matplotlib, as sphinx-gallery asks a reset function to."""
    mpl.rcdefaults()
    mpl.use("agg")
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "font.size": 11,
            "image.cmap": "gray",
            "legend.frameon": False,
            "savefig.bbox": "tight",
            "savefig.pad_inches": 0.08,
        }
    )
