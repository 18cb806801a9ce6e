"""`mbexplore cite`."""

from __future__ import annotations

from typing import Annotated

import typer

from mbexplore import __version__
from mbexplore.errors import UsageError
from mbexplore.views import REGISTRY
from mbexplore.views.papers import cited

TOOL = f"""@software{{mbexplore,
  title = {{mbexplore: look inside ModernBERT}},
  author = {{{{The mbexplore authors}}}},
  version = {{{__version__}}},
}}"""


def cite(
    views: Annotated[
        list[str] | None, typer.Argument(help="Views you used: lens, patch, ...; none for all.")
    ] = None,
) -> None:
    """Print BibTeX of this tool, of ModernBERT, and of the papers behind the views you used.

    Example: mbexplore cite lens attribute
    """
    for name in views or ():
        if name not in REGISTRY:
            raise UsageError(f"There is no view {name!r}; choose {', '.join(REGISTRY)}.")
    papers = [*cited("warner2024smarter")]
    for name in views or REGISTRY:
        papers += [paper for paper in REGISTRY[name].papers if paper not in papers]
    typer.echo("\n\n".join([TOOL, *(paper.bibtex for paper in papers)]))
