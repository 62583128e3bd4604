"""The README as a package index shows it; hatchling calls this when a distribution is built.

An index has no files of the repository. With the address of the repository, `Source` in `[project.urls]`, links and
pictures lead there. Without one, links are text, and pictures are left out with their captions.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^]]*)\]\((?![a-z]+:|#)([^)]+)\)")


class PackageReadme(MetadataHookInterface):
    """Sets the field `readme`."""

    def update(self, metadata: dict) -> None:
        source = metadata.get("urls", {}).get("Source", "").rstrip("/")

        def absolute(match: re.Match) -> str:
            picture, text, path = match.groups()
            if source:
                return f"{picture}[{text}]({source}/{'raw' if picture else 'blob'}/HEAD/{path})"
            return text

        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        if not source:
            text = "\n\n".join(part for part in text.split("\n\n") if not part.startswith("!["))
        metadata["readme"] = {"content-type": "text/markdown", "text": LINK.sub(absolute, text)}
