"""Two texts in one model, or one text in two models, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Row, Table
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import MissingError
from mbexplore.limits import COMPARE
from mbexplore.text import said
from mbexplore.views.shared import (
    answer_bars,
    first_difference,
    layer_heat,
    layer_hues,
    listing,
    pair_names,
    state_names,
    token_cell,
    token_heat,
)
from mbexplore.views.view import (
    FRANCE,
    ITALY,
    Guide,
    Head,
    Layer,
    OtherModel,
    Token,
    View,
    cited,
    option,
)

if TYPE_CHECKING:
    from mbexplore.analysis.compare import ComparedRun, RunComparison
    from mbexplore.session import Session


class CompareView(View["RunComparison"]):
    """Two texts, or two models: their answers, residual streams and attention.

    Texts of unequal length are compared at the tokens of their common beginning and end, and models
    of other sizes by what both answer and where they attend.
    """

    name = "compare"
    title = "Compare"
    question = "Where do two texts, or two models, differ?"
    guide = Guide(
        "Two texts, or two models, side by side: their answers, and where inside they differ.",
        "Dark cells are where the two runs differ most; follow them from the word that was "
        "changed to the answer.",
        "Compare with Italy in place of France.",
        values={"other": ITALY},
        texts=(FRANCE,),
    )
    evidence = "correlational"
    tested = "between a run and itself, and at a known place where two part"
    group = "Versus"
    place = 1
    papers = cited("kornblith2019similarity")
    limits = COMPARE
    explains_answer = True
    example = '"The capital of France is [MASK]." "The capital of Italy is [MASK]."'

    other: str | None = option(
        "The second text; the same one by default.",
        default=None,
        positional=True,
        label="second text",
    )
    other_model: OtherModel = option(
        "The second model, in the forms of --model; the same one by default.",
        default=None,
        flag="--with",
        label="second model",
    )
    token: Token = None
    layer: Layer = option(
        "Whose attention weights, from 0; by default the last.", default=-1, short="-l"
    )
    head: Head = option(
        "Which head, from 0; by default the mean of all.", default=None, only={"mean": (False,)}
    )
    mean: bool = option(
        "The mean of all heads, whichever head is selected.", default=False, label="mean of heads"
    )
    top_k: int = option("Predictions listed.", default=5, short="-k", at_least=1, label="")

    def compute(self, session: Session) -> RunComparison:
        """Both runs and their differences."""
        from mbexplore.analysis.compare import KEEP, compare
        from mbexplore.analysis.readout import build_readout

        other = (self.other or "").strip() and self.other
        if not other and self.other_model is None:
            raise MissingError("There is nothing to compare with; add a second text or model.")
        sides = (session, session.beside(other or None, self.other_model))
        position = session.token(self.token)
        for each in sides:  # what can't be asked costs no run
            build_readout(each.explorer, each.encoding, position)
        depth = min(each.explorer.model.config.num_hidden_layers for each in sides)
        return compare(
            *((each.explorer, each.recording(*KEEP)) for each in sides),
            layer=self.layer + depth if self.layer < 0 else self.layer,
            head=self.head,
            position=position,
            top_k=self.top_k,
        )

    def blocks(self, found: RunComparison, session: Session) -> Iterator[Block]:
        """The answers, then where the runs differ."""
        sides = (found.first, found.second)
        yield Headline(_summary(found))
        high = max(one.probability for side in sides for one in side.predictions)
        followed = found.first.predictions[0].token_id if found.kl is not None else None
        yield Row(tuple(
            answer_bars(side.predictions, name, high, followed)
            for name, side in zip(_names(found), sides, strict=True)
        ))  # fmt: skip
        heats = tuple(_maps(found, session))
        if heats:
            yield Row(heats)
        if found.residual_distance is not None:
            yield _distances(found, session)
        yield Note(f"{found.unavailable_reason} {self.limits}".strip())

    def position(self, found: RunComparison) -> int | None:
        """The token that the first answer is about."""
        return found.first.position

    def table(self, found: RunComparison, session: Session) -> Table:
        """The predictions of both."""
        pairs = zip(found.first.predictions, found.second.predictions, strict=True)
        columns = ("rank", "first", "first_probability", "second", "second_probability")
        return Table(columns, tuple(
            (rank, a.token, a.probability, b.token, b.probability)
            for rank, (a, b) in enumerate(pairs, start=1)
        ))  # fmt: skip


def _summary(found: RunComparison) -> str:
    first, second = (side.predictions[0] for side in (found.first, found.second))
    shares = percent(first.probability), percent(second.probability)
    if found.kl is None:
        return (
            f"{said(first.token)} ({shares[0]}) and {said(second.token)} ({shares[1]}): the two "
            "choose among different answers."
        )
    distance = f"KL(first || second) is {significant(found.kl)} nats."
    if first.token_id == second.token_id:
        return f"{said(first.token)} at rank 1 in both, {shares[0]} and {shares[1]}; {distance}"
    answers = f"{said(first.token)} ({shares[0]}) against {said(second.token)} ({shares[1]})"
    return f"{answers}; {distance}"


def _names(found: RunComparison) -> tuple[str, str]:
    """What tells the two apart: their models, or their texts."""
    if found.first.tokens == found.second.tokens:
        return found.first.model.name, found.second.model.name
    models = ("", "")
    if found.first.model != found.second.model:
        models = (f"{found.first.model.name}: ", f"{found.second.model.name}: ")
    first, second = (_text(side) for side in (found.first, found.second))
    return f"{models[0]}{first}", f"{models[1]}{second}"


def _text(side: ComparedRun, most: int = 44) -> str:
    text = "".join(side.tokens[1:-1]).replace("[MASK]", " [MASK]").strip()
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _maps(found: RunComparison, session: Session) -> Iterator[Heat]:
    if found.attention is None:
        return
    names = pair_names(*found.aligned_tokens)
    differs = first_difference(*found.aligned_tokens)
    positions = found.alignment.first
    if found.residual_distance is not None:
        yield layer_heat(
            found.residual_distance, names, session, "token", low=0.0, unit="cosine distance",
            title="Distance of the residual streams", column_values=positions,
            mark=(None, differs),
        )  # fmt: skip
    which = "mean of heads" if found.head is None else f"head {found.head}"
    title = f"Attention weights of layer {found.layer}, {which}"
    yield token_heat(
        found.attention, names, differs, title, hue="signed", unit="second less first",
        row_values=positions,
    )  # fmt: skip


def _distances(found: RunComparison, session: Session) -> Table:
    """Where the residual streams are farthest apart after each layer, the deepest first."""
    apart, tokens = found.residual_distance, found.first.tokens
    assert apart is not None
    names, hues = state_names(session), layer_hues(session, states=True)
    farthest = [found.alignment.first[int(row.argmax())] for row in apart]
    columns: dict[str, Any] = {
        "after": lambda i: Cell(names[i], hue=hues[i]),
        "mean distance": lambda i: float(apart[i].mean()),
        "farthest at": lambda i: token_cell(tokens, farthest[i]) if apart[i].any() else "",
        "there": lambda i: float(apart[i].max()),
    }
    return listing(range(len(apart))[::-1], columns)
