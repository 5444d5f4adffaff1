"""Material's stylesheet of colours without what this site has no use for, and what costs every page at its start."""

from __future__ import annotations

import re
from pathlib import Path

from moedocs.site import files

# Other themes' colours; and a rule on everything that holds while colours change, which Material does at the start of
# every page: the whole page is styled anew, twice, to stop transitions that it does not have.
UNUSED = re.compile(r"(?<=[}])[^{}]*\[data-md-color-(?:switching|(?:primary|accent)=(?!custom))[^{}]*\{[^{}]*\}")


def cut(site: Path) -> None:
    """Rewrite the file in the built site."""
    for path in site.glob("assets/stylesheets/palette.*.css"):
        files.write(path, slimmed(path.read_text("utf-8")))


def slimmed(style: str) -> str:
    """The rules that are left, with the blocks that hold none of them."""
    return re.sub(r"@media[^{}]*\{\}", "", UNUSED.sub("", "}" + style)[1:])
