"""Heads and neurons of a corpus by what they do there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Note, Table, Value
from mbexplore.text import shortened
from mbexplore.views._corpus import head_cell, numbered
from mbexplore.views.shared import listing
from mbexplore.views.view import Guide, View, option

if TYPE_CHECKING:
    from mbexplore.corpus.search import Found
    from mbexplore.session import Session

LETTERS = 80
"""Most letters of a text beside a use in it."""


class CorpusSearchView(View["Found"]):
    """Heads and neurons by a token, by a pattern of query and key, by metrics, by kind of layer.

    A pattern is "query is capitalised, key is [SEP], before key is not number, distance < 0": after
    "is" stands a class of tokens, a special token, or a token in double quotes. The classes are
    those that letters tell: mask, special, punctuation, number, capitalised, lowercase, inside (a
    piece inside a word), space, and English articles, prepositions, conjunctions, pronouns and
    auxiliary verbs.

    Metrics are of all texts; tokens and patterns are looked for among the uses that the corpus
    keeps, the strongest and a sample in each interval.
    """

    name = "corpus-search"
    command = "corpus search"
    title = "Corpus search"
    question = "Which heads and neurons do this over many texts?"
    guide = Guide(
        "Heads whose metrics fit, and uses of heads and neurons whose tokens fit.",
        "A head with many fitting uses among those kept does it often; the other uses were not "
        "kept, so none found is no proof that there is none.",
        "Find heads that attend from a number back to another token.",
        values={"pattern": "query is number, distance < 0"},
    )
    evidence = "correlational"
    tested = "against rows of the tables filtered by hand"
    group = "Which part"
    place = 10
    reads = "model"
    limits = (
        "Tokens and patterns are looked for among the uses that the corpus keeps: the strongest "
        "and a sample in each interval, not all."
    )
    example = "--pattern 'query is number, key is capitalised'"

    corpus: str | None = option(default=None, positional=True, local=True)
    word: str | None = option(
        "Uses with this query or key, or where neurons fire.", default=None, flag="--token",
        label="token",
    )  # fmt: skip
    pattern: str | None = option(
        "Conditions on a use, with commas between: 'query is a number, key is [SEP]'.", default=None
    )
    metrics: tuple[str, ...] = option(
        "Heads for which it holds: 'previous>0.5'; repeat it for more.", default=(),
        flag="--metric", separator=",", label="metrics",
    )  # fmt: skip
    kind: Literal["any", "global", "local"] = option("Heads of such layers alone.", default="any")
    limit: int = option("Rows at most.", default=20, at_least=1)

    def compute(self, session: Session) -> Found:
        """Out of the store alone."""
        from mbexplore.corpus.profile import find_store
        from mbexplore.corpus.search import find

        explorer = session.explorer
        store = session.once(("corpus", self.corpus), lambda: find_store(explorer, self.corpus))
        return find(
            store, token=self.word or None, pattern=self.pattern or None, metrics=self.metrics,
            kind=None if self.kind == "any" else self.kind, limit=self.limit,
        )  # fmt: skip

    def blocks(self, found: Found, session: Session) -> Iterator[Block]:
        """How many there are, then each."""
        parts = [(len(found.heads), "head"), (len(found.neurons), "neuron")]
        there = [f"{n:,} {what}{'s' * (n != 1)}" for n, what in parts if n] or ["Nothing"]
        yield Headline(f"{' and '.join(there)}: {found.asked}.")
        if found.heads:
            yield _table(found.heads, "Heads", tuple(map(head_cell, found.heads)))
        if found.neurons:
            yield _table(found.neurons, "Neurons", tuple(map(_neuron, found.neurons)))
        if found.uses:
            yield _uses(found.uses)
        if self.word or self.pattern:
            yield Note(self.limits)

    def table(self, found: Found, session: Session) -> Table:
        """Heads, or else neurons."""
        rows = found.heads or found.neurons or ({},)
        return Table(tuple(rows[0]), tuple(tuple(one.values()) for one in rows))


def _neuron(one: dict[str, Any]) -> Cell:
    select = {"view": "corpus", "layer": one["layer"], "neuron": one["neuron"]}
    return Cell(f"{one['layer']}.{one['neuron']}", select=select)


def _table(rows: Sequence[dict[str, Any]], title: str, named: Sequence[Cell]) -> Table:
    first = "head" if title == "Heads" else "neuron"
    names = [name for name in rows[0] if name not in ("layer", "head", "neuron")]
    cells: list[tuple[Value, ...]] = []
    for one, name in zip(rows, named, strict=True):
        shown = ((one[n], numbered(one[n], n) if isinstance(one[n], float) else "") for n in names)
        cells.append((name, *(Cell(value, text) for value, text in shown)))
    return Table((first, *names), tuple(cells), title, left=(first, "kind"))


def _uses(rows: Sequence[dict[str, Any]]) -> Table:
    columns: dict[str, Any] = {
        "head": head_cell, "query": itemgetter("query_token"), "key": itemgetter("key_token"),
        "weight": itemgetter("weight"), "id": itemgetter("id"),
        "text": lambda one: Cell(one["text"], shortened(one["text"], LETTERS)),
    }  # fmt: skip
    return listing(rows, columns, "Strongest of these uses", tokens=("query", "key"))
