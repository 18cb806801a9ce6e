"""Likely words in the place of others: what a counterfactual is made of.

A model that predicts words fills the masked places itself, from left to right; any other takes the
tokens whose embeddings are nearest to those that stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from mbexplore.analysis.token_spans import word_spans
from mbexplore.analysis.why.evidence import Evidence, fewer
from mbexplore.analysis.why.question import Question
from mbexplore.network.heads import ClassifierModel

WORDS, LEAST_WORDS = 6, 4
"""Words tried, those the answer rests on most; fewer in long texts, as below."""
REFILLS, LEAST_REFILLS = 32, 8
"""Likely words tried for each."""
TOGETHER, LEAST_TOGETHER = 8, 3
"""Likely words tried for each of several words changed together."""
MOST_TOKENS = 3
"""Tokens changed at most."""
LEAST = 0.01
"""Nats; what a word counts at least."""
BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Refill:
    """New ids of a text, and how likely they are."""

    ids: tuple[int, ...]
    likelihood: float
    rests: float


def word_sets(question: Question, evidence: Evidence) -> list[tuple[int, tuple[range, ...]]]:
    """Sets of words to change: each word alone, then pairs and threes of those that matter most."""
    encoding, own = question.encoding, question.target.position
    is_masked = own in encoding.mask_positions
    words = [
        range(start, stop)
        for start, stop in word_spans(encoding)
        if encoding.words[start] is not None
        and not set(range(start, stop)) & {*encoding.mask_positions}
        and not (is_masked and own in range(start, stop))
        and stop - start <= MOST_TOKENS
        and any(letter.isalnum() for i in range(start, stop) for letter in encoding.tokens[i])
    ]
    words.sort(key=lambda word: -max(map(evidence.rests, word)))
    words = words[: fewer(WORDS, LEAST_WORDS, len(encoding))]
    sets: list[tuple[range, ...]] = [(word,) for word in words]
    for count, most in ((2, 4), (3, 3)):
        sets += [
            chosen for chosen in combinations(words[:most], count)
            if sum(map(len, chosen)) <= MOST_TOKENS
        ]  # fmt: skip
    return list(enumerate(sets))


def refills(question: Question, evidence: Evidence, words: Sequence[range]) -> Iterator[Refill]:
    """The text with these words replaced by likely ones, filled from left to right."""
    seq = len(question.encoding)
    alone, together = fewer(REFILLS, LEAST_REFILLS, seq), fewer(TOGETHER, LEAST_TOGETHER, seq)
    width = alone if len(words) == 1 else together
    positions = sorted(i for word in words for i in word)
    firsts = {word[0] for word in words}
    rests = max(max(map(evidence.rests, word)) for word in words)
    propose = _nearest if isinstance(question.explorer.model, ClassifierModel) else _likely
    found = [(question.encoding.ids, 1.0)]
    for n, position in enumerate(positions):
        if not found:
            return
        most = width if position in firsts else 2
        proposals = propose(question, [ids for ids, _ in found], positions[n:], most)
        found = [
            ((*ids[:position], token, *ids[position + 1 :]), likelihood * share)
            for (ids, likelihood), some in zip(found, proposals, strict=True)
            for token, share in some
        ]
        found = sorted(found, key=lambda each: -each[1])[: 2 * alone]
    for ids, likelihood in found:
        yield Refill(ids, likelihood, max(rests, LEAST))


Proposals = list[list[tuple[int, float]]]


def _likely(
    question: Question, rows: Sequence[tuple[int, ...]], masked: Sequence[int], most: int
) -> Proposals:
    """Likely tokens at the first masked position of each row, with their probabilities."""
    explorer = question.explorer
    model, mask = explorer.masked_lm(), explorer.tokenizer.mask_token_id
    assert mask is not None
    ids = torch.tensor(rows, device=model.device)
    ids[:, list(masked)] = mask
    parts = []
    size = max(1, BATCH_TOKENS // ids.shape[1])
    with torch.no_grad():
        for some in torch.split(ids, size):
            hidden_states = model.encoder(some)[:, masked[0]]
            parts.append(model.logits(hidden_states).float().softmax(dim=-1))
    fits = _fitting(question, masked[0])
    found: Proposals = []
    for row in torch.cat(parts):
        likely = row.topk(min(4 * most + 20, len(row)))
        pairs = zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
        found.append([(token, share) for token, share in pairs if fits(token)][:most])
    return found


def _nearest(
    question: Question, rows: Sequence[tuple[int, ...]], masked: Sequence[int], most: int
) -> Proposals:
    """Tokens whose embeddings are nearest to the one there, with their cosines."""
    table = question.explorer.model.encoder.embeddings.tok_embeddings.weight
    own = table[question.encoding.ids[masked[0]]]
    cosines = torch.cosine_similarity(table, own[None], dim=-1)
    fits = _fitting(question, masked[0])
    near = cosines.topk(min(4 * most + 20, len(cosines)))
    pairs = zip(near.indices.tolist(), near.values.tolist(), strict=True)
    found = [(token, max(share, 1e-6)) for token, share in pairs if fits(token)][:most]
    return [found] * len(rows)


def _fitting(question: Question, position: int) -> Callable[[int], bool]:
    """Whether a token is another word of the same form: space, letters, capital."""
    old = question.encoding.tokens[position]
    tokenizer = question.explorer.tokenizer
    special = {one for one in vars(tokenizer.special_ids).values() if one is not None}

    def form(token: str) -> tuple[bool, bool, bool]:
        bare = token.strip()
        return token[:1].isspace(), bare.isalpha(), bare[:1].isupper()

    def fits(token_id: int) -> bool:
        new = tokenizer.token(token_id)
        return (
            token_id not in special
            and form(new) == form(old)
            and new.strip().casefold() != old.strip().casefold()
        )

    return fits
