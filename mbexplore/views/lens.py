"""The logit lens at one token, or at every token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Row, Series, Table
from mbexplore.display.numbers import percent
from mbexplore.text import state_name, word
from mbexplore.views.papers import LOGIT_LENS, TUNED_LENS
from mbexplore.views.parameters import Token
from mbexplore.views.shared import layer_hues, state_names, token_names
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from mbexplore.analysis.lens import Lens, LensMap
    from mbexplore.session import Session

UNITS = {"rank": "rank of the final answer", "entropy": "nats", "kl": "KL(final || layer), nats"}


class LensView(View["Lens | LensMap"]):
    """Logit lens: the model's own head on the residual stream after each layer."""

    name = "lens"
    title = "Lens"
    question = "When is the answer decided?"
    group = "When"
    papers = (LOGIT_LENS, TUNED_LENS)
    limits = (
        "The head was trained on the last layer alone: a token missing from an early row may still "
        "be there in a form that the head can't read."
    )

    token: Token = option(
        "The token looked at, by position or word; by default the first mask.", default=None
    )
    answer: str | None = option(
        "The token or label followed; by default the model's own answer.", default=None
    )
    top_k: int = option(
        "Predictions listed for each layer.", default=3, short="-k", at_least=1, label=""
    )
    all_tokens: bool = option(
        "Every token of the text: layers x tokens.", default=False, flag="--all", label="all tokens"
    )
    colour: Literal["rank", "entropy", "kl"] = option(
        "What colours the map of all tokens.", default="rank", only={"all_tokens": (True,)}
    )

    def compute(self, session: Session) -> Lens | LensMap:
        """One pass over the text, then the head on every state."""
        from mbexplore.analysis.lens import KEEP, lens, lens_map

        if self.all_tokens:
            recording = session.recording(*KEEP)
            return lens_map(session.explorer, recording, progress=session.progress)
        position = session.token(self.token)
        recording = session.recording(*KEEP)
        return lens(session.explorer, recording, position, answer=self.answer, top_k=self.top_k)

    def blocks(self, found: Lens | LensMap, session: Session) -> Iterator[Block]:
        """The answer's rise, or the map of all tokens."""
        from mbexplore.analysis.lens import LensMap

        if isinstance(found, LensMap):
            yield from self._map(found, session)
        else:
            yield from self._trail(found, session)
        yield Note(f"KL(final || layer) and entropy in nats. {self.limits}")

    def _trail(self, found: Lens, session: Session) -> Iterator[Block]:
        answer = word(found.target.token)
        names, hues = state_names(session), layer_hues(session, states=True)
        decided = found.top1_from
        yield Headline(
            f"{answer} is not at rank 1 in the end."
            if decided is None
            else f"{answer} is at rank 1 from {state_name(decided)} on."
        )
        yield Row((_tops(found, session), _rank(found, session), _distances(found, session)))
        rows = tuple(
            (
                Cell(names[row.state], hue=hues[row.state]),
                Cell(row.rank, f"{row.rank:,}"),
                Cell(row.probability, percent(row.probability)),
                Cell(row.kl_final_to_layer, f"{row.kl_final_to_layer:.2f}"),
                Cell(row.entropy, f"{row.entropy:.2f}"),
            )
            for row in reversed(found.rows)
        )
        yield Table(
            ("after", f"rank of {answer}", "p", "KL", "entropy"), rows, left=("after",),
            extra=_files(found),
        )  # fmt: skip

    def _map(self, found: LensMap, session: Session) -> Iterator[Block]:
        from mbexplore.analysis.lens import top1_from_states

        place, since = session.focus(self.token), top1_from_states(found)
        half = state_name(sorted(since)[len(since) // 2])
        yield Headline(f"Half of the tokens have their final answer at rank 1 from {half} on.")
        yield Heat(
            found.values(self.colour).astype(float),
            state_names(session),
            token_names(found.tokens),
            title="Top prediction after each layer at every token",
            row_axis="after",
            column_axis="token",
            hue="global",
            log=self.colour == "rank",
            low=1.0 if self.colour == "rank" else 0.0,
            darkest_low=self.colour == "rank",
            unit=UNITS[self.colour],
            texts=tuple(tuple(word(top) for top in tops) for tops in found.top),
            select=("layer", "token"),
            row_values=(None, *range(len(found.top) - 1)),
            row_hues=layer_hues(session, states=True),
            mark=(None, place),
            upward=True,
        )
        rows = tuple(
            (
                Cell(i, select={"token": i}),
                Cell(found.tokens[i], word(found.tokens[i])),
                Cell(found.top[-1][i], word(found.top[-1][i])),
                Cell(state, state_name(state)),
                Cell(float(found.entropy[-1, i]), f"{found.entropy[-1, i]:.2f}"),
            )
            for i, state in enumerate(since)
        )
        columns = ("position", "token", "final answer", "rank 1 from", "final entropy")
        yield Table(columns, rows, left=columns[1:4])


def _tops(found: Lens, session: Session) -> Heat:
    """The likeliest tokens after each layer, in a cell each."""
    import numpy as np

    return Heat(
        np.array([[one.probability for one in row.predictions] for row in found.rows]),
        state_names(session),
        tuple(f"top-{n + 1}" for n in range(len(found.rows[0].predictions))),
        title=f"Top predictions {found.target.place}",
        row_axis="after",
        hue=layer_hues(session, states=True),
        low=0.0,
        high=1.0,
        unit="p",
        texts=tuple(
            tuple(f"{word(one.token)} {percent(one.probability, 0)}" for one in row.predictions)
            for row in found.rows
        ),
        select=("layer", None),
        row_values=(None, *range(len(found.rows) - 1)),
        row_hues=layer_hues(session, states=True),
        upward=True,
        scale=False,
    )


def _files(found: Lens) -> dict[str, list[str | int | float | None]]:
    """The likeliest tokens as columns of files."""
    columns: dict[str, list[str | int | float | None]] = {}
    for n in range(len(found.rows[0].predictions)):
        ones = [row.predictions[n] for row in reversed(found.rows)]
        columns[f"top-{n + 1}"] = [one.token for one in ones]
        columns[f"p {n + 1}"] = [one.probability for one in ones]
    return columns


def _rank(found: Lens, session: Session) -> Lines:
    answer = word(found.target.token)
    marks = {} if found.top1_from is None else {"rank 1 from here": float(found.top1_from)}
    ranks = Series(answer, tuple(float(row.rank) for row in found.rows), dots=True)
    return Lines(
        (ranks,), f"Rank of {answer} {found.target.place}", y="rank", log_y=True,
        ticks=state_names(session), marks=marks, y_down=True,
    )  # fmt: skip


def _distances(found: Lens, session: Session) -> Lines:
    kl = Series("KL", tuple(row.kl_final_to_layer for row in found.rows))
    entropy = Series("entropy", tuple(row.entropy for row in found.rows), dashed=True)
    title = "Distance from the final distribution"
    return Lines((kl, entropy), title, y="nats", ticks=state_names(session))
