"""The residual stream: its norm, what each layer adds to it, and how alike its states are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Row, Series, Table
from mbexplore.display.numbers import decimals, fixed, significant
from mbexplore.text import word
from mbexplore.views.papers import CIRCUITS, CKA
from mbexplore.views.parameters import Token
from mbexplore.views.shared import layer_hues, layer_names, state_names, token_names
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mbexplore.session import Session

EXTREME = 0.001
"""Share of the norms that lie above the darkest colour of a map, and below the lightest: a few
tokens are far longer than all others (Sun et al. 2024, arXiv:2402.17762)."""


@dataclass(frozen=True, eq=False)
class Residual:
    """Norms and similarities of the residual stream; state 0 is the embeddings.

    Attributes:
        tokens: of the text.
        residual: (states, seq) L2 norm of the stream.
        attention: (layers, seq) L2 norm of each attention output.
        mlp: (layers, seq) L2 norm of each MLP output.
        steps: (layers, seq) cosine of each token's state with the one before it.
        cosine: (states, states) mean cosine of two states of a token.
        cka: (states, states) linear CKA.
        cka_tokens: tokens that CKA was computed from.
    """

    tokens: tuple[str, ...]
    residual: NDArray[np.float32]
    attention: NDArray[np.float32]
    mlp: NDArray[np.float32]
    steps: NDArray[np.float32]
    cosine: NDArray[np.float64]
    cka: NDArray[np.float64]
    cka_tokens: int


class ResidualView(View[Residual]):
    """Residual stream: norms by layer and token, and the similarity of its states."""

    name = "residual"
    title = "Residual stream"
    question = "How does the representation grow and change from layer to layer?"
    group = "When"
    papers = (CIRCUITS, CKA)
    limits = (
        "CKA leans towards 1 where the text has fewer tokens than the model has dimensions, and a "
        "few very long tokens or dimensions can decide it, and the cosine, alone."
    )
    sample = True

    token: Token = option(
        "The token looked at, by position or word; by default the first mask.", default=None
    )

    def compute(self, session: Session) -> Residual:
        """One pass over the text, then norms and similarities."""
        from mbexplore.analysis.residual import KEEP, residual_norms
        from mbexplore.analysis.similarity import similarity

        session.token(self.token)
        recording = session.recording(*KEEP)
        norms = session.once("residual norms", lambda: residual_norms(recording))
        alike = session.once("similarity", lambda: similarity(recording, session.progress))
        return Residual(**vars(norms), **vars(alike))

    def blocks(self, found: Residual, session: Session) -> Iterator[Block]:
        """Means by layer, curves at the token, norms of all tokens, states compared."""
        place, states = session.focus(self.token), state_names(session)
        yield Headline(_sentence(found))
        yield _by_layer(found, session)
        yield Row((_stream(found, place, states), _updates(found, place, states[1:])))
        yield from (_map(found, name, place, session) for name in ("residual", "attention", "mlp"))
        yield Row(
            (
                _alike(found.cosine, "Cosine of a token's states, mean", session),
                _alike(found.cka, f"Linear CKA over {found.cka_tokens:,} tokens", session),
            )
        )
        yield Note(f"Norms are L2. {self.limits}")


def _sentence(found: Residual) -> str:
    means = found.residual.mean(axis=1)
    grown = means[-1] / max(means[0], 1e-30)
    steps = found.steps.mean(axis=1)
    least = int(steps.argmin())
    return (
        f"The mean norm grows from {significant(float(means[0]))} to "
        f"{significant(float(means[-1]))} ({significant(float(grown), 2)}x); the direction changes "
        f"most in layer {least} (cosine {fixed(float(steps[least]), 3)})."
    )


def _by_layer(found: Residual, session: Session) -> Table:
    """A row a state: means over the tokens, and the token with the largest norm."""
    names, hues = state_names(session), layer_hues(session, states=True)
    means = found.residual.mean(axis=1)
    places = decimals(float(means.max()), 3)
    rows = []
    for state in reversed(range(len(names))):
        longest = int(found.residual[state].argmax())
        added: list[Cell] = [Cell(None)] * 4
        if state:
            norms = (float(found.attention[state - 1].mean()), float(found.mlp[state - 1].mean()))
            alike = (float(found.cosine[state, state - 1]), float(found.cka[state, state - 1]))
            added = [Cell(norm, fixed(norm, places)) for norm in norms]
            added += [Cell(one, fixed(one, 3)) for one in alike]
        mean = float(means[state])
        rows.append(
            (
                Cell(names[state], hue=hues[state]),
                Cell(mean, fixed(mean, places), bar=mean / float(means.max()), hue=hues[state]),
                *added,
                Cell(longest, f"{word(found.tokens[longest])} {longest}",
                     select={"token": longest}),
            )
        )  # fmt: skip
    columns = ("after", "norm", "attention", "MLP", "cosine", "CKA", "largest at")
    title = "Mean over the tokens; cosine and CKA with the state before"
    return Table(columns, tuple(rows), title, left=("after", "largest at"))


def _stream(found: Residual, place: int, states: tuple[str, ...]) -> Lines:
    token = word(found.tokens[place])
    means = found.residual.mean(axis=1)
    return Lines(
        (
            Series(f"at {token}", tuple(found.residual[:, place].tolist()), dots=True),
            Series("mean of all tokens", tuple(means.tolist()), dashed=True),
        ),
        f"Norm of the residual stream at {token} (token {place})",
        y="norm",
        ticks=states,
    )


def _updates(found: Residual, place: int, layers: tuple[str, ...]) -> Lines:
    return Lines(
        (
            Series("attention output", tuple(found.attention[:, place].tolist()), dots=True),
            Series("MLP output", tuple(found.mlp[:, place].tolist()), dashed=True, dots=True),
        ),
        f"Norm of each update at {word(found.tokens[place])}",
        y="norm",
        ticks=layers,
    )


TITLES = {
    "residual": "Norm of the residual stream",
    "attention": "Norm of the attention outputs",
    "mlp": "Norm of the MLP outputs",
}


def _map(found: Residual, name: str, place: int, session: Session) -> Heat:
    """Layers by tokens on a logarithmic scale, the same one for both kinds of updates."""
    import numpy as np

    values = getattr(found, name)
    scaled = values if name == "residual" else np.stack((found.attention, found.mlp))
    low, high = np.quantile(scaled, (EXTREME, 1 - EXTREME)).tolist()
    high = high or float(scaled.max()) or 1.0
    has_states = name == "residual"
    rows = state_names(session) if has_states else layer_names(session)
    layers = tuple(range(len(found.mlp)))
    return Heat(
        values.astype(float),
        rows,
        token_names(found.tokens),
        title=TITLES[name],
        row_axis="after" if has_states else "layer",
        column_axis="token",
        hue="global",
        low=min(high / 10, max(low, high / 1000)),
        high=high,
        log=True,
        unit="norm",
        select=("layer", "token"),
        row_values=(None, *layers) if has_states else layers,
        row_hues=layer_hues(session, states=has_states),
        mark=(None, place),
        upward=True,
    )


def _alike(values: NDArray[np.float64], title: str, session: Session) -> Heat:
    """Every state against every other."""
    states, layers = state_names(session), (None, *range(len(values) - 1))
    return Heat(
        values,
        states,
        states,
        title=title,
        row_axis="after",
        hue="global",
        low=min(0.0, float(values.min())),
        high=1.0,
        select=("layer", None),
        row_values=layers,
        row_hues=layer_hues(session, states=True),
        upward=True,
    )
