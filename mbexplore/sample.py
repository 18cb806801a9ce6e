"""The bundled text of views that can do without one."""

from __future__ import annotations


def sample_text() -> str:
    """A bundled paragraph, long enough to show the windows of local layers."""
    from importlib.resources import files

    sample = files("mbexplore_assets") / "samples" / "tides.txt"
    return sample.read_text(encoding="utf-8").strip()
