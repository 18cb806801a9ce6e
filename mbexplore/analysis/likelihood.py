"""How likely a text is, token by token, each masked in turn: the pseudo-log-likelihood (PLL).

- masking "token": a token given all others. Salazar et al. 2020, "Masked Language Model Scoring"
  (arXiv:1910.14659).
- masking "word": a token given all others but the later tokens of its own word, which are masked
  too: the rest of a word gives its beginning away, so "token" overrates words of several tokens.
  Kauf and Ivanova 2023, "A Better Way to Do Masked Language Model Scoring" (arXiv:2305.10588),
  PLL-word-l2r. A word is what the tokenizer splits a text into before it looks for tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import exp, inf, log
from typing import Literal

from torch import Tensor

from mbexplore.analysis.masked import Query, Run, run_ours, run_theirs
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.text import shortened

Masking = Literal["token", "word"]
TOGETHER = 65_536
"""Tokens of masked copies that are held together."""


@dataclass(frozen=True, eq=False)
class Likelihood:
    """How likely a text is.

    Attributes:
        encoding: the text.
        masking: what is masked with a token: "token" for it alone.
        positions: of the tokens scored: all but special tokens and masks.
        log_probabilities: of each of them, in nats.
    """

    encoding: Encoding
    masking: Masking
    positions: tuple[int, ...]
    log_probabilities: tuple[float, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens scored."""
        return tuple(self.encoding.tokens[i] for i in self.positions)

    @property
    def pll(self) -> float:
        """The pseudo-log-likelihood: the sum of the log-probabilities, in nats."""
        return sum(self.log_probabilities)

    @property
    def per_token(self) -> float:
        """The PLL by token, in nats."""
        return self.pll / len(self.positions)

    @property
    def words(self) -> int:
        """Words of the text: what white space separates."""
        return len(self.encoding.text.split())

    @property
    def bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self.encoding.text.encode())

    @property
    def bits_per_byte(self) -> float:
        """The PLL by byte, in bits, with its sign changed: comparable between tokenizers."""
        return -self.pll / log(2) / self.bytes

    def perplexity(self, count: int) -> float:
        """The pseudo-perplexity over so many tokens, words or bytes."""
        mean = -self.pll / count
        return exp(mean) if mean < 700 else inf


@dataclass(frozen=True)
class LikelihoodComparison:
    """Hugging Face's log-probabilities of the same tokens, on the same weights.

    Attributes:
        version: of transformers.
        log_probabilities: its own, in nats.
        max_abs_difference: between the two sides, in nats.
    """

    version: str
    log_probabilities: tuple[float, ...]
    max_abs_difference: float


def likelihood(
    explorer: Explorer,
    text: str | Encoding,
    *,
    masking: Masking = "token",
    progress: Progress | None = None,
) -> Likelihood:
    """How likely a text is, token by token: a forward pass a token, packed side by side.

    Args:
        explorer: with an MLM head.
        text: the text.
        masking: what is masked with a token; see the module.
        progress: called with the tokens scored and all there are; what it raises ends the work.

    Raises:
        TextError: the text has no token to score.
        ModelError: the model has no MLM head.
    """
    encoding = explorer.encode(text) if isinstance(text, str) else text
    [found] = _score(explorer, run_ours(explorer), [encoding], masking, progress)
    return found


def likelihoods(
    explorer: Explorer, texts: Iterable[str | Encoding], *, masking: Masking = "token"
) -> Iterator[Likelihood]:
    """`likelihood` of many texts, packed side by side, in their order; see there.

    Texts are taken as they are needed, so there may be more than fit in memory.
    """
    encodings = (explorer.encode(one) if isinstance(one, str) else one for one in texts)
    return _score(explorer, run_ours(explorer), encodings, masking)


def compare_with_transformers(explorer: Explorer, ours: Likelihood) -> LikelihoodComparison:
    """The same tokens through transformers on the same weights.

    Raises:
        TransformersError: it can't open or run the model.
    """
    [theirs] = _score(explorer, run_theirs(explorer), [ours.encoding], ours.masking, None)
    pairs = zip(ours.log_probabilities, theirs.log_probabilities, strict=True)
    return LikelihoodComparison(
        version=explorer.reference.version,
        log_probabilities=theirs.log_probabilities,
        max_abs_difference=max(abs(a - b) for a, b in pairs),
    )


def scored_positions(encoding: Encoding) -> tuple[int, ...]:
    """The tokens that have a likelihood: all but special tokens and masks."""
    masks = encoding.mask_positions
    return tuple(i for i, word in enumerate(encoding.words) if word is not None and i not in masks)


def masked_copies(encoding: Encoding, mask: int, masking: Masking) -> Iterator[Query]:
    """For each token that is scored the text with it masked, read there.

    Args:
        encoding: the text.
        mask: id of the mask token.
        masking: what is masked with a token.
    """
    words = encoding.words
    for place in scored_positions(encoding):
        ids = list(encoding.ids)
        end = place + 1
        while masking == "word" and end < len(ids) and words[end] == words[place]:
            end += 1
        ids[place:end] = [mask] * (end - place)
        yield Query(tuple(ids), (place,))


def _score(
    explorer: Explorer,
    run: Run,
    encodings: Iterable[Encoding],
    masking: Masking,
    progress: Progress | None = None,
) -> Iterator[Likelihood]:
    mask = explorer.tokenizer.mask_token_id
    assert mask is not None  # `run_ours` looks
    waiting: deque[Encoding] = deque()

    def copies() -> Iterator[Query]:
        for encoding in encodings:
            if not scored_positions(encoding):
                raise TextError(
                    f"The text {shortened(encoding.text, 60)!r} has no token to score; give one "
                    "word or more."
                )
            waiting.append(encoding)
            yield from masked_copies(encoding, mask, masking)

    rows = _log_probs(run, copies())
    for first in rows:
        encoding = waiting.popleft()
        places = scored_positions(encoding)
        found: list[float] = []
        for place, log_p in zip(places, chain([first], rows), strict=False):
            found.append(float(log_p[encoding.ids[place]]))
            if progress is not None:
                progress(len(found), len(places))
        yield Likelihood(encoding, masking, places, tuple(found))


def _log_probs(run: Run, queries: Iterator[Query]) -> Iterator[Tensor]:
    """Log-probabilities (vocab) at the one place of each query, many run together."""
    while some := _take(queries):
        for logits in run(some):
            yield logits[0].log_softmax(dim=-1)


def _take(queries: Iterator[Query]) -> list[Query]:
    """The next queries, up to `TOGETHER` tokens."""
    some: list[Query] = []
    size = 0
    while size < TOGETHER and (query := next(queries, None)) is not None:
        some.append(query)
        size += len(query.ids)
    return some
