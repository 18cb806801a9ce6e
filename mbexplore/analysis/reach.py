"""How far a token can see: which tokens its state depends on after each layer.

A query of a local layer attends to its window, one of a global layer to the whole text (Warner et
al. 2024, arXiv:2412.13663, section 2.1), so what a state may depend on is the composition of what
the layers up to it see. In one text every such set is an interval of tokens, hence two numbers a
layer, at any length. It says what can be seen, not what is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbexplore import limits
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.visibility import key_span
from mbexplore.recording import check_index

LIMITS = limits.REACH
Spans = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Spans of tokens for one token of a text, (layers, 2) each: the first, and one past the last.

    Attributes:
        tokens: of the text.
        position: the token.
        kinds: of the layers.
        half_windows: of the layers; None for a global one.
        one_hop: what the token attends to in the layer alone.
        depends_on: the tokens that its state after the layer depends on, through all layers up to
            this one.
        leads_to_end: the tokens whose states before the layer can still change its last state,
            through this layer and all later ones.
    """

    tokens: tuple[str, ...]
    position: int
    kinds: tuple[LayerKind, ...]
    half_windows: tuple[int | None, ...]
    one_hop: Spans
    depends_on: Spans
    leads_to_end: Spans

    @property
    def whole_from(self) -> int | None:
        """The first layer after which the state depends on every token; None where none does."""
        sizes = self.depends_on[:, 1] - self.depends_on[:, 0]
        whole = np.flatnonzero(sizes == len(self.tokens))
        return int(whole[0]) if len(whole) else None

    @property
    def last_whole(self) -> int | None:
        """The last layer before which a change of any token can still reach the end."""
        sizes = self.leads_to_end[:, 1] - self.leads_to_end[:, 0]
        whole = np.flatnonzero(sizes == len(self.tokens))
        return int(whole[-1]) if len(whole) else None


def reach(config: ModernBertConfig, tokens: tuple[str, ...], position: int) -> Reach:
    """What a token of a text can see in and through every layer.

    Args:
        config: with the layers' windows.
        tokens: of the text.
        position: which token.

    Raises:
        RangeError: there is no such token.
    """
    seq, layers = len(tokens), range(config.num_hidden_layers)
    check_index("token", position, seq)
    windows = [config.half_window(layer) for layer in layers]

    def seen_through(first: int, last: int) -> tuple[int, int]:
        """What the token sees of the states before layer `first` from after layer `last`."""
        start, stop = position, position + 1
        for layer in range(last, first - 1, -1):
            start, stop = key_span(start, stop - 1, seq, windows[layer])
        return start, stop

    return Reach(
        tokens=tokens,
        position=position,
        kinds=tuple(config.layer_kinds),
        half_windows=tuple(windows),
        one_hop=_spans([seen_through(layer, layer) for layer in layers]),
        depends_on=_spans([seen_through(0, layer) for layer in layers]),
        leads_to_end=_spans([seen_through(layer, layers[-1]) for layer in layers]),
    )


def _spans(found: list[tuple[int, int]]) -> Spans:
    return np.array(found, dtype=np.int64).reshape(len(found), 2)
