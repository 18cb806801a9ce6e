"""The place in model and text, and how each key moves it: plain values, pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mbexplore.network.config import LayerKind

if TYPE_CHECKING:
    from mbexplore.session import Session

EXACT = 8
"""Tokens on a side from which on a map is read as figures; the last step of the zoom."""

FIRST_PANE = "why"
"""The view that stands below the predictions at the start."""


@dataclass(frozen=True)
class Bounds:
    """What there is to move in.

    Attributes:
        kinds: of the layers.
        heads: of a layer.
        tokens: of the text.
        words: bounds `[start, stop)` of every word's tokens.
        specials: places of the tokens that no text holds, such as [CLS].
    """

    kinds: tuple[LayerKind, ...] = ("global",)
    heads: int = 1
    tokens: int = 0
    words: tuple[tuple[int, int], ...] = ()
    specials: frozenset[int] = frozenset()

    @classmethod
    def of(cls, session: Session) -> Bounds:
        """Those of a text under a model.

        Raises:
            TextError: the text is empty or too long.
        """
        from mbexplore.analysis.token_spans import word_spans

        config, encoding = session.explorer.model.config, session.encoding
        bare = {i for i, word in enumerate(encoding.words) if word is None}
        return cls(
            config.layer_kinds,
            config.num_attention_heads,
            len(encoding),
            tuple(word_spans(encoding)),
            frozenset(bare.difference(encoding.mask_positions)),
        )

    @property
    def zooms(self) -> int:
        """How many times the text can be halved until its map is read as figures."""
        return max(0, (max(1, self.tokens) - 1).bit_length() - (EXACT - 1).bit_length() + 1)


@dataclass(frozen=True)
class State:
    """The place in model and text, and what is shown there.

    Attributes:
        layer: from 0.
        head: from 0.
        token: position of the selected token.
        pane: name of the view below the predictions.
        zoom: 0 for the whole text; each step halves what a map shows around the selected token, and
            the last one gives figures.
        words: whether word pieces are taken together.
        specials: whether [CLS], [SEP] and the like are shown.
        hf: whether predictions are compared with Hugging Face.
    """

    layer: int = 0
    head: int = 0
    token: int = 0
    pane: str = FIRST_PANE
    zoom: int = 0
    words: bool = False
    specials: bool = True
    hf: bool = True


def go(state: State, bounds: Bounds, **changes: Any) -> State:
    """The state with these changes; what is no longer there moves to the nearest that is."""
    state = replace(state, **changes)
    token = _within(state.token, bounds.tokens)
    if token in bounds.specials and not state.specials:
        shown = [i for i in range(bounds.tokens) if i not in bounds.specials]
        token = min(shown, key=lambda i: (abs(i - token), i), default=token)
    return replace(
        state,
        layer=_within(state.layer, len(bounds.kinds)),
        head=_within(state.head, bounds.heads),
        token=token,
        zoom=_within(state.zoom, bounds.zooms + 1),
    )


def step(state: State, bounds: Bounds, what: str, by: int) -> State:
    """The next layer, head, token or zoom; stays at the ends.

    A head goes on into the next layer. A token is a word where words are taken together, and
    leaves out what is not shown.
    """
    if what == "head":
        place = state.layer * bounds.heads + state.head + by
        place = _within(place, len(bounds.kinds) * bounds.heads)
        return replace(state, layer=place // bounds.heads, head=place % bounds.heads)
    if what == "token":
        starts = [start for start, _ in bounds.words] if state.words else list(range(bounds.tokens))
        if not state.specials:
            starts = [i for i in starts if i not in bounds.specials] or starts
        at = max((n for n, start in enumerate(starts) if start <= state.token), default=0)
        return replace(state, token=starts[_within(at + by, len(starts))]) if starts else state
    return go(state, bounds, **{what: getattr(state, what) + by})


def nearest(state: State, bounds: Bounds, kind: LayerKind) -> State:
    """The nearest layer of a kind; from one of that kind the next of them, round to the first."""
    layers = [i for i, each in enumerate(bounds.kinds) if each == kind]
    if not layers:
        return state
    if bounds.kinds[state.layer] == kind:
        layer = layers[(layers.index(state.layer) + 1) % len(layers)]
    else:
        layer = min(layers, key=lambda i: (abs(i - state.layer), i))
    return replace(state, layer=layer)


def window_of(state: State, bounds: Bounds) -> tuple[int, int] | None:
    """Tokens `[start, stop)` that a zoomed map shows; None for all.

    It moves on in steps of its half, so that a map stays where it is while the selected token goes
    about in it.
    """
    if state.zoom == 0:
        return None
    span = min(bounds.tokens, max(EXACT, -(-bounds.tokens // 2**state.zoom)))
    half = max(1, span // 2)
    start = min(max(0, state.token - span // 4) // half * half, bounds.tokens - span)
    return start, start + span


def _within(index: int, count: int) -> int:
    return max(0, min(index, count - 1))
