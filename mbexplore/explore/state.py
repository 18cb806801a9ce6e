"""Where one is in the explorer, and how each key moves it: plain values, pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mbexplore.network.config import LayerKind

EXACT = 8
"""Tokens on a side from which on a map is read as figures; the last step of the zoom."""

FIRST_PANE = "attention"
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

    @property
    def zooms(self) -> int:
        """How many times the text can be halved until its map is read as figures."""
        return max(0, (max(1, self.tokens) - 1).bit_length() - (EXACT - 1).bit_length() + 1)


@dataclass(frozen=True)
class State:
    """Where one is.

    Attributes:
        layer: from 0.
        head: from 0.
        token: position of the chosen token.
        pane: name of the view below the predictions.
        zoom: 0 for the whole text; each step halves what a map shows around the chosen token, and
            the last one gives figures.
        words: whether word pieces are taken together.
        specials: whether [CLS], [SEP] and the like are shown.
        hf: whether the column of Hugging Face is shown.
        scroll: lines of the pane above the first that is seen.
    """

    layer: int = 0
    head: int = 0
    token: int = 0
    pane: str = FIRST_PANE
    zoom: int = 0
    words: bool = False
    specials: bool = True
    hf: bool = True
    scroll: int = 0


def clamped(state: State, bounds: Bounds) -> State:
    """The same place where it still exists, else the nearest."""
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


def move_layer(state: State, bounds: Bounds, by: int) -> State:
    """Another layer; stays at the ends."""
    return clamped(replace(state, layer=state.layer + by), bounds)


def move_head(state: State, bounds: Bounds, by: int) -> State:
    """Another head, on into the next layer or back into the one before."""
    place = state.layer * bounds.heads + state.head + by
    place = _within(place, len(bounds.kinds) * bounds.heads)
    return replace(state, layer=place // bounds.heads, head=place % bounds.heads)


def move_token(state: State, bounds: Bounds, by: int) -> State:
    """Another token, or with `words` another word; leaves out what is not shown."""
    starts = [start for start, _ in bounds.words] if state.words else list(range(bounds.tokens))
    if not state.specials:
        starts = [i for i in starts if i not in bounds.specials] or starts
    if not starts:
        return state
    at = max((n for n, start in enumerate(starts) if start <= state.token), default=0)
    return replace(state, token=starts[_within(at + by, len(starts))])


def go_to(state: State, bounds: Bounds, token: int) -> State:
    """That token."""
    return clamped(replace(state, token=token), bounds)


def zoom(state: State, bounds: Bounds, by: int) -> State:
    """Nearer or farther; stays at the ends."""
    return clamped(replace(state, zoom=state.zoom + by), bounds)


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


def turn(state: State, bounds: Bounds, switch: str) -> State:
    """One of `words`, `specials` and `hf` on or off."""
    turned: dict[str, Any] = {switch: not getattr(state, switch)}
    return clamped(replace(state, **turned), bounds)


def window_of(state: State, bounds: Bounds) -> tuple[int, int] | None:
    """Tokens `[start, stop)` that a zoomed map shows; None for all.

    It moves on in steps of its half, so that a map stays where it is while the chosen token goes
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
