"""Blocks and files of words scored over all fillings of a template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Headline, Heat, Note, Table
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import UsageError
from mbexplore.text import shown, word
from mbexplore.views.parameters import split_texts
from mbexplore.views.shared import Beside, compared, listing

if TYPE_CHECKING:
    from mbexplore.analysis.templates import Difference, TemplateScores
    from mbexplore.session import Session
    from mbexplore.views.score import ScoreView

COMPARED = 32
"""Fillings that are compared with Hugging Face."""
ENOUGH = 5
"""Pairs from which on the headline goes by an interval: that of fewer is too narrow."""
DRAWN = 60
"""Fillings in the heat map."""
MOST_GROUPS = 40
MOST_DIFFERENCES = 24
LETTERS = 40


@dataclass(frozen=True)
class FirstCompared:
    """Hugging Face's side of the first fillings.

    Attributes:
        version: of transformers.
        max_abs_difference: from its log-probabilities.
        compared: how many fillings.
    """

    version: str
    max_abs_difference: float
    compared: int


class FilledScores(Beside["TemplateScores"]):
    """Words over all fillings of a template."""

    comparison: FirstCompared | None

    def blocks(self) -> Iterator[Block]:
        """The clearest difference, the map of template x word, means and paired differences."""
        found = self.found
        yield Headline(_headline(found))
        yield _heat(found)
        if len(found.fillings) > DRAWN:
            yield Note(f"The first {DRAWN} of {len(found.fillings):,} fillings; a file has all.")
        means = found.means
        yield _groups(found)
        if len(means) > MOST_GROUPS:
            yield Note(f"The first {MOST_GROUPS} of {len(means):,} means; JSON has all.")
        differences = found.differences
        if differences:
            yield _differences(differences)
            yield Note(
                "Differences of log-probabilities between fillings that are alike but for the "
                "slot, or between two words; intervals: 95%, percentile bootstrap over the pairs, "
                f"too narrow for fewer than {ENOUGH}."
            )
        if len(differences) > MOST_DIFFERENCES:
            yield Note(
                f"The first {MOST_DIFFERENCES} of {len(differences):,} differences; JSON has all."
            )
        yield from self.notes
        if self.comparison is not None and self.comparison.compared < len(found.fillings):
            yield Note(f"Compared: the first {self.comparison.compared}.")

    def to_json(self) -> dict[str, Any]:
        """Every filling with its words, the means and the differences."""
        found = self.found
        plain = pick(found, "template", "slots", "means", "differences")
        plain["order"] = found.scores[0].order
        plain["rows"] = [
            pick(scores, "position", "targets")
            | {
                "fill": dict(zip(found.slots, one.values, strict=True)),
                "text": one.text,
                "log_odds": [target.log_odds for target in scores.targets],
            }
            for one, scores in zip(found.fillings, found.scores, strict=True)
        ]
        return plain | super().to_json()

    def table(self) -> Table:
        """A row for each filling and word."""
        found = self.found
        columns = ("probability", "log_probability", "log_odds", "logit", "rank")
        rows = [
            (*one.values, one.text, target.text, "|".join(target.pieces),
             *(getattr(target, name) for name in columns))
            for one, scores in zip(found.fillings, found.scores, strict=True)
            for target in scores.targets
        ]  # fmt: skip
        return Table((*found.slots, "filled", "target", "pieces", *columns), tuple(rows))

    def arrays(self) -> Arrays:
        """Log-probabilities, (filling, word)."""
        return {"log_probabilities": self.found.log_probabilities}


def score_fillings(session: Session, view: ScoreView, targets: tuple[str, ...]) -> FilledScores:
    """Scores words in every filling of the session's text; see `templates.score_template`."""
    from mbexplore.analysis.label_scores import check_scores
    from mbexplore.analysis.score import compare_with_transformers
    from mbexplore.analysis.templates import score_template

    if not targets:
        raise UsageError("A template needs words to score; give targets, such as he,she.")
    explorer, [template] = session.explorer, session.texts
    check_scores(explorer)
    fills = read_fills(view.fill)
    found = session.once(
        ("template", view.fill, targets, *view.where.values()),
        lambda: score_template(
            explorer, template, fills, targets, **view.where, progress=session.progress
        ),
    )

    def compare() -> FirstCompared:
        some = [compare_with_transformers(explorer, one) for one in found.scores[:COMPARED]]
        most = max(one.max_abs_difference for one in some)
        return FirstCompared(some[0].version, most, len(some))

    return FilledScores(found, *compared(compare, view.hf))


def read_fills(fill: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Values by slot, of "name=John,Mary"; a list without a name is for a slot without one.

    Raises:
        UsageError: a slot is filled twice, or with nothing.
    """
    fills: dict[str, tuple[str, ...]] = {}
    for number, given in enumerate(fill, 1):
        name, equals, listed = given.partition("=")
        name, listed = (name.strip(), listed) if equals else ("", given)
        name = name or ("slot" if len(fill) == 1 else f"slot {number}")
        values = split_texts(listed, ",")
        if not values:
            raise UsageError(f"{given!r} fills a slot with nothing; write name=WORD,WORD.")
        if name in fills:
            raise UsageError(f"The slot {{{name}}} is filled twice; give one list of it.")
        fills[name] = values
    return fills


def _headline(found: TemplateScores) -> str:
    count = f"{len(found.fillings):,} filling{'s' * (len(found.fillings) > 1)}"
    every = found.differences
    if not every:
        return f"{count} of {len(found.targets):,} words."
    many = [one for one in every if one.count >= ENOUGH]
    sure = [one for one in many if (one.low or 0.0) * (one.high or 0.0) > 0]
    if many and not sure:
        return f"{count}: no difference is clear of 0."
    best = max(sure or every, key=lambda one: abs(one.mean))
    what = f"{shown(best.first)} against {shown(best.second)}"
    what = f"{shown(best.target)}, {what}" if best.slot else what
    about = f"{count}: {what}: {significant(best.mean, signed=True)} nats"
    if not sure:
        return f"{about}, of too few pairs to be sure."
    low, high = (significant(x or 0.0, signed=True) for x in (best.low, best.high))
    return f"{about}, 95% interval {low} to {high}."


def _heat(found: TemplateScores) -> Heat:
    names = [" \N{MIDDLE DOT} ".join(one.values) for one in found.fillings]
    values = found.log_probabilities[:DRAWN]
    return Heat(
        values,
        tuple(name[:LETTERS] for name in names[:DRAWN]),
        tuple(map(word, found.targets)),
        title=f"Log-probability of each word by {' and '.join(found.slots)}",
        row_axis="filling",
        column_axis="word",
        hue="global",
        unit="nats",
        texts=tuple(
            tuple(percent(one.probability) for one in scores.targets)
            for scores in found.scores[:DRAWN]
        ),
    )


def _groups(found: TemplateScores) -> Table:
    columns = {
        "slot": "slot", "value": "value", "word": "target", "fillings": "count",
        "mean p": "probability", "mean log p": "log_probability",
    }  # fmt: skip
    return listing(
        found.means[:MOST_GROUPS], columns, "Means", tokens=("word",), shares=("mean p",),
        precise=("mean log p",),
    )  # fmt: skip


BOUNDS = ("mean", "from", "to")


def _differences(every: Sequence[Difference]) -> Table:
    columns: dict[str, Any] = {
        "slot": lambda one: one.slot or "words",
        "difference": lambda one: f"{one.first} less {one.second}",
        "word": lambda one: one.target if one.slot else "",
        "pairs": "count", "mean": "mean", "from": "low", "to": "high",
    }  # fmt: skip
    return listing(
        every[:MOST_DIFFERENCES], columns, "Paired differences, nats", tokens=("word",),
        signed=BOUNDS, precise=BOUNDS,
    )  # fmt: skip
