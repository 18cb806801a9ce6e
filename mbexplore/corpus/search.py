"""Heads and neurons of a corpus by what they do, found by DuckDB in the tables of its store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mbexplore.corpus.reader import Store
from mbexplore.corpus.tables import METRICS
from mbexplore.corpus.token_classes import CLASSES, spellings
from mbexplore.errors import MissingError, RangeError, UsageError

_COMPARED = re.compile(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*([-+.\deE]+)\s*")
_IS = re.compile(
    r"(?:(?P<side>before|after) )?(?P<which>query|key|token) (?:is|=) "
    r"(?P<negated>not )?(?:an? )?(?P<what>.+)",
    re.IGNORECASE,
)
_APART = re.compile(r"""(?:[^,"]|"[^"]*")+""")
AROUND = 6
"""Tokens of a text on both sides of a use."""
NUMBERS = {"distance": "key - query", "weight": "weight"}
"""What a pattern compares with a number, as SQL has it; a distance is the key less the query."""


@dataclass(frozen=True)
class Found:
    """What was searched for, and where.

    Attributes:
        asked: what was asked for, in words.
        heads: the layer, head and kind of each, the metrics compared, and for a token or a pattern
            how many of its kept uses match, out of how many, and the largest weight of those.
        neurons: likewise, by |activation|.
        uses: of heads, the strongest that match, with the part of the text around each.
    """

    asked: str
    heads: tuple[dict[str, Any], ...]
    neurons: tuple[dict[str, Any], ...]
    uses: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Condition:
    """A part of a WHERE and its values.

    Attributes:
        sql: with question marks.
        values: for them.
        of_token: whether it is of a neuron's token, and not of a head's query and key.
    """

    sql: str
    values: tuple[Any, ...] = ()
    of_token: bool = False


def find(
    store: Store,
    *,
    token: str | None = None,
    pattern: str | None = None,
    metrics: Sequence[str] = (),
    kind: str | None = None,
    limit: int = 20,
) -> Found:
    """Heads for which everything holds; with a token, or a pattern of one, neurons too.

    Args:
        store: the corpus.
        token: a query, a key or a neuron's token, with or without its leading space.
        pattern: see `read_pattern`.
        metrics: such as "previous>0.5".
        kind: "global" or "local" layers alone; None for both.
        limit: rows at most.

    Raises:
        MissingError: nothing is searched for.
        UsageError: a comparison or a pattern can't be read.
        RangeError: there is no such metric or kind.
    """
    if token is None and pattern is None and not metrics and kind is None:
        raise MissingError("Nothing to search for was given; add a token, a pattern or a metric.")
    if kind not in (None, "global", "local"):
        raise RangeError(f"There is no kind of layer {kind!r}; choose global or local.")
    compared = [_parse(one, METRICS, "metric") for one in metrics]
    of_heads = [_Condition(f"{name} {sign} ?", (value,)) for name, sign, value in compared]
    of_heads += [_Condition("kind = ?", (kind,))] if kind else []
    names = tuple(dict.fromkeys(name for name, _, _ in compared))
    parts = [] if pattern is None else read_pattern(pattern)
    asked = ", ".join(
        [*metrics, *([f"{kind} layers"] if kind else []), *([pattern] if pattern else []),
         *([f"{token!r} as query, key or token"] if token else [])]
    )  # fmt: skip
    if token is None and not parts:
        return Found(asked, tuple(_by_metrics(store, of_heads, names, limit)), (), ())
    of_uses = [one for one in parts if not one.of_token]
    of_tokens = [one for one in parts if one.of_token]
    if of_uses and of_tokens:
        raise UsageError(
            f"{pattern!r} is of a head's query or key and of a neuron's token; ask for one of them."
        )
    heads: list[dict[str, Any]] = []
    uses: list[dict[str, Any]] = []
    neurons: list[dict[str, Any]] = []
    if not of_tokens:
        either = [_Condition("list_contains(?, query_token) OR list_contains(?, key_token)",
                             (spellings(token), spellings(token)))] if token else []  # fmt: skip
        heads = _by_uses(store, of_heads, [*of_uses, *either], names, limit)
        uses = _strongest(store, of_heads, [*of_uses, *either], limit)
    if not of_uses and not of_heads:
        own = [_Condition("list_contains(?, token)", (spellings(token),))] if token else []
        neurons = _neurons(store, [*of_tokens, *own], limit)
    return Found(asked, tuple(heads), tuple(neurons), tuple(uses))


def read_pattern(text: str) -> list[_Condition]:
    """Conditions of a pattern, which are separated by commas; all of them must hold.

    In 'query is a mask, key is capitalised, before key is "of", distance < 0' query and key are
    those of a head's use, token is that of a neuron; "before" and "after" take their neighbours.
    After "is" or "is not" stands one of `CLASSES`, a special token in brackets, or a token in
    double quotes.

    Raises:
        UsageError: a condition can't be read.
        RangeError: there is no such class.
    """
    return [_condition(part.strip()) for part in _APART.findall(text) if part.strip()]


def _condition(text: str) -> _Condition:
    if (found := _IS.fullmatch(text)) is None:
        if _COMPARED.fullmatch(text) is None:
            raise UsageError(
                f"{text!r} is no condition; write query is, key is or token is and a class of "
                "tokens, or compare distance or weight with a number."
            )
        name, sign, value = _parse(text, tuple(NUMBERS), "number of a use")
        return _Condition(f"{NUMBERS[name]} {sign} ?", (value,))
    which = found["which"].lower()
    place = "position" if which == "token" else which
    side = (found["side"] or "").lower()
    # DuckDB counts from 1, and a list has nothing beyond its ends.
    column = {
        "": f"{which}_token" if which != "token" else "token",
        "before": f"coalesce(tokens[nullif({place}, 0)], '')",
        "after": f"coalesce(tokens[{place} + 2], '')",
    }[side]
    sql, values = _test(column, found["what"].strip())
    negated = "NOT " if found["negated"] else ""
    return _Condition(f"{negated}({sql})", values, which == "token")


def _test(column: str, what: str) -> tuple[str, tuple[Any, ...]]:
    if what.lower() in CLASSES:
        return f"regexp_full_match({column}, ?)", (CLASSES[what.lower()].pattern,)
    if len(what) > 1 and what[0] == what[-1] == '"':
        return f"list_contains(?, {column})", (spellings(what[1:-1]),)
    if what.startswith(("[", "<")):
        return f"{column} = ?", (what,)
    raise RangeError(
        f"There is no class of tokens {what!r}; choose {', '.join(CLASSES)}, or write a token in "
        'double quotes: "of". Nothing tags parts of speech.'
    )


def _parse(text: str, names: Sequence[str], what: str) -> tuple[str, str, float]:
    found = _COMPARED.fullmatch(text)
    try:
        name, sign, number = found.groups() if found else ("", "", "")
        value = float(number)
    except ValueError:
        raise UsageError(
            f"{text!r} is no comparison; write a {what}, <, <=, =, >= or >, and a number, as in "
            f"{names[1]}>0.5."
        ) from None
    if name not in names:
        raise RangeError(f"There is no {what} {name!r}; choose {', '.join(names)}.")
    return name, sign, value


_USES = """(SELECT DISTINCT layer, head, text, query, key, query_token, key_token, weight
FROM head_examples)"""
"""Of a head; one that is among the strongest and in a sample counts once."""


def _where(conditions: Sequence[_Condition]) -> tuple[str, list[Any]]:
    sql = " AND ".join(f"({one.sql})" for one in conditions) or "true"
    return sql, [value for one in conditions for value in one.values]


def _by_metrics(
    store: Store, conditions: Sequence[_Condition], names: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    where, values = _where(conditions)
    order = f"{names[0]} DESC, " if names else ""
    columns = ", ".join(("layer", "head", "kind", *names))
    return store.query(
        f"SELECT {columns} FROM heads WHERE {where} ORDER BY {order}layer, head LIMIT ?",
        [*values, limit],
    )


def _by_uses(
    store: Store, of_heads: Sequence[_Condition], of_uses: Sequence[_Condition],
    names: Sequence[str], limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    heads, head_values = _where(of_heads)
    uses, use_values = _where(of_uses)
    metrics = "".join(f", any_value({name}) AS {name}" for name in names)
    return store.query(
        f"""WITH matched AS (
            SELECT u.*, kind, {uses} AS hit{"".join(f", {name}" for name in names)}
            FROM {_USES} u JOIN heads USING (layer, head) JOIN texts USING (text) WHERE {heads})
        SELECT layer, head, any_value(kind) AS kind{metrics}, count(*) FILTER (hit) AS uses,
            count(*) AS kept, max(weight) FILTER (hit) AS strongest
        FROM matched GROUP BY layer, head HAVING count(*) FILTER (hit) > 0
        ORDER BY uses DESC, strongest DESC, layer, head LIMIT ?""",
        [*use_values, *head_values, limit],
    )


def _strongest(
    store: Store, of_heads: Sequence[_Condition], of_uses: Sequence[_Condition], limit: int
) -> list[dict[str, Any]]:
    where, values = _where([*of_heads, *of_uses])
    found = store.query(
        f"""SELECT layer, head, kind, query, key, query_token, key_token, weight, id, tokens
        FROM {_USES} u JOIN heads USING (layer, head) JOIN texts USING (text) WHERE {where}
        ORDER BY weight DESC, layer, head, text, query LIMIT ?""",
        [*values, limit],
    )
    for one in found:
        one["text"] = _around(one.pop("tokens"), one["query"], one["key"])
    return found


def _around(tokens: Sequence[str], *places: int) -> str:
    """The text from a few tokens before the first place to a few after the last."""
    start, stop = max(0, min(places) - AROUND), max(places) + AROUND + 1
    dots = "\N{HORIZONTAL ELLIPSIS}"
    text = "".join(tokens[start:stop]).strip()
    return f"{dots * (start > 0)}{text}{dots * (stop < len(tokens))}"


def _neurons(store: Store, conditions: Sequence[_Condition], limit: int) -> list[dict[str, Any]]:
    where, values = _where(conditions)
    return store.query(
        f"""WITH matched AS (
            SELECT n.*, {where} AS hit FROM (
                SELECT DISTINCT layer, neuron, text, position, token, activation
                FROM neuron_examples) n JOIN texts USING (text))
        SELECT layer, neuron, count(*) FILTER (hit) AS uses, count(*) AS kept,
            max(abs(activation)) FILTER (hit) AS strongest
        FROM matched GROUP BY layer, neuron HAVING count(*) FILTER (hit) > 0
        ORDER BY uses DESC, strongest DESC, layer, neuron LIMIT ?""",
        [*values, limit],
    )
