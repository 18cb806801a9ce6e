"""What several views show alike: names of layers and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mbexplore.display.blocks import Hue
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.session import Session


def state_names(session: Session) -> tuple[str, ...]:
    """Names of the states of the residual stream: "embeddings", "layer 0", ..."""
    layers = session.explorer.model.config.num_hidden_layers
    return ("embeddings", *(f"layer {i}" for i in range(layers)))


def layer_names(session: Session) -> tuple[str, ...]:
    """Names of the layers."""
    return state_names(session)[1:]


def layer_hues(session: Session, *, states: bool = False) -> tuple[Hue, ...]:
    """The hue of each layer; with `states`, of the embeddings before them too."""
    kinds = session.explorer.model.config.layer_kinds
    return ("plain", *kinds) if states else tuple(kinds)


def token_names(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Tokens as labels."""
    return tuple(word(token) for token in tokens)
