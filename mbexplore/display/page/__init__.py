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

SCRIPTS = (
    "parts.js", "matrix.js", "heat.js", "lines.js", "scatter.js", "attention.js", "breaking.js",
    "arcs.js",
    "route.js", "saved.js",
)  # fmt: skip
"""In the order in which they need each other."""

_FRAME = (
    """<iframe title="{title}" sandbox="allow-scripts" srcdoc='{page}' loading="lazy" """
    """style="width:100%;height:{height}px;border:0"></iframe>"""
)
HEIGHT = 460
"""Pixels of a page in a notebook."""


@cache
def source(name: str) -> str:
    """A file of this folder."""
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def script() -> str:
    """The drawings of all blocks, with the colours of the palette."""
    stops = json.dumps({"light": LIGHT, "dark": DARK})
    return "\n".join((f"const STOPS = {stops};", *map(source, SCRIPTS)))


def style() -> str:
    """How blocks look."""
    return source("parts.css")


def build_page(blocks: Iterable[Block], title: str, command: str) -> str:
    """A page in one file that opens without a network.

    Args:
        blocks: of a view.
        title: what it shows.
        command: that makes it again.
    """
    data = json.dumps(to_parts(blocks), ensure_ascii=False, separators=(",", ":"))
    return source("saved.html").format(
        title=escape(title),
        command=escape(command),
        css=style(),
        js=script(),
        # Nothing in the text may end the script element that holds it.
        data=data.replace("<", "\\u003c"),
    )


def build_frame(page: str, title: str) -> str:
    """A page for a notebook: in a frame that may run its own scripts and nothing else."""
    # In single quotes the double ones of the data, which are many, stay one character each.
    held = page.replace("&", "&amp;").replace("'", "&#x27;")
    return _FRAME.format(title=escape(title), page=held, height=HEIGHT)
