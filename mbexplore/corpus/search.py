"""Heads and neurons of a corpus by what they do."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mbexplore.corpus.store import METRICS, Store
from mbexplore.errors import RangeError, UsageError

_COMPARED = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*")
_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Found:
    """What was searched for.

    Attributes:
        token: that was asked for; None for none.
        metrics: those compared.
        heads: rows of heads.parquet with the metrics, or with the number of examples and the
            largest weight.
        neurons: neurons with such examples.
    """

    token: str | None
    metrics: tuple[str, ...]
    heads: list[dict[str, Any]]
    neurons: list[dict[str, Any]]


def find(
    store: Store,
    *,
    token: str | None = None,
    metrics: Sequence[str] = (),
    kind: str | None = None,
    limit: int = 20,
) -> Found:
    """Heads for which all comparisons hold, and heads and neurons with a token in their examples.

    Args:
        store: the corpus.
        token: with or without its leading space; None for any.
        metrics: such as "previous>0.5".
        kind: "global" or "local" layers alone; None for both.
        limit: rows at most.

    Raises:
        UsageError: nothing is searched for, or a comparison can't be read.
        RangeError: there is no such metric or kind.
    """
    if token is None and not metrics:
        raise UsageError("Nothing to search for was given; add a token or a metric.")
    if kind not in (None, "global", "local"):
        raise RangeError(f"There is no kind of layer {kind!r}; choose global or local.")
    compared = [_parse(one) for one in metrics]
    heads = [
        one
        for one in store.rows("heads")
        if kind in (None, one["kind"])
        and all(one[n] is not None and _OPERATORS[sign](one[n], x) for n, sign, x in compared)
    ]
    names = tuple(dict.fromkeys(name for name, _, _ in compared))
    if names:
        heads.sort(key=lambda one: -float(one[names[0]]))
    rows = [{n: one[n] for n in ("layer", "head", "kind", *names)} for one in heads]
    if token is None:
        return Found(None, names, rows[:limit], [])
    spelt = [token, f" {token.strip()}", token.strip()]
    uses = []
    for side in ("query", "key"):
        for one in store.rows("head_examples", [(f"{side}_token", "in", spelt)]):
            uses.append({"layer": one["layer"], "head": one["head"], "as": side,
                         "strength": one["weight"]})  # fmt: skip
    kept = {(one["layer"], one["head"]): one for one in rows}
    of_heads = [
        kept[one["layer"], one["head"]] | one
        for one in _counted(uses, ("layer", "head", "as"))
        if (one["layer"], one["head"]) in kept
    ]
    fired = [
        {"layer": one["layer"], "neuron": one["neuron"], "strength": abs(one["activation"])}
        for one in store.rows("neuron_examples", [("token", "in", spelt)])
    ]
    neurons = [] if names else _counted(fired, ("layer", "neuron"))[:limit]
    return Found(token, names, of_heads[:limit], neurons)


def _parse(text: str) -> tuple[str, str, float]:
    found = _COMPARED.fullmatch(text)
    try:
        name, sign, number = found.groups() if found else ("", "", "")
        value = float(number)
    except ValueError:
        raise UsageError(
            f"{text!r} is no comparison; write a metric, <, <=, > or >=, and a number, as in "
            "previous>0.5."
        ) from None
    if name not in METRICS:
        raise RangeError(f"There is no metric {name!r}; choose {', '.join(METRICS)}.")
    return name, sign, value


def _counted(uses: Iterable[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Uses by place: how many examples and the strongest, the most examples first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for use in uses:
        key = tuple(use[name] for name in names)
        row = found.setdefault(
            key, {name: use[name] for name in names} | {"examples": 0, "strongest": 0.0}
        )
        row["examples"] += 1
        row["strongest"] = max(row["strongest"], use["strength"])
    return sorted(found.values(), key=lambda row: (-row["examples"], -row["strongest"]))
