"""What several views show alike: names, cells, bars, matrices, and rows of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mbexplore.display.blocks import Badge, Bars, Block, Cell, Heat, Hue, Note, Table, Value
from mbexplore.display.numbers import significant
from mbexplore.errors import TransformersError
from mbexplore.text import said, word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.target import Target
    from mbexplore.explorer import Prediction
    from mbexplore.session import Session

Found = TypeVar("Found")

LISTED = 10
"""Rows of a table of what is strongest or nearest."""
MOST_BARS = 40
"""Tokens of a text of which each has a bar."""
HUGGING_FACE = "Hugging Face"
"""The other side of a comparison, as it is named everywhere."""


@dataclass(frozen=True, eq=False)
class Beside(Generic[Found]):
    """What a view found, and what Hugging Face says on the same weights.

    Attributes:
        found: ours.
        comparison: theirs; None where it was left out.
        refusal: why transformers can't open the model; "" where it can.
    """

    found: Found
    comparison: Any
    refusal: str = ""

    def pairs(self, name: str) -> list[tuple[Any, Any]]:
        """What both have under a name, place by place; None for theirs where it was left out."""
        ours, theirs = getattr(self.found, name), getattr(self.comparison, name, None)
        return list(zip(ours, (None,) * len(ours) if theirs is None else theirs, strict=True))

    @property
    def notes(self) -> Iterator[Block]:
        """How far our numbers are from theirs, or why there are none of theirs."""
        values = {} if self.comparison is None else vars(self.comparison)
        for name, what in _DIFFERENCES.items():
            if name in values:
                yield Note(
                    f"Largest {what} {significant(values[name], 2)} from transformers "
                    f"{values['version']} on the same weights."
                )
        if self.refusal:
            yield Note(self.refusal)

    def to_json(self) -> dict[str, Any]:
        """What JSON says of their side beside their answers."""
        if self.comparison is None:
            return {"hf_error": self.refusal} if self.refusal else {}
        values = vars(self.comparison)
        return {"hf": {name: one for name, one in values.items() if not isinstance(one, tuple)}}


_DIFFERENCES = {
    "max_abs_logit_difference": "logit difference",
    "max_abs_difference": "difference of a log-probability",
}


def compared(compare: Callable[[], Found], wanted: bool) -> tuple[Found | None, str]:
    """Hugging Face's side where it is wanted, or why it has none: ours stands by itself then."""
    try:
        return (compare() if wanted else None), ""
    except TransformersError as error:
        return None, str(error)


def around(text: str, span: tuple[int, int], most: int) -> str:
    """The part of a text around a span, in whole words and at most `most` characters."""
    start, end = span
    left = max(0, min(start - (most - (end - start)) // 2, len(text) - most))
    right = min(len(text), max(left + most, end))
    while 0 < left < start and not text[left - 1].isspace():
        left += 1
    while end < right < len(text) and not text[right].isspace():
        right -= 1
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return ellipsis * (left > 0) + text[left:right] + ellipsis * (right < len(text))


def state_names(session: Session) -> tuple[str, ...]:
    """Names of the states of the residual stream: "embeddings", "layer 0", ..."""
    layers = session.explorer.model.config.num_hidden_layers
    return ("embeddings", *(f"layer {i}" for i in range(layers)))


def layer_names(session: Session) -> tuple[str, ...]:
    """Names of the layers."""
    return state_names(session)[1:]


def head_names(session: Session) -> tuple[str, ...]:
    """Names of the heads of a layer."""
    return tuple(map(str, range(session.explorer.model.config.num_attention_heads)))


def layer_hues(session: Session, *, states: bool = False) -> tuple[Hue, ...]:
    """The hue of each layer; with `states`, of the embeddings before them too."""
    kinds = session.explorer.model.config.layer_kinds
    return ("plain", *kinds) if states else tuple(kinds)


def token_names(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Tokens as labels."""
    return tuple(word(token) for token in tokens)


def pair_names(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Tokens of two texts of one length as labels, both where they differ."""
    pairs = zip(map(word, first), map(word, second), strict=True)
    return tuple(a if a == b else f"{a} / {b}" for a, b in pairs)


def first_difference(first: Sequence[str], second: Sequence[str]) -> int:
    """The first position at which two texts of one length differ; 0 where they don't."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), 0)


def logit_name(target: Target, contrast: Target | None = None) -> str:
    """What a logit is of, in words: "logit of Paris", "logit of Paris less Rome"."""
    answer = f"logit of {said(target.token)}"
    return answer if contrast is None else f"{answer} less {said(contrast.token)}"


def part_around(position: int, count: int, most: int = 120) -> range:
    """At most so many of `count` tokens, with a position among them: all of a matrix that fits."""
    start = max(0, min(position - most // 2, count - most))
    return range(start, min(start + most, count))


def named_part(part: range, count: int) -> str:
    """The part of a text, for a title; nothing for the whole."""
    return "" if len(part) == count else f", tokens {part.start:,} to {part.stop - 1:,}"


def token_cell(tokens: Sequence[str], place: int) -> Cell:
    """A token with its position, selected by a click."""
    return Cell(place, f"{word(tokens[place])} {place}", select={"token": place})


def answer_bars(
    predictions: Sequence[Prediction], title: str, high: float, strong: int | None = None
) -> Bars:
    """The likeliest tokens with their probabilities.

    Args:
        predictions: falling.
        title: above them.
        high: probability of a full bar.
        strong: id of the token that stands out.
    """
    return Bars(
        tuple(word(one.token) for one in predictions),
        tuple(one.probability for one in predictions),
        title,
        unit="%",
        high=high,
        strong=frozenset(i for i, one in enumerate(predictions) if one.token_id == strong),
    )


def layer_heat(
    values: NDArray[Any], columns: tuple[str, ...], session: Session, axis: str = "", **more: Any
) -> Heat:
    """A matrix of layers, or of the embeddings and the states after them, the deepest on top.

    Args:
        values: (layers or states, columns).
        columns: a label each.
        session: whose model has these layers.
        axis: what columns are; a click selects a "token" or "head".
        more: attributes of `Heat`.
    """
    layers = range(session.explorer.model.config.num_hidden_layers)
    states = len(values) > len(layers)
    given: dict[str, Any] = {
        "row_axis": "after" if states else "",
        "column_axis": axis,
        "select": ("layer", axis if axis in ("token", "head") else None),
        "row_values": (None, *layers) if states else tuple(layers),
        "row_hues": layer_hues(session, states=states),
        "upward": True,
    }
    rows = state_names(session) if states else layer_names(session)
    return Heat(values.astype(float), rows, columns, **(given | more))


def token_heat(
    values: NDArray[Any], names: tuple[str, ...], place: int, title: str, **more: Any
) -> Heat:
    """A matrix of tokens by tokens; of a long text, the part around one of them.

    Args:
        values: (token, token).
        names: of the tokens.
        place: of the one token, which is outlined.
        title: what it shows.
        more: attributes of `Heat`; `row_values` are the positions of all tokens in the text.
    """
    seen = part_around(place, len(names))
    part = slice(seen.start, seen.stop)
    positions = more.pop("row_values", tuple(range(len(names))))[part]
    given: dict[str, Any] = {
        "row_axis": "query",
        "column_axis": "key",
        "select": ("token", None),
        "mark": (place - seen.start, None),
    }
    return Heat(
        values[part, part], names[part], names[part], title + named_part(seen, len(names)),
        row_values=positions, column_values=positions, **(given | more),
    )  # fmt: skip


def pair_rows(tokens: Sequence[str], **values: NDArray[Any]) -> Table:
    """A row for each query and key, for files.

    Args:
        tokens: of the text.
        values: (query, key) each, by the name of their column.
    """
    columns = ("query", "query_token", "key", "key_token", *values)
    return Table(columns, tuple(
        (i, query, j, key, *(float(each[i, j]) for each in values.values()))
        for i, query in enumerate(tokens)
        for j, key in enumerate(tokens)
    ))  # fmt: skip


def listing(
    found: Sequence[Any],
    columns: Mapping[str, str | Callable[[Any], Value]],
    title: str = "",
    *,
    tokens: Collection[str] = (),
    signed: Collection[str] = (),
    precise: Collection[str] = (),
    **more: Any,
) -> Table:
    """Things of one kind as a table, a row each; columns of words are aligned to the left.

    Args:
        found: the things.
        columns: what each shows: an attribute, "pair.good", or a function of a thing.
        title: above it.
        tokens: columns that hold tokens.
        signed: columns of numbers whose signs are shown.
        precise: columns of numbers of which each has four digits.
        more: attributes of `Table`.
    """
    shows = [attrgetter(of) if isinstance(of, str) else of for of in columns.values()]
    rows: list[dict[str, Any]] = [
        dict(zip(columns, (of(one) for of in shows), strict=True)) for one in found
    ]
    words = {name for row in rows for name, value in row.items() if _is_word(value)}
    for row in rows:
        row |= {name: Cell(row[name], word(row[name])) for name in tokens if row[name]}
        row |= {name: Cell(row[name], hue="signed") for name in signed if name not in precise}
        row |= {
            name: Cell(row[name], significant(row[name], 4, signed=name in signed))
            for name in precise
            if row[name] is not None
        }
    left = tuple(name for name in columns if name in words)
    return Table(tuple(columns), tuple(tuple(row.values()) for row in rows), title, left, **more)


def _is_word(value: Value) -> bool:
    """Whether a value is shown as words, though it may be a number of its own."""
    if isinstance(value, Cell) and value.text:
        return not any(map(str.isdigit, value.text)) or bool(re.search(r"[^\W\d_]{2}", value.text))
    return isinstance(value.value if isinstance(value, Cell) else value, str)


def records(found: Sequence[Any], *properties: str) -> Table:
    """Dataclasses as a table for files: a column for each field, and for some properties."""
    names = (*(field.name for field in fields(found[0])), *properties)
    return Table(names, tuple(tuple(getattr(one, name) for name in names) for one in found))


def side_rows(
    leads: Mapping[str, Sequence[Value]],
    pairs: Sequence[tuple[Any, Any]],
    of: str,
    columns: Sequence[str],
) -> Table:
    """A row for each answer, Hugging Face's of the same rank beside it, for files.

    Args:
        leads: what the rows of a place begin with, by column, one value a place.
        pairs: ours and theirs, one pair a place; see `Beside.pairs`.
        of: the attribute that holds the answers of a place.
        columns: attributes of an answer.
    """
    theirs = [f"hf_{name}" for name in columns if pairs[0][1] is not None]
    cells = attrgetter(*columns)
    rows = []
    for lead, sides in zip(zip(*leads.values(), strict=True), pairs, strict=True):
        answers = [map(cells, getattr(side, of)) for side in sides if side is not None]
        for rank, both in enumerate(zip(*answers, strict=False), start=1):
            rows.append((*lead, rank, *chain.from_iterable(both)))
    return Table((*leads, "rank", *columns, *theirs), tuple(rows))


def verdict(same: bool, what: str) -> Badge:
    """Whether Hugging Face's answers come in our order."""
    return Badge(f"{'same' if same else 'another'} {what} as Hugging Face transformers", same)
