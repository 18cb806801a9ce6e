"""What several views show alike: names of layers and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from mbexplore.display.blocks import Hue
from mbexplore.display.numbers import significant
from mbexplore.errors import TransformersError
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.analysis.classify import ClassComparison
    from mbexplore.analysis.target import Target
    from mbexplore.explorer import Comparison
    from mbexplore.session import Session


Found = TypeVar("Found")

HUGGING_FACE = "Hugging Face"
"""The other side of a comparison, as it is named everywhere."""


def compared(compare: Callable[[], Found], wanted: bool) -> tuple[Found | None, str]:
    """Hugging Face's side where it is wanted, or why it has none: ours stands by itself then."""
    try:
        return (compare() if wanted else None), ""
    except TransformersError as error:
        return None, str(error)


def difference(comparison: Comparison | ClassComparison) -> str:
    """How far our logits are from Hugging Face's, in a sentence."""
    largest = significant(comparison.max_abs_logit_difference, 2)
    return (
        f"Largest logit difference {largest} from transformers {comparison.version} on the same "
        "weights."
    )


def log_difference(largest: float, version: str) -> str:
    """How far our log-probabilities are from Hugging Face's, in a sentence."""
    return (
        f"Largest difference of a log-probability {significant(largest, 2)} from transformers "
        f"{version} on the same weights."
    )


def around(text: str, span: tuple[int, int], most: int) -> str:
    """The part of a text around a span, in whole words and at most `most` characters."""
    start, end = span
    left = max(0, min(start - (most - (end - start)) // 2, len(text) - most))
    right = min(len(text), max(left + most, end))
    while 0 < left < start and not text[left - 1].isspace():
        left += 1
    while end < right < len(text) and not text[right].isspace():
        right -= 1
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return ellipsis * (left > 0) + text[left:right] + ellipsis * (right < len(text))


def state_names(session: Session) -> tuple[str, ...]:
    """Names of the states of the residual stream: "embeddings", "layer 0", ..."""
    layers = session.explorer.model.config.num_hidden_layers
    return ("embeddings", *(f"layer {i}" for i in range(layers)))


def layer_names(session: Session) -> tuple[str, ...]:
    """Names of the layers."""
    return state_names(session)[1:]


def head_names(session: Session) -> tuple[str, ...]:
    """Names of the heads of a layer."""
    return tuple(map(str, range(session.explorer.model.config.num_attention_heads)))


def layer_hues(session: Session, *, states: bool = False) -> tuple[Hue, ...]:
    """The hue of each layer; with `states`, of the embeddings before them too."""
    kinds = session.explorer.model.config.layer_kinds
    return ("plain", *kinds) if states else tuple(kinds)


def token_names(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Tokens as labels."""
    return tuple(word(token) for token in tokens)


def pair_names(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Tokens of two texts of one length as labels, both where they differ."""
    pairs = zip(map(word, first), map(word, second), strict=True)
    return tuple(a if a == b else f"{a} / {b}" for a, b in pairs)


def first_difference(first: Sequence[str], second: Sequence[str]) -> int:
    """The first position at which two texts of one length differ; 0 where they don't."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), 0)


def logit_name(target: Target, contrast: Target | None = None) -> str:
    """What a logit is of, in words: "logit of Paris", "logit of Paris less Rome"."""
    answer = f"logit of {word(target.token)}"
    return answer if contrast is None else f"{answer} less {word(contrast.token)}"


def part_around(position: int, count: int, most: int = 120) -> range:
    """At most so many of `count` tokens, with a position among them: all of a matrix that fits."""
    start = max(0, min(position - most // 2, count - most))
    return range(start, min(start + most, count))


def named_part(part: range, count: int) -> str:
    """The part of a text, for a title; nothing for the whole."""
    return "" if len(part) == count else f", tokens {part.start:,} to {part.stop - 1:,}"
