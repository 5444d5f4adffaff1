"""A chart in a notebook: on a page the two pictures and the words that a figure has, in Jupyter a plain SVG."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from moedocs.charts import SIZES, WIDE, Chart, Size
from moedocs.site import pictures
from moedocs.site.figure import Rows

PAGE = "application/x-moedocs+html"  # taken by our template; Jupyter does not know it and takes the SVG


class Shown:
    """What `show` returns; the last expression of a cell displays it."""

    def __init__(self, svgs: dict[Size, str], caption: str) -> None:
        self.svgs, self.caption = svgs, caption

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        plain = pictures.for_download(self.svgs[WIDE])
        return {PAGE: self.page(), "image/svg+xml": plain, "text/plain": self.caption}

    def page(self) -> str:
        """One figure of two pictures, of which the style shows the one that fits."""
        both = "".join(_picture(svg, size, self.caption) for size, svg in self.svgs.items())
        return f'<figure class="moe-shown">{both}<figcaption>{escape(self.caption)}</figcaption></figure>'


def show(name: str, rows: Rows, draw: Callable[[Rows, Size], Chart], caption: str) -> Shown:
    """Draw `rows` in each size; the caption is what is read aloud too, so let it say what is to be seen."""
    svgs = {size: pictures.svg(pictures.vega_lite(draw(rows, size)), rows, f"{name}-{size.name}") for size in SIZES}
    return Shown(svgs, caption)


def _picture(svg: str, size: Size, caption: str) -> str:
    width = re.search(r'\bwidth="([\d.]+)"', svg)
    assert width is not None, "the picture states no width"
    still = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    return (
        f'<div class="moe-picture" data-size="{size.name}" role="img" aria-label="{escape(caption, quote=True)}"'
        f' style="--moe-width:{width[1]}px" data-search-exclude>{still}</div>'
    )
