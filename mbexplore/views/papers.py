"""The papers that the methods come from; papers.bib holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ENTRY = re.compile(r"^@\w+\{(\w+),\n.*?^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^  (\w+) = \{+(.*?)\}+,$", re.MULTILINE)


@dataclass(frozen=True)
class Paper:
    """A paper, as it is cited.

    Attributes:
        authors: "Warner et al.".
        year: of publication.
        title: in full.
        url: where it can be read.
        bibtex: its entry.
    """

    authors: str
    year: int
    title: str
    url: str
    bibtex: str

    def __str__(self) -> str:
        """Authors, year, title and address."""
        return f'{self.authors} {self.year}, "{self.title}" ({self.url})'


@cache
def _papers() -> dict[str, Paper]:
    """Every paper by its key."""
    text = files(__package__).joinpath("papers.bib").read_text("utf-8")
    return {entry[1]: _read(entry[0]) for entry in _ENTRY.finditer(text)}


def _read(entry: str) -> Paper:
    fields = dict(_FIELD.findall(entry))
    authors = fields["author"].replace(" and others", " et al.")
    return Paper(authors, int(fields["year"]), fields["title"], fields["url"], entry)


def cited(*keys: str) -> tuple[Paper, ...]:
    """Papers by their keys in papers.bib, "warner2024smarter"."""
    return tuple(_papers()[key] for key in keys)
