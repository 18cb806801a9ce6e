"""What pages show: maps, arcs and pictures, each a component in plain JavaScript.

Knows no model: a component takes the data that a view makes, and needs no network.
"""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 2rem; font: 14px system-ui, sans-serif; color: #1f2933; background: #fff; }}
h1 {{ font-size: 1.2rem; }}
pre {{
  background: #f1f3f5; padding: .5em .8em; max-height: 6em; overflow: auto; white-space: pre-wrap;
}}
{css}
</style>
<h1>{title}</h1>
<p>{note}</p>
<div id="shown">{body}</div>
<pre><code>{command}</code></pre>
<script type="application/json" id="data">{data}</script>
<script>
{js}
{mount}(
  document.getElementById("shown"),
  JSON.parse(document.getElementById("data").textContent),
);
</script>
</html>
"""


@lru_cache
def component(name: str = "attention") -> tuple[str, str]:
    """JavaScript and CSS of "attention", "arcs" or "picture".

    The script defines `mountAttention(element, data)`, `mountArcs` or `mountPicture`.
    """
    here = files("mbexplore.web")
    js, css = (here.joinpath(f"{name}.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return js, css


def build_page(
    title: str,
    note: str,
    command: str,
    data: dict[str, Any],
    name: str = "attention",
    body: str = "",
) -> str:
    """A page in one file that opens without a network.

    Args:
        title: what it shows.
        note: one sentence on how to read it.
        command: that makes it again.
        data: what the component shows.
        name: of the component.
        body: html that stands in its element before it starts.
    """
    js, css = component(name)
    # Nothing in the text may end the script element that holds it.
    safe = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return _PAGE.format(
        title=escape(title),
        note=escape(note),
        command=escape(command),
        body=body,
        css=css,
        js=js,
        data=safe,
        mount=f"mount{name.capitalize()}",
    )
