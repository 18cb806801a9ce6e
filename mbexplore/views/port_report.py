"""How `verify --against` shows another implementation beside ours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Note, Table
from mbexplore.display.data import pick
from mbexplore.display.numbers import percent, significant
from mbexplore.views.shared import listing, records

if TYPE_CHECKING:
    from mbexplore.reference.ports.compare import PortReport, Value
    from mbexplore.reference.verify import Check

EXPLAIN = (
    "Cosine: the least of any text. Error: from ours in float64, root mean square; allowed: from "
    "the error of our own computation in {precision}."
)


def port_blocks(found: PortReport) -> Iterator[Block]:
    """The verdict, the diagnosis, and the worst value of every case."""
    yield Headline(_verdict(found))
    if not found.passed:
        yield Note(diagnosis_of(found))
        yield Note(symptoms_of(found))
    worst = [max(values, key=_excess) for _, values in groupby(found.compared, lambda x: x.case)]
    columns: dict[str, Any] = {
        "text": "case", "tokens": "tokens", "value": _name,
        "cosine": lambda one: Cell(one.cosine, f"{one.cosine:.6f}"), **VERDICT,
    }  # fmt: skip
    yield listing(worst, columns, "Texts, the worst value of each")
    yield Note(" ".join((EXPLAIN.format(precision=found.precision), *found.notes)))
    if found.not_compared:
        yield Note("Not compared: " + "; ".join(found.not_compared) + ".")


def diagnosis_of(found: PortReport) -> str:
    """The fault that explains the difference, in a sentence."""
    cause = found.diagnosis
    broken = next((one for one in found.compared if not math.isfinite(one.error)), None)
    if broken is not None:
        where = f"{_name(broken)} of {broken.case}"
        return f"{found.name} gives numbers that are not finite, first at {where}."
    if cause is None:
        advice = ""
        if not any(one.name.startswith("hidden_states.0") for one in found.compared):
            advice = " Give hidden_states.N too, and the first layer that differs is named."
        return (
            "None of the known faults explains the difference: another fault, or other weights."
            + advice
        )
    fault = f"{found.name} behaves as if {cause.sentence}"
    within = significant(cause.agrees_within, 2)
    if cause.closest:
        left = percent(cause.remains)
        return f"No known fault explains it all. The closest: {fault}; {left} of it remains."
    also = f" These texts don't tell it from: {', '.join(cause.also)}." if cause.also else ""
    return f"{fault}: with that fault ours agrees within {within}.{also}"


def symptoms_of(found: PortReport) -> str:
    """Where both sides differ, in a sentence."""
    worst = max(found.compared, key=_excess)
    same = [case for case in found.cases if case not in found.differing]
    parts = [
        f"Most at {_name(worst)} of {worst.case}: cosine {worst.cosine:.4f}, "
        f"{significant(worst.norm_ratio, 3)} of our root mean square"
    ]
    if worst.first_token is not None:
        parts.append(f"{percent(worst.tokens_beyond)} of the tokens, from {worst.first_token} on")
    if same:
        parts.append(f"no difference on {', '.join(same)}")
    return "; ".join(parts) + "."


def port_json(found: PortReport) -> dict[str, Any]:
    """Everything, as `--json` prints it."""
    first, cause = found.first_mismatch, found.diagnosis
    return pick(found, "precision", "not_compared", "notes", against="name") | {
        "pass": found.passed,
        "first_mismatch": first and pick(first, "case", "name"),
        "diagnosis": None if cause is None or cause.closest else cause,
        "closest": cause if cause is not None and cause.closest else None,
        "compared": [dataclasses.asdict(one) | {"passed": one.passed} for one in found.compared],
    }


def port_table(found: PortReport) -> Table:
    """A row for each value of each case."""
    return records(found.compared, "passed")


def _verdict(found: PortReport) -> str:
    cases = len(found.cases)
    first = found.first_mismatch
    if first is None:
        largest = max(value.max_abs for value in found.compared)
        return (
            f"PASS: {found.name} agrees on {cases} texts as far as {found.precision} rounds; the "
            f"largest difference is {significant(largest, 2)}."
        )
    return (
        f"FAIL: {found.name} differs on {len(found.differing)} of {cases} texts, first at "
        f"{_name(first)} of {first.case}."
    )


def _name(value: Value) -> str:
    return value.name.replace("hidden_states.", "state ").replace(".", " ")


def _two_digits(name: str) -> Callable[[Any], Cell]:
    def cell(one: Any) -> Cell:
        return Cell(value := getattr(one, name), significant(value, 2))

    return cell


def _within(one: Check | Value) -> Cell:
    sign = "\N{CHECK MARK}" if one.passed else "\N{MULTIPLICATION X} beyond"
    return Cell(one.passed, sign, strong=not one.passed)


VERDICT: dict[str, Callable[[Any], Cell]] = {
    "largest": _two_digits("max_abs"), "error": _two_digits("error"),
    "allowed": _two_digits("tolerance"), "within": _within,
}  # fmt: skip
"""Columns of a check: largest difference, error, what that may be, and whether it is within."""


def _excess(value: Value) -> float:
    excess = value.error / value.tolerance
    return excess if excess == excess else float("inf")
