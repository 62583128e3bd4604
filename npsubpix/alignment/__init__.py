"""Direct alignment: the transform between two images, and those between the frames of a series."""

from npsubpix._definitions.flags import AlignmentFlags
from npsubpix.alignment.coadding import Coadd, coadd
from npsubpix.alignment.images import align
from npsubpix.alignment.stacks import align_stack
from npsubpix.results import Alignment

__all__ = ["Alignment", "AlignmentFlags", "Coadd", "align", "align_stack", "coadd"]
