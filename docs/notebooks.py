"""Notebooks as pages: each runs in a kernel of its own, and its outputs stand below its cells."""

from __future__ import annotations

import base64
import re
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

from docs.blocks import Filled, show_file

FOLDER = Path(__file__).parents[1] / "notebooks"
LARGEST = 300_000
"""Bytes of a result in a notebook."""
SECONDS = 300


def fill_notebook(path: Path) -> Filled:
    """Runs a notebook and makes a page of it.

    Raises:
        CellExecutionError: a cell fails.
        ValueError: an output is larger than `LARGEST`.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources=where, coalesce_streams=True
        ).execute()
    filled = Filled()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            filled.markdown += f"{cell.source}\n\n"
            continue
        filled.markdown += f"```python\n{cell.source}\n```\n\n"
        filled.proofs.append(cell.source)
        for place, output in enumerate(cell.outputs):
            filled.markdown += shown_output(output, f"{path.stem}-{number}-{place}", filled)
    link = f"[notebooks/{path.name}](files/{path.name})"
    filled.files[path.name] = path.read_bytes()
    filled.markdown += f"---\n\nThis page is {link}, run.\n"
    return filled


def shown_output(output: Any, name: str, filled: Filled) -> str:
    """An output of a cell as Markdown: a picture, with the page behind it, or text."""
    is_stream = output.output_type == "stream"
    if is_stream and output.name == "stderr":
        return ""
    data = {"text/plain": output.text} if is_stream else output.data
    size = sum(len(str(part)) for part in data.values())
    if size > LARGEST:
        raise ValueError(f"{name} takes {size:,} bytes in the notebook; show a smaller part.")
    text = data.get("text/plain", "")
    filled.proofs.append(text)
    if "image/png" not in data:
        return f"```text\n{text.rstrip()}\n```\n\n" if text and "text/html" not in data else ""
    headline = text.strip().partition("\n")[0]
    filled.files[f"{name}.png"] = base64.b64decode(data["image/png"])
    shown = f"> {headline}\n\n" + show_file(f"{name}.png", headline) + "\n\n"
    page = re.search(r"srcdoc='([^']*)'", data.get("text/html", ""))
    if page:
        filled.files[f"{name}.html"] = unescape(page[1]).encode()
        shown += show_file(f"{name}.html", headline) + "\n\n"
    return shown
