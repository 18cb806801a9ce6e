"""How far a token can see in each layer and through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Table, Value
from mbexplore.limits import REACH
from mbexplore.text import said_at
from mbexplore.views.shared import layer_heat, layer_hues, token_names
from mbexplore.views.view import Guide, Token, View, cited

if TYPE_CHECKING:
    from mbexplore.analysis.reach import Reach, Spans
    from mbexplore.session import Session

FAR, NEAR = 0.22, 0.6
"""Shades of what is seen by way of other layers, and of what is seen in the layer itself."""


class ReachView(View["Reach"]):
    """Reach: which tokens a token can see in each layer, and through all layers before or after."""

    name = "reach"
    title = "Reach"
    question = "How far can a token see after each layer?"
    evidence = "output"
    tested = "against products of boolean matrices"
    guide = Guide(
        "For one token, the part of the text that it can attend to in each layer, and the part that"
        " its state can depend on.",
        "Dark is what the layer itself attends to, light what arrives by way of earlier layers; "
        "global layers see everything, local ones a window on each side.",
        "Go to the first token, from which half of every window is cut off.",
        values={"token": 0},
    )
    group = "When"
    place = 5
    papers = cited("warner2024smarter")
    limits = REACH
    sample = True

    token: Token = None

    def compute(self, session: Session) -> Reach:
        """From the windows alone; the model doesn't run."""
        from mbexplore.analysis.reach import reach

        config, tokens = session.explorer.model.config, session.encoding.tokens
        return reach(config, tokens, session.focus(self.token))

    def blocks(self, found: Reach, session: Session) -> Iterator[Block]:
        """What the token sees, then what it is seen from."""
        name = said_at(found.tokens, found.position)
        yield Headline(_sentence(found, name))
        yield _cone(
            found, session, found.depends_on,
            f"What {name} depends on after each layer; dark: attended to in that layer",
        )  # fmt: skip
        yield _cone(
            found, session, found.leads_to_end,
            f"Before each layer, what can still reach {name} in the end; dark: in one hop",
        )  # fmt: skip
        yield _table(found)
        yield Note(self.limits)


def _sentence(found: Reach, name: str) -> str:
    windows = sorted({one for one in found.half_windows if one is not None})
    sides = " or ".join(f"{one:,}" for one in windows)
    near = (
        f"In a local layer {name} attends to at most {sides} tokens on each side" if windows else ""
    )
    seq, whole = len(found.tokens), found.whole_from
    if whole is None:
        start, stop = found.depends_on[-1].tolist()
        far = f"through all layers its state depends on {stop - start:,} of {seq:,} tokens"
    else:
        far = (
            f"after layer {whole} ({found.kinds[whole]}) its state can depend on all {seq:,} tokens"
        )
    last = found.last_whole
    late = (
        ""
        if last is None
        else f"; what any token holds before layer {last} ({found.kinds[last]}) can still reach it"
    )
    joined = f"{near}; {far}" if near else far[0].upper() + far[1:]
    return f"{joined}{late}."


def _cone(found: Reach, session: Session, spans: Spans, title: str) -> Heat:
    """Layers by tokens: dark in one hop, light through others, empty out of reach."""
    import numpy as np

    places = np.arange(len(found.tokens))

    def inside(bounds: Spans) -> np.ndarray:
        return (places >= bounds[:, :1]) & (places < bounds[:, 1:])

    values = np.where(inside(found.one_hop), NEAR, np.where(inside(spans), FAR, 0.0))
    return layer_heat(
        values, token_names(found.tokens), session, "token", title=title,
        hue=layer_hues(session), low=0.0, high=1.0, scale=False, mark=(None, found.position),
    )  # fmt: skip


def _table(found: Reach) -> Table:
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (
            Cell(layer, f"{layer} {kind}", hue=kind, select={"layer": layer}),
            *(bound for name in SPANS for bound in _ends(getattr(found, name)[layer])),
        )
        for layer, kind in reversed(list(enumerate(found.kinds)))
    )
    columns = ("layer", *(f"{name} {end}" for name in SPANS.values() for end in ("from", "to")))
    return Table(columns, rows, "First and last token", left=("layer",))


SPANS = {"one_hop": "attends", "depends_on": "depends", "leads_to_end": "reached"}
"""Spans by what their columns are called."""


def _ends(span: Spans) -> tuple[int, int]:
    start, stop = span.tolist()
    return start, stop - 1
