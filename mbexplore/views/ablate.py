"""What becomes of the answer without parts of the model, or without each head alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import (
    Bars,
    Block,
    Cell,
    Headline,
    Heat,
    Note,
    Row,
    Selection,
    Table,
    Value,
)
from mbexplore.display.numbers import decimals, fixed, percent, significant
from mbexplore.errors import UsageError
from mbexplore.limits import ABLATE
from mbexplore.text import said, word
from mbexplore.views._parts import blocked_option, parts_option, read_parts
from mbexplore.views.shared import LISTED, answer_bars, head_names, layer_heat, logit_name
from mbexplore.views.view import Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.ablate import Ablation, HeadAblation
    from mbexplore.analysis.target import Target
    from mbexplore.explorer import Prediction
    from mbexplore.session import Session

TOP = 5
"""Predictions listed with and without the parts."""


@dataclass(frozen=True)
class Ablated:
    """What was ablated: parts, each head alone, or both.

    Attributes:
        parts: the answer without the parts, or None.
        heads: the answer without each head alone, or None.
        before: the likeliest answers with every part in place.
        after: those without all of the parts.
    """

    parts: Ablation | None
    heads: HeadAblation | None
    before: tuple[Prediction, ...]
    after: tuple[Prediction, ...]

    @property
    def target(self) -> Target:
        """The answer, the same for both."""
        found = self.parts or self.heads
        assert found is not None
        return found.target


class AblateView(View[Ablated]):
    """Ablation: the answer without heads, attention or MLP outputs, tokens or distances."""

    name = "ablate"
    title = "Ablation"
    question = "Which parts does the answer need?"
    guide = Guide(
        "What becomes of the answer when a head, or any set of parts, is switched off.",
        "Purple cells are heads that the answer needs: without them its logit falls; olive ones"
        " work against it.",
        "Switch two heads off together.",
        values={"parts": ("6.3", "8.2")},
    )
    evidence = "causal"
    tested = "against a model built by hand, whose one working head is known"
    group = "Which part"
    place = 1
    papers = cited("michel2019sixteen", "geva2023dissecting")
    limits = ABLATE
    explains_answer = True

    token: Token = None
    answer: str | None = None
    contrast: str | None = None
    parts: tuple[str, ...] = parts_option(
        "What is ablated: a head, 3.1, or all that a layer's attention or MLP adds, 3.attention "
        "or 3.mlp; several together, then each alone. Without any, each head alone."
    )
    blocked: tuple[str, ...] = blocked_option()
    distance: int | None = option(
        "The longest distance over which tokens attend.", default=None, at_least=0, label=""
    )
    replacement: Literal["zero", "mean"] = option(
        "In place of the output of a head, an attention or an MLP: zero, or its mean over tokens.",
        default="zero",
    )
    all_heads: bool = option(
        "Each head alone, beside the parts.", default=False, label="each head alone"
    )

    def __post_init__(self) -> None:
        """Refuses a replacement where no output is replaced."""
        super().__post_init__()
        blocks = bool(self.blocked) or self.distance is not None
        if self.replacement != "zero" and blocks and not (self.parts or self.all_heads):
            raise UsageError(
                f"replacement {self.replacement!r} has no effect without a head, an attention or "
                "an MLP that is ablated; leave it out, or name one."
            )

    def compute(self, session: Session) -> Ablated:
        """A forward pass without the parts, and one for each of them or for each head."""
        from mbexplore.analysis.ablate import ablate, ablate_heads, ablated_predictions

        parts = read_parts(session, self.parts, self.blocked, self.distance)
        explorer, encoding = session.explorer, session.encoding
        asked: dict[str, Any] = {"answer": self.answer, "contrast": self.contrast}
        where = session.token(self.token)
        each = None
        if self.all_heads or not parts:
            each = session.once(
                ("ablate_heads", where, self.answer, self.contrast, self.replacement),
                lambda: ablate_heads(
                    explorer, encoding, where, **asked, replacement=self.replacement,
                    progress=session.progress,
                ),
            )  # fmt: skip
        if not parts:
            return Ablated(None, each, (), ())
        some = ablate(explorer, encoding, parts, where, **asked, replacement=self.replacement)
        before, after = (
            ablated_predictions(
                explorer, encoding, each_time, where, replacement=self.replacement, top_k=TOP
            )
            for each_time in ((), parts)
        )
        return Ablated(some, each, before, after)

    def blocks(self, found: Ablated, session: Session) -> Iterator[Block]:
        """The answer without the parts, then without each head alone."""
        if found.parts is not None:
            yield from _without(found.parts, found)
        if found.heads is not None:
            yield from _each_head(found.heads, session, alone=found.parts is None)
        mark = " \N{BULLET} marks a head without which the answer's rank changes."
        yield Note(self.limits + mark * (found.heads is not None))

    def table(self, found: Ablated, session: Session) -> Table | None:
        """A row for each head, or for each ablation."""
        if found.heads is None:
            return super().table(found, session)
        kinds = session.explorer.model.config.layer_kinds
        names = ("logit", "probability", "rank")
        rows = (
            (layer, kind, head, *(getattr(found.heads, n)[layer, head].item() for n in names))
            for layer, kind in enumerate(kinds)
            for head in range(found.heads.logit.shape[1])
        )
        columns = ("layer", "kind", "head", "logit_change", "probability_change", "rank")
        return Table(columns, tuple(rows))


def _listed(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"all {len(parts)} parts"


def _without(found: Ablation, all_of_it: Ablated) -> Iterator[Block]:
    """The answer without all of the parts, then without each."""
    clean, after = found.clean, found.effects[0]
    answer, names = said(found.target.token), [_listed(effect.parts) for effect in found.effects]
    yield Headline(
        f"Without {names[0]} the probability of {answer} is {percent(after.score.probability)} "
        f"instead of {percent(clean.probability)}; {said(after.top1)} is at rank 1."
    )
    scores = [clean, *(effect.score for effect in found.effects)]
    changes = tuple(score.logit - clean.logit for score in scores)
    logit = logit_name(found.target, found.contrast)
    columns: dict[str, Iterable[Value]] = {
        "without": ["nothing", *names],
        "logit": [Cell(one.logit, f"{one.logit:.2f}") for one in scores],
        "change": [Cell(change, hue="signed") for change in changes],
        "p": [one.probability for one in scores],
        "rank": [one.rank for one in scores],
        "top-1": ["", *(Cell(one.top1, word(one.top1)) for one in found.effects)],
    }
    yield Table.of(columns, f"The {logit}", left=("without", "top-1"), shares=("p",))
    if len(found.effects) > 1:
        title = f"Change of the {logit}"
        yield Bars(tuple(names), changes[1:], title, unit="logits", hue="signed")
    high = max(one.probability for one in (*all_of_it.before, *all_of_it.after))
    sides = (("With every part", all_of_it.before), (f"Without {names[0]}", all_of_it.after))
    yield Row(tuple(answer_bars(side, name, high, found.target.token_id) for name, side in sides))


def _each_head(found: HeadAblation, session: Session, *, alone: bool) -> Iterator[Block]:
    """A map of all heads and a table of the strongest, under a headline where they are alone."""
    answer, clean = said(found.target.token), found.clean
    logit = logit_name(found.target, found.contrast)
    strongest = found.strongest(LISTED)
    if alone:
        first = strongest[0]
        left = clean.probability + float(found.probability[first])
        yield Headline(
            f"{answer} rests most on head {first[0]}.{first[1]}: without it the {logit} "
            f"changes by {significant(float(found.logit[first]), signed=True)}, its probability "
            f"from {percent(clean.probability)} to {percent(left)}."
        )
    yield _head_map(found, session)
    kinds = session.explorer.model.config.layer_kinds
    gains = [float(found.probability[head]) for head in strongest]
    columns: dict[str, Iterable[Value]] = {
        "head": [Cell(f"{i}.{j}", select=_selection(i, j)) for i, j in strongest],
        "kind": [Cell(kinds[layer], hue=kinds[layer]) for layer, _ in strongest],
        "change of logit": [Cell(float(found.logit[head]), hue="signed") for head in strongest],
        "change of p": [Cell(gain, "+" * (gain > 0) + percent(gain)) for gain in gains],
        "rank": [int(found.rank[head]) for head in strongest],
    }
    title = "Most influential heads"
    yield Table.of(columns, title, left=("head", "kind"), bars=("change of logit",))


def _selection(layer: int | str, head: int | str) -> Selection:
    return {"layer": layer, "head": head, "parts": f"{layer}.{head}", "all_heads": True}


def _head_map(found: HeadAblation, session: Session) -> Heat:
    most = float(abs(found.logit).max()) or 1.0
    places = decimals(most)

    def text(layer: int, head: int) -> str:
        change = float(found.logit[layer, head])
        moves = bool(found.rank[layer, head] != found.clean.rank)
        shows = moves or abs(change) > most / 4
        return (fixed(change, places, signed=True) + "\N{BULLET}" * moves) if shows else ""

    layers, heads = found.logit.shape
    more = _selection("{row}", "{column}")
    return layer_heat(
        found.logit, head_names(session), session, "head", hue="signed", unit="logits",
        title=f"Change of the {logit_name(found.target, found.contrast)} without each head",
        texts=tuple(tuple(text(i, j) for j in range(heads)) for i in range(layers)),
        select_more={name: more[name] for name in ("parts", "all_heads")},
    )  # fmt: skip
