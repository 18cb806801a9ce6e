"""The logit lens at one token, or at every token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Row, Series
from mbexplore.display.data import Arrays
from mbexplore.display.numbers import percent
from mbexplore.limits import LENS
from mbexplore.text import said, state_name, word
from mbexplore.views._parts import (
    blocked_option,
    describe_without,
    parts_option,
    rank_curves,
    without_of,
)
from mbexplore.views.shared import layer_heat, layer_hues, listing, state_names, token_names
from mbexplore.views.view import Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.lens import Lens, LensMap
    from mbexplore.analysis.without import Without
    from mbexplore.session import Session

UNITS = {"rank": "rank of the final answer", "entropy": "nats", "kl": "KL(final || layer), nats"}


class LensView(View["Lens | LensMap | Without"]):
    """Logit lens: the model's own head on the residual stream after each layer.

    Any set of heads, layers and tokens can be switched off, as in the model view.
    """

    name = "lens"
    title = "Lens"
    question = "When is the answer decided?"
    guide = Guide(
        "The likeliest words if the model stopped after each layer, and the rank of the final "
        "answer there.",
        "Read from the bottom up: rank 1 means that the layer has the answer, and the curve "
        "shows when it comes and whether it stays.",
        "See every token of the text at once.",
        values={"all_tokens": True},
    )
    evidence = "correlational"
    tested = "against the model itself, and on a model whose answer comes late"
    group = "When"
    place = 1
    papers = cited("nostalgebraist2020interpreting", "belrose2023eliciting")
    limits = LENS

    token: Token = None
    answer: str | None = None
    top_k: int = option(
        "Predictions listed for each layer.", default=3, short="-k", at_least=1, label=""
    )
    all_tokens: bool = option(
        "Every token of the text: layers x tokens.", default=False, flag="--all", label="all tokens"
    )
    colour: Literal["rank", "entropy", "kl"] = option(
        "What colours the map of all tokens.", default="rank", only={"all_tokens": (True,)}
    )

    parts: tuple[str, ...] = parts_option()
    blocked: tuple[str, ...] = blocked_option()

    def compute(self, session: Session) -> Lens | LensMap | Without:
        """One pass over the text, or one more without the parts; then the head on every state."""
        from mbexplore.analysis.lens import KEEP, lens, lens_map

        explorer, recording = session.explorer, session.recording(*KEEP)
        without = without_of(session, self.parts, self.blocked)
        if self.all_tokens:
            shown = recording if without is None else without.recording
            return lens_map(explorer, shown, progress=session.progress)
        position = session.token(self.token)
        before = lens(explorer, recording, position, answer=self.answer, top_k=self.top_k)
        if without is None:
            return before
        answer = before.target.spelling
        after = lens(explorer, without.recording, position, answer=answer, top_k=self.top_k)
        return replace(without, before=before, after=after)

    def blocks(self, found: Lens | LensMap | Without, session: Session) -> Iterator[Block]:
        """The answer's rise, or the map of all tokens."""
        from mbexplore.analysis.lens import LensMap

        if isinstance(found, LensMap):
            yield from self._map(found, session)
        else:
            yield from self._trail(found, session)
        yield Note(f"KL(final || layer) and entropy in nats. {self.limits}")

    def _trail(self, shown: Lens | Without, session: Session) -> Iterator[Block]:
        found, without = trail_of(shown)
        answer, decided = said(found.target.token), found.top1_from
        names, hues = state_names(session), layer_hues(session, states=True)
        if without is not None:
            yield Headline(describe_without(without))
        elif decided is None:
            yield Headline(f"{answer} is not at rank 1 in the end.")
        else:
            yield Headline(f"{answer} is at rank 1 from {state_name(decided)} on.")
        yield Row((_tops(found, session), *_curves(shown, session)))
        columns: dict[str, Any] = {
            "after": lambda row: Cell(names[row.state], hue=hues[row.state]),
            f"rank of {answer}": "rank", "p": "probability", "KL": "kl_final_to_layer",
            "entropy": "entropy",
        }  # fmt: skip
        tops: dict[str, list[str | int | float | None]] = {}  # in files alone
        for n in range(len(found.rows[0].predictions)):
            ones = [row.predictions[n] for row in reversed(found.rows)]
            tops[f"top-{n + 1}"] = [one.token for one in ones]
            tops[f"p {n + 1}"] = [one.probability for one in ones]
        yield listing(found.rows[::-1], columns, shares=("p",), extra=tops)

    def position(self, found: Lens | LensMap | Without) -> int | None:
        """The token whose answer is followed."""
        return super().position(trail_of(found)[0])

    def to_json(self, found: Lens | LensMap | Without) -> dict[str, Any]:
        """Every state; without some parts, the states of the whole model beside them."""
        states, without = trail_of(found)
        plain = super().to_json(states)
        if without is not None:
            plain["without"] = {"parts": without.parts, "before": without.before}
        return plain

    def arrays(self, found: Lens | LensMap | Without) -> Arrays:
        """Those of every token."""
        return super().arrays(trail_of(found)[0])

    def _map(self, found: LensMap, session: Session) -> Iterator[Block]:
        from mbexplore.analysis.lens import top1_from_states

        place, since = session.focus(self.token), top1_from_states(found)
        half = state_name(sorted(since)[len(since) // 2])
        off = ", ".join((*self.parts, *self.blocked))
        start = f"Without {off}: half" if off else "Half"
        yield Headline(f"{start} of the tokens have their final answer at rank 1 from {half} on.")
        by_rank = self.colour == "rank"
        yield layer_heat(
            found.values(self.colour), token_names(found.tokens), session, "token",
            title="Top prediction after each layer at every token", hue="global", log=by_rank,
            low=1.0 if by_rank else 0.0, darkest_low=by_rank, unit=UNITS[self.colour],
            texts=tuple(tuple(map(word, tops)) for tops in found.top), mark=(None, place),
        )  # fmt: skip
        columns: dict[str, Any] = {
            "position": lambda i: Cell(i, select={"token": i}),
            "token": lambda i: found.tokens[i],
            "final answer": lambda i: found.top[-1][i],
            "rank 1 from": lambda i: Cell(since[i], state_name(since[i])),
            "final entropy": lambda i: float(found.entropy[-1, i]),
        }
        yield listing(range(len(since)), columns, tokens=("token", "final answer"))


def trail_of(shown: Any) -> tuple[Any, Without | None]:
    """What a lens found; without some parts, the states without them, and those of both."""
    return (shown.after, shown) if hasattr(shown, "after") else (shown, None)


def _tops(found: Lens, session: Session) -> Heat:
    """The likeliest tokens after each layer, in a cell each."""
    import numpy as np

    tops = [row.predictions for row in found.rows]
    return layer_heat(
        np.array([[one.probability for one in row] for row in tops]),
        tuple(f"top-{n + 1}" for n in range(len(tops[0]))),
        session,
        title=f"Top predictions {found.target.place}",
        hue=layer_hues(session, states=True),
        low=0.0,
        high=1.0,
        unit="p",
        texts=tuple(
            tuple(f"{word(one.token)} {percent(one.probability, 0)}" for one in row) for row in tops
        ),
        scale=False,
    )


def _curves(shown: Lens | Without, session: Session) -> Iterator[Lines]:
    """The answer's rank, then the distance from the final distribution."""
    (found, without), ticks = trail_of(shown), state_names(session)
    if without is not None:
        yield rank_curves(without, session)
    else:
        answer = said(found.target.token)
        marks = {} if found.top1_from is None else {"rank 1 from here": float(found.top1_from)}
        ranks = Series(answer, tuple(float(row.rank) for row in found.rows), dots=True)
        title = f"Rank of {answer} {found.target.place}"
        yield Lines((ranks,), title, y="rank", log_y=True, ticks=ticks, marks=marks, y_down=True)
    kl = Series("KL", tuple(row.kl_final_to_layer for row in found.rows))
    entropy = Series("entropy", tuple(row.entropy for row in found.rows), dashed=True)
    yield Lines((kl, entropy), "Distance from the final distribution", y="nats", ticks=ticks)
