"""How likely given words are at a mask, words of several tokens among them.

The mask grows to as many masks as the word has tokens, and the word's log-probability is the sum
of those of its tokens, each given the ones filled in before it. In which order they are filled in:

- "left-to-right": the first piece, then the second given the first, and so on. Jiang et al. 2020,
  "X-FACTR" (arXiv:2010.06189), section 4, order-based.
- "confidence": at each step the piece whose probability at its place is highest. Schick and Schütze
  2021, "It's Not Just Size That Matters" (arXiv:2009.07118), section 3, and X-FACTR,
  confidence-based.

Both are products of conditionals that the model gives, and differ, since a masked model need not
agree with itself. A word of one token has its softmax probability in both.

A model that labels texts or tokens scores its labels in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice
from math import exp, expm1, log
from typing import Literal

from torch import Tensor

from mbexplore.analysis.label_scores import check_scores, is_labeller, label_logits
from mbexplore.analysis.masked import Query, Run, run_ours, run_theirs
from mbexplore.analysis.target import find_spelling
from mbexplore.analysis.token_spans import find_token_position
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.text import quoted, shortened

Order = Literal["left-to-right", "confidence"]
TOGETHER = 256
"""Texts whose words are scored together: enough to fill rows, few enough to hold."""


@dataclass(frozen=True)
class TargetScore:
    """How likely a word is at a mask.

    Attributes:
        text: the word or label, as it was given.
        pieces: its tokens; the label itself.
        probability: of all its tokens, each given those filled in before; or of the label.
        log_probability: natural logarithm of it.
        logit: of its one token, or of the label; None for a word of several.
        rank: of its one token in the vocabulary, or among the labels, 1 is the likeliest; None for
            a word of several.
    """

    text: str
    pieces: tuple[str, ...]
    probability: float
    log_probability: float
    logit: float | None
    rank: int | None

    @property
    def log_odds(self) -> float:
        """log(p / (1 - p)), in nats."""
        missing = -expm1(self.log_probability)
        return self.log_probability - log(missing) if missing > 0 else float("inf")


@dataclass(frozen=True, eq=False)
class TargetScores:
    """How likely some words are at one mask of a text.

    Attributes:
        encoding: the text.
        position: of the mask, or of the token that is labelled; None for the whole text.
        order: in which the tokens of a word are filled in.
        words: what was asked for, in the order given: words, or ids of tokens; or labels.
        targets: one entry a word.
    """

    encoding: Encoding
    position: int | None
    order: Order
    words: tuple[str | int, ...]
    targets: tuple[TargetScore, ...]

    @property
    def likeliest_first(self) -> tuple[int, ...]:
        """Numbers of the words, by falling probability."""
        order = sorted(range(len(self.targets)), key=lambda i: -self.targets[i].log_probability)
        return tuple(order)


@dataclass(frozen=True)
class TargetComparison:
    """Hugging Face's scores of the same words, on the same weights.

    Attributes:
        version: of transformers.
        targets: its scores.
        max_abs_difference: between the log-probabilities of the two, in nats.
    """

    version: str
    targets: tuple[TargetScore, ...]
    max_abs_difference: float


def score_targets(
    explorer: Explorer,
    text: str | Encoding,
    targets: Sequence[str | int],
    mask: int = 0,
    *,
    token: int | str | None = None,
    order: Order = "left-to-right",
) -> TargetScores:
    """How likely words are at a mask, or the labels of a text or of a token.

    Args:
        explorer: with an MLM head, or one that labels texts or tokens.
        text: a text with a mask; any text for labels.
        targets: the words, or ids of tokens. A word is tokenised as it would stand there: with a
            space before it where the text has one. One that starts with a space keeps it, and one
            in double quotes is taken letter by letter. Or the labels.
        mask: which of the masks, from 0.
        token: the mask by its position instead; or, of a model that labels tokens, the token by
            its position or as a word.
        order: in which the tokens of a word are filled in; see the module.

    Raises:
        TextError: there is no mask, or a word is too long for the model; or the token to label
            isn't named.
        RangeError: there are fewer masks, or the vocabulary can't spell a word; or there is no such
            label.
        ModelError: the model has neither head.
    """
    [found] = score_many(explorer, [text], targets, mask, token=token, order=order)
    return found


def score_many(
    explorer: Explorer,
    texts: Sequence[str | Encoding],
    targets: Sequence[str | int],
    mask: int = 0,
    *,
    token: int | str | None = None,
    order: Order = "left-to-right",
    progress: Progress | None = None,
) -> Iterator[TargetScores]:
    """`score_targets` for many texts, packed side by side, in their order; see there.

    `progress` is called with the texts done and all there are; what it raises ends the work.
    """
    check_scores(explorer)
    run = None if is_labeller(explorer) else run_ours(explorer)
    waiting, done = iter(texts), 0
    while some := list(islice(waiting, TOGETHER)):
        encodings = [explorer.encode(one) if isinstance(one, str) else one for one in some]
        places = [find_place(explorer, one, mask, token) for one in encodings]
        if run is None:
            yield from _labelled(explorer, encodings, places, targets, order)
        else:
            masks = [place for place in places if place is not None]
            yield from _score(explorer, run, encodings, masks, targets, order)
        done += len(some)
        if progress is not None:
            progress(done, len(texts))


def compare_with_transformers(explorer: Explorer, ours: TargetScores) -> TargetComparison:
    """The same words or labels through transformers on the same weights.

    Raises:
        TransformersError: it can't open or run the model.
    """
    encodings, words, order = [ours.encoding], ours.words, ours.order
    if is_labeller(explorer):
        [theirs] = _labelled(explorer, encodings, [ours.position], words, order, theirs=True)
    else:
        assert ours.position is not None
        run = run_theirs(explorer)
        [theirs] = _score(explorer, run, encodings, [ours.position], words, order)
    pairs = zip(ours.targets, theirs.targets, strict=True)
    return TargetComparison(
        version=explorer.reference.version,
        targets=theirs.targets,
        max_abs_difference=max(abs(a.log_probability - b.log_probability) for a, b in pairs),
    )


def find_place(
    explorer: Explorer, encoding: Encoding, mask: int = 0, token: int | str | None = None
) -> int | None:
    """The position that is scored; None for the whole text. See `score_targets`."""
    position = None if token is None else find_token_position(encoding, str(token))
    if is_labeller(explorer):
        return position
    masks = explorer.check_masked(encoding).mask_positions
    if position is None:
        return find_mask(encoding, mask)
    if position not in masks:
        raise RangeError(
            f"Token {position} of {shortened(encoding.text, 60)!r} is no mask; choose from "
            f"{', '.join(map(str, masks))}."
        )
    return position


def find_mask(encoding: Encoding, number: int) -> int:
    """The position of a mask, by its number from 0.

    Raises:
        RangeError: the text has fewer.
    """
    masks = encoding.mask_positions
    if not 0 <= number < len(masks):
        raise RangeError(
            f"There is no mask {number} in {shortened(encoding.text, 60)!r}; choose 0 to "
            f"{len(masks) - 1}."
        )
    return masks[number]


@dataclass
class _Word:
    """A word on its way into a mask: what is filled in, and what that gave."""

    target: str
    pieces: tuple[str, ...]
    piece_ids: tuple[int, ...]
    ids: list[int]  # of the text with the mask grown to the word's length
    start: int
    left: list[int] = field(default_factory=list)  # pieces that are still masked
    log_probability: float = 0.0
    logit: float | None = None
    rank: int | None = None

    def query(self, order: Order) -> Query:
        """What is asked next."""
        asked = self.left[:1] if order == "left-to-right" else self.left
        return Query(tuple(self.ids), tuple(self.start + i for i in asked))

    def fill(self, logits: Tensor, log_p: Tensor) -> None:
        """Fills in the likeliest of the pieces that logits (piece, vocab) are of."""
        asked = self.left[: len(logits)]
        shares = [float(log_p[row, self.piece_ids[i]]) for row, i in enumerate(asked)]
        row = max(range(len(asked)), key=shares.__getitem__)
        piece = asked[row]
        self.log_probability += shares[row]
        self.ids[self.start + piece] = self.piece_ids[piece]
        self.left.remove(piece)
        if len(self.piece_ids) == 1:
            own = logits[0, self.piece_ids[0]]
            self.logit, self.rank = float(own), 1 + int((logits[0] > own).sum())

    def score(self) -> TargetScore:
        """What was found."""
        probability = exp(self.log_probability)
        return TargetScore(
            self.target, self.pieces, probability, self.log_probability, self.logit, self.rank
        )


def _score(
    explorer: Explorer,
    run: Run,
    encodings: Sequence[Encoding],
    positions: Sequence[int],
    targets: Sequence[str | int],
    order: Order,
) -> Iterator[TargetScores]:
    """Fills all words in, a piece of each at a time; equal queries are run once."""
    words = [
        [_start(explorer, target, encoding, position) for target in targets]
        for encoding, position in zip(encodings, positions, strict=True)
    ]
    every = [word for some in words for word in some]
    while waiting := [word for word in every if word.left]:
        asked: dict[Query, list[_Word]] = {}
        for word in waiting:
            asked.setdefault(word.query(order), []).append(word)
        for some, logits in zip(asked.values(), run(list(asked)), strict=True):
            log_p = logits.log_softmax(dim=-1)
            for word in some:
                word.fill(logits, log_p)
    for encoding, position, some in zip(encodings, positions, words, strict=True):
        scores = tuple(word.score() for word in some)
        yield TargetScores(encoding, position, order, tuple(targets), scores)


def _labelled(
    explorer: Explorer,
    encodings: Sequence[Encoding],
    positions: Sequence[int | None],
    labels: Sequence[str | int],
    order: Order,
    *,
    theirs: bool = False,
) -> Iterator[TargetScores]:
    """The scores of labels, of each text or of one of its tokens."""
    for encoding, position in zip(encodings, positions, strict=True):
        readout, logits = label_logits(explorer, encoding, position, theirs=theirs)
        log_p = readout.log_probs(logits)  # (1, label), or yes and no of each: (label, 2)
        log_p = log_p[0] if readout.is_exclusive else log_p[:, 0]
        scores = []
        for label in labels:
            i = label if isinstance(label, int) else readout.find(label)
            name, own, value = readout.name(i), logits[i], float(log_p[i])
            rank = 1 + int((logits > own).sum())
            scores.append(TargetScore(name, (name,), exp(value), value, float(own), rank))
        yield TargetScores(encoding, position, order, tuple(labels), tuple(scores))


def check_spelling(explorer: Explorer, target: str, piece_ids: Sequence[int]) -> None:
    """Refuses a word that has no tokens, or special ones, or ones without an embedding.

    Raises:
        RangeError: the sentence names its pieces.
    """
    tokenizer = explorer.tokenizer
    special, embeddings = astuple(tokenizer.special_ids), explorer.model.config.vocab_size
    if not piece_ids or any(i in special or i >= embeddings for i in piece_ids):
        pieces = " ".join(quoted(tokenizer.token(i)) for i in piece_ids) or "none"
        raise RangeError(
            f"The vocabulary can't spell {quoted(target)} (its pieces: {pieces}); name another "
            "word."
        )


def _start(explorer: Explorer, target: str | int, encoding: Encoding, position: int) -> _Word:
    """The text with a mask for each piece of a word.

    Raises:
        RangeError: the vocabulary can't spell it.
        TextError: it is too long for the model.
    """
    tokenizer, config = explorer.tokenizer, explorer.model.config
    piece_ids: tuple[int, ...]
    if isinstance(target, int):
        piece_ids, target = (target,), tokenizer.token(target)
    else:
        piece_ids = find_spelling(tokenizer, target, encoding, position)
        check_spelling(explorer, target, piece_ids)
    pieces = tuple(map(tokenizer.token, piece_ids))
    mask, ids = encoding.ids[position], encoding.ids
    grown = [*ids[:position], *[mask] * len(pieces), *ids[position + 1 :]]
    if len(grown) > config.max_position_embeddings:
        raise TextError(
            f"The text has {len(grown):,} tokens with the {len(pieces)} of "
            f"{quoted(shortened(target, 40))} in it, and the model takes "
            f"{config.max_position_embeddings:,}; shorten it."
        )
    return _Word(target, pieces, piece_ids, grown, position, list(range(len(pieces))))
