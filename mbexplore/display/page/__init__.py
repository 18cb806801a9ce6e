"""Blocks in a browser: one set of scripts for the page, saved pages and notebooks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files

from mbexplore.display.blocks import Block
from mbexplore.display.browser import to_parts
from mbexplore.display.palette import DARK, LIGHT

SCRIPTS = ("parts.js", "heat.js", "lines.js", "attention.js", "arcs.js")
"""In the order in which they need each other."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';
  img-src data:">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main class="mbexplore saved"><h1 dir="auto">{title}</h1><div id="blocks"></div>
<p class="note">Made by <code>{command}</code></p></main>
<script id="data" type="application/json">{data}</script>
<script>{js}
showSaved(document.getElementById("blocks"), document.getElementById("data").textContent);
</script>
</body>
</html>
"""

_FRAME = (
    '<iframe title="{title}" sandbox="allow-scripts" srcdoc="{page}" loading="lazy" '
    'style="width:100%;height:{height}px;border:0"></iframe>'
)
HEIGHT = 460
"""Pixels of a page in a notebook."""


@cache
def script() -> str:
    """The drawings of all blocks, with the colours of the palette."""
    here = files("mbexplore.display.page")
    stops = json.dumps({"light": LIGHT, "dark": DARK})
    sources = (here.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    return "\n".join((f"const STOPS = {stops};", *sources))


@cache
def style() -> str:
    """How blocks look."""
    return files("mbexplore.display.page").joinpath("parts.css").read_text("utf-8")


@cache
def _saved(name: str) -> str:
    return files("mbexplore.display.page").joinpath(name).read_text("utf-8")


def build_page(blocks: Iterable[Block], title: str, command: str) -> str:
    """A page in one file that opens without a network.

    Args:
        blocks: of a view.
        title: what it shows.
        command: that makes it again.
    """
    data = json.dumps(to_parts(blocks), ensure_ascii=False, separators=(",", ":"))
    return _PAGE.format(
        title=escape(title),
        command=escape(command),
        css=_saved("saved.css") + style(),
        js=script() + _saved("saved.js"),
        # Nothing in the text may end the script element that holds it.
        data=data.replace("<", "\\u003c"),
    )


def build_frame(page: str, title: str) -> str:
    """A page for a notebook: in a frame that may run its own scripts and nothing else."""
    return _FRAME.format(title=escape(title), page=escape(page), height=HEIGHT)
