"""The residual stream: its norm, what each layer adds to it, and how alike its states are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import (
    Block,
    Cell,
    Headline,
    Heat,
    Lines,
    Note,
    Row,
    Series,
    Table,
    Value,
)
from mbexplore.display.numbers import fixed, significant
from mbexplore.limits import SIMILARITY
from mbexplore.text import word
from mbexplore.views.shared import (
    layer_heat,
    layer_hues,
    layer_names,
    state_names,
    token_cell,
    token_names,
)
from mbexplore.views.view import FRANCE, Guide, Token, View, cited

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mbexplore.analysis.residual import Residual
    from mbexplore.session import Session

EXTREME = 0.001
"""Share of the norms that lie above the darkest colour of a map, and below the lightest: a few
tokens are far longer than all others (Sun et al. 2024, arXiv:2402.17762)."""


class ResidualView(View["Residual"]):
    """Residual stream: norms by layer and token, and the similarity of its states."""

    name = "residual"
    title = "Residual stream"
    question = "How does the representation grow and change from layer to layer?"
    guide = Guide(
        "The length of each token's vector after every layer, and what attention and MLP add to"
        " it.",
        "A rising curve is a vector that grows; a cosine near 1 means that a layer keeps its "
        "direction.",
        "Follow the token France.",
        values={"token": 4},
        texts=(FRANCE,),
    )
    evidence = "correlational"
    tested = "against transformers, and CKA against known cases"
    group = "When"
    place = 2
    papers = cited("elhage2021mathematical", "kornblith2019similarity")
    limits = SIMILARITY
    sample = True

    token: Token = None

    def compute(self, session: Session) -> Residual:
        """One pass over the text, then norms and similarities."""
        from mbexplore.analysis.residual import KEEP, Residual, residual_norms
        from mbexplore.analysis.similarity import similarity

        session.token(self.token)
        recording = session.recording(*KEEP)
        norms = session.once("residual norms", lambda: residual_norms(recording))
        alike = session.once("similarity", lambda: similarity(recording, session.progress))
        return Residual(**vars(norms), **vars(alike))

    def blocks(self, found: Residual, session: Session) -> Iterator[Block]:
        """Means by layer, curves at the token, norms of all tokens, states compared."""
        place = session.focus(self.token)
        yield Headline(_sentence(found))
        yield _by_layer(found, session)
        yield Row(tuple(_curves(found, place, session)))
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
    rows = []
    for state in reversed(range(len(names))):
        added: list[Value] = [None] * 4
        if state:
            added = [float(norms[state - 1].mean()) for norms in (found.attention, found.mlp)]
            added += [float(alike[state, state - 1]) for alike in (found.cosine, found.cka)]
        longest = token_cell(found.tokens, int(found.residual[state].argmax()))
        mean = Cell(float(found.residual[state].mean()), hue=hues[state])
        rows.append((Cell(names[state], hue=hues[state]), mean, *added, longest))
    columns = ("after", "norm", "attention", "MLP", "cosine", "CKA", "largest at")
    title = "Mean over the tokens; cosine and CKA with the state before"
    return Table(columns, tuple(rows), title, left=("after", "largest at"), bars=("norm",))


def _curves(found: Residual, place: int, session: Session) -> Iterator[Lines]:
    """Norms of the stream, then those of the updates, at one token."""
    token, means = word(found.tokens[place]), found.residual.mean(axis=1)
    stream = Series(f"at {token}", tuple(found.residual[:, place].tolist()), dots=True)
    mean = Series("mean of all tokens", tuple(means.tolist()), dashed=True)
    title = f"Norm of the residual stream at {token} (token {place})"
    yield Lines((stream, mean), title, y="norm", ticks=state_names(session))
    added = Series("attention output", tuple(found.attention[:, place].tolist()), dots=True)
    mlp = Series("MLP output", tuple(found.mlp[:, place].tolist()), dashed=True, dots=True)
    title = f"Norm of each update at {token}"
    yield Lines((added, mlp), title, y="norm", ticks=layer_names(session))


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
    return layer_heat(
        values, token_names(found.tokens), session, "token", title=TITLES[name], hue="global",
        low=min(high / 10, max(low, high / 1000)), high=high, log=True, unit="norm",
        mark=(None, place),
    )  # fmt: skip


def _alike(values: NDArray[np.float64], title: str, session: Session) -> Heat:
    """Every state against every other."""
    low = min(0.0, float(values.min()))
    return layer_heat(
        values, state_names(session), session, title=title, hue="global", low=low, high=1.0
    )
