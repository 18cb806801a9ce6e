"""llms.txt: the site's pages in one list that a language model can read; see llmstxt.org."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomllib


def index(pages: Path, config: str) -> str:
    """The list, a section for each part of the navigation.

    Args:
        pages: folder of the pages, which are beside it on the site.
        config: of the site.
    """
    project = tomllib.loads(config)["project"]
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}", ""]
    for entry in project["nav"]:
        for title, inner in entry.items():
            lines += [f"## {title}", ""]
            lines += [f"- [{name}]({page}): {first_sentence(pages / page)}"
                      for name, page in leaves(title, inner)]  # fmt: skip
            lines += [""]
    return "\n".join(lines)


def leaves(title: str, inner: Any) -> Iterator[tuple[str, str]]:
    """Titles and files of pages below a place in the navigation."""
    if isinstance(inner, str):
        yield title, inner
        return
    for entry in inner:
        for name, below in entry.items():
            yield from leaves(name, below)


def first_sentence(page: Path) -> str:
    """What a page says first, below its title."""
    source = page.read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n|<!--.*?-->\n?", "", source, flags=re.S)
    paragraph = next(
        (one for one in text.split("\n\n") if one and not one.startswith(("#", "```", "<", "!"))),
        "",
    )
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split())).strip("*> ")
    return re.split(r"(?<=[.?!])\s", plain)[0]
