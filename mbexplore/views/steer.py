"""What a direction in the residual stream does to the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Headline, Lines, Note, Row, Series, Table
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import MissingError, UsageError
from mbexplore.text import said, word
from mbexplore.views.shared import answer_bars
from mbexplore.views.view import FRANCE, ITALY, Guide, Layer, Token, View, cited, option

if TYPE_CHECKING:
    from torch import Tensor

    from mbexplore.analysis.steer import Steering
    from mbexplore.session import Session


class SteerView(View["Steering"]):
    """Adds a direction to every token's state after a layer, or takes it out, and answers again.

    The direction is the difference between the mean states of two sets of prompts, or a vector from
    a file.
    """

    name = "steer"
    title = "Steering"
    question = "What does a direction do to the answer?"
    guide = Guide(
        "The answers before and after a direction is added to the model's states.",
        "The direction is the difference between prompts; the curves show what its strength "
        "does to each answer.",
        "Lead France towards Italy at layer 6.",
        values={"toward": (ITALY,), "away": (FRANCE,), "layer": 6},
        texts=(FRANCE,),
    )
    evidence = "causal"
    tested = "against edits made by hand"
    papers = cited("turner2023activation", "rimsky2023steering", "arditi2024refusal")
    group = "Which part"
    place = 3
    limits = (
        "A large strength leaves the states that the model knows, and breaks more than it steers; "
        "and a direction found in a few prompts also holds what else they differ in."
    )
    explains_answer = True
    needs_more = True
    example = (
        '"The capital of France is [MASK]." --toward "The capital of Italy is [MASK]." '
        '--away "The capital of France is [MASK]." --layer 6'
    )

    toward: tuple[str, ...] = option(
        "Prompts that the direction leads to, with semicolons between them.",
        default=(), separator=";", from_file=True,
    )  # fmt: skip
    away: tuple[str, ...] = option(
        "Prompts that it leads away from.", default=(), separator=";", from_file=True
    )
    vector: str | None = option(
        "A file with the direction instead: npy, npz or safetensors, FILE:NAME for one of several.",
        default=None, local=True,
    )  # fmt: skip
    layer: Layer = option("After which layer, from 0; by default the last.", default=-1, short="-l")
    strength: float = option("Times the direction.", default=1.0, only={"ablate": (False,)})
    ablate: bool = option("Take the part along the direction out of every state.", default=False)
    token: Token = None
    top_k: int = option("Predictions listed.", default=5, short="-k", at_least=1, label="")

    def compute(self, session: Session) -> Steering:
        """Finds the direction, then a pass for each strength."""
        from mbexplore.analysis.readout import build_readout
        from mbexplore.analysis.steer import steer
        from mbexplore.session import check_layer

        layer, position = check_layer(session.explorer, self.layer), session.token(self.token)
        build_readout(session.explorer, session.encoding, position)  # before any work
        direction = self._direction(session, layer)
        return steer(
            session.explorer, session.encoding, direction, layer, strength=self.strength,
            ablate=self.ablate, position=position, top_k=self.top_k, progress=session.progress,
        )  # fmt: skip

    def _direction(self, session: Session, layer: int) -> Tensor:
        from mbexplore.analysis.steer import find_direction, load_direction

        if self.vector is not None:
            if self.toward or self.away:
                raise UsageError("A vector and prompts were both given; leave one out.")
            return load_direction(session.explorer, self.vector)
        if bool(self.toward) != bool(self.away):
            lacks, has = ("away from", "toward") if self.toward else ("toward", "away from")
            raise MissingError(
                f"There is no direction from prompts that it leads {has} alone; add prompts that "
                f"it leads {lacks}."
            )
        if not self.toward:
            raise MissingError(
                "There is no direction; give prompts that it leads toward and away from, or a "
                "vector."
            )
        return find_direction(session.explorer, self.toward, self.away, layer)

    def blocks(self, found: Steering, session: Session) -> Iterator[Block]:
        """Both answers, and how they change with the strength."""
        before, after = said(found.target.token), said(found.steered.token)
        what = "Without the direction" if found.strength is None else (
            f"With {significant(found.strength)} times the direction"
        )  # fmt: skip
        chances = [found.before[0].probability, found.after[0].probability]
        old, new = map(percent, chances)
        change = (
            f"stays {before}, {new} instead of {old}"
            if after == before
            else f"is {after} ({new}) instead of {before} ({old})"
        )
        yield Headline(f"{what} after layer {found.layer} the answer {change}.")
        high = max(chances)
        yield Row((
            answer_bars(found.before, "As it is", high, found.target.token_id),
            answer_bars(found.after, "Steered", high, found.target.token_id),
        ))  # fmt: skip
        if found.curve:
            yield _curve(found)
            yield _strengths(found)
        length, state = significant(found.norm), significant(found.state_norm)
        yield Note(
            f"The direction has length {length}, the states {state} on average; KL(before || "
            f"after) {significant(found.kl)} nats. {self.limits}"
        )


def _curve(found: Steering) -> Lines:
    x = tuple(one.strength for one in found.curve)
    series = [
        Series(
            word(found.target.token), tuple(one.before.probability for one in found.curve), x,
            dots=True,
        )
    ]  # fmt: skip
    if found.steered != found.target:
        after = tuple(one.after.probability for one in found.curve)
        series.append(Series(word(found.steered.token), after, x, dashed=True, dots=True))
    title = f"Probability of {' and '.join(one.name for one in series)}"
    return Lines(tuple(series), title, x="strength", y="probability", marks={"as it is": 0.0})


def _strengths(found: Steering) -> Table:
    """The answers' probabilities and ranks; of one alone where it stays."""
    names, columns = [word(found.target.token)], [[one.before for one in found.curve]]
    if found.steered != found.target:
        names.append(word(found.steered.token))
        columns.append([one.after for one in found.curve])
    rows = tuple(
        (one.strength, *(x for side in sides for x in (side.probability, side.rank)))
        for one, *sides in zip(found.curve, *columns, strict=True)
    )
    shares = tuple(f"p of {name}" for name in names)
    ranks = (f"rank of {name}" for name in names)
    heads = (one for pair in zip(shares, ranks, strict=True) for one in pair)
    return Table(("strength", *heads), rows, shares=shares)
