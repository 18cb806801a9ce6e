"""`mbexplore cite`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mbexplore import __version__
from mbexplore.errors import UsageError
from mbexplore.views import REGISTRY
from mbexplore.views.papers import MODERNBERT, Paper

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
    papers = [MODERNBERT]
    for name in views or REGISTRY:
        papers += [paper for paper in REGISTRY[name].papers if paper not in papers]
    typer.echo("\n\n".join([TOOL, *map(bibtex, papers)]))


def bibtex(paper: Paper) -> str:
    """A paper's entry."""
    first = re.sub(r"\W", "", paper.authors.split(" and ")[0].split(" et al")[0].split(",")[0])
    word = next(word for word in re.findall(r"[a-z]+", paper.title.lower()) if len(word) > 3)
    authors = paper.authors.replace(" et al.", " and others").replace(", ", " and ")
    lines = [
        f"@misc{{{first.lower()}{paper.year}{word},",
        f"  title = {{{{{paper.title}}}}},",
        f"  author = {{{authors}}},",
        f"  year = {{{paper.year}}},",
        f"  url = {{{paper.url}}},",
    ]
    return "\n".join([*lines, "}"])
