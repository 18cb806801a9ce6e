"""What others published of answerdotai/ModernBERT-base, as checks on the weights at hand.

Sources: the integration test of transformers (sdpa, float32), its fill-mask sentence, a
layer-by-layer verification of 2026-01-20, and a fill-mask run in bfloat16. They agree with the
real weights alone: any other checkpoint fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mbexplore.checkpoints.hub import SHORT_NAMES
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.recording import to_float64
from mbexplore.reference.verify import Check, Verification

TOLERANCE = 1e-4
"""As in the integration test of transformers; the values are printed to four digits."""
HALF_TOLERANCE = 0.016
"""Of a probability in bfloat16: these logits lie between 8 and 16, where its steps are 1/16 wide,
and rounding moves one by a step or two from one machine to the next; two make 0.1167 to 0.1322."""


@dataclass(frozen=True)
class PublishedValues:
    """Known figures of one model; rows are tokens, columns the first dimensions."""

    hello_ids: tuple[int, ...] = (50281, 12092, 3645, 2, 50282)  # Hello World!
    logits: tuple[tuple[float, ...], ...] = (
        (3.8387, -0.2017, 12.2839),
        (3.6300, 0.6869, 14.7123),
        (-5.1137, -3.8122, 11.9874),
    )
    last_hidden_state: tuple[tuple[float, ...], ...] = (
        (0.3151, -0.6417, -0.7027),
        (-0.7834, -1.5810, 0.4576),
        (1.0614, -0.7268, -0.0871),
    )
    lower_ids: tuple[int, ...] = (50281, 25521, 1533, 50282)  # hello world
    embedding: tuple[float, ...] = (-0.2283677, -0.0040569, -0.0056500, -0.0353281, -0.1283520)
    """Of [CLS], before its norm."""
    after: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("embed", (-0.8092258, 0.0622259, 0.0406816, -0.1011231, -0.5578984)),
        ("layers.0.resid_post", (-0.8291517, 0.3017216, 0.4057053, -0.7426412, -1.3551667)),
        ("layers.1.resid_post", (-0.4612967, 0.2040964, 0.8494475, -0.8274972, -1.1842596)),
        ("layers.2.resid_post", (-0.2264323, 0.7318845, 1.7207247, -1.2689042, -1.3040594)),
    )
    """Of [CLS]."""
    worked_ids: tuple[int, ...] = (50281, 783, 637, 4307, 347, 247, 50284, 15, 50282)
    worked: tuple[str, ...] = (" lawyer", " mechanic", " teacher", " doctor", " waiter")
    """The five likeliest words in "the man worked as a [MASK].", in order."""
    capital_ids: tuple[int, ...] = (50281, 510, 5347, 273, 6181, 310, 50284, 15, 50282)
    capital: tuple[str, ...] = (" Paris",)
    walked_ids: tuple[int, ...] = (50281, 1328, 7428, 281, 253, 50284, 15, 50282)
    walked: tuple[tuple[int, float], ...] = (
        (3369, 0.1167), (3906, 0.0378), (6335, 0.0277), (7394, 0.0216), (3497, 0.0203),
    )  # fmt: skip
    """Door, office, library, gate and window in "He walked to the [MASK].", in bfloat16."""


def add_published(explorer: Explorer, result: Verification) -> Verification:
    """The verification with the published values checked too, where the model is the one."""
    repository, _, _ = explorer.files.source.partition("@")  # whatever revision it is of
    if repository != SHORT_NAMES["base"]:
        return result
    known = check_published(explorer.model, explorer.tokenizer.token)
    return replace(result, checks=result.checks + known)


def check_published(
    model: PretrainedModel,
    token: Callable[[int], str],
    published: PublishedValues | None = None,
) -> tuple[Check, ...]:
    """Compares a model with the published figures: in half precision with those of half precision.

    Args:
        model: to be checked, with its MLM head.
        token: id to token, as `Tokenizer.token`.
        published: other figures than those of ModernBERT-base.

    Raises:
        ModelError: the model has no MLM head.
    """
    if not isinstance(model, ModernBertForMaskedLM):
        raise ModelError("The published values need the MLM head; name the whole checkpoint.")
    published = published or PublishedValues()
    half = _half_precision(model, published)
    if torch.finfo(model.dtype).bits < 32:
        return (half,)
    return (*_full_precision(model, token, published), half)


@torch.no_grad()
def _full_precision(
    model: ModernBertForMaskedLM, token: Callable[[int], str], published: PublishedValues
) -> Iterator[Check]:
    """What was published of the model in float32."""
    taps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], None]:
        return lambda value: taps.update({name: value[0, :1]})

    hidden = model.encoder(_batch(published.hello_ids, model))
    yield _values("published last hidden state", hidden[0], published.last_hidden_state)
    yield _values("published logits", model.logits(hidden)[0], published.logits)
    with hooked(model, {name: keep(name) for name, _ in published.after}):
        model.encoder(_batch(published.lower_ids, model))
    for tap, row in published.after:
        yield _values(f"published {tap}", taps[tap], (row,))
    for name, ids, words in (
        ("published top 5", published.worked_ids, published.worked),
        ("published top 1", published.capital_ids, published.capital),
    ):
        mask = torch.tensor([ids.index(50284)], device=model.device)
        logits = model(_batch(ids, model), query_positions=mask)[0, 0]
        best = logits.topk(len(words)).indices.tolist()
        wrong = sum(token(i) != word for i, word in zip(best, words, strict=True))
        yield Check(name, None, None, None, None, wrong, wrong / len(words), wrong, 0.0)
    embedding = model.encoder.embeddings.tok_embeddings.weight[published.lower_ids[0]]
    yield _values("published embedding", embedding[None], (published.embedding,))


@torch.no_grad()
def _half_precision(model: ModernBertForMaskedLM, published: PublishedValues) -> Check:
    """The probabilities of the run in bfloat16."""
    narrow = deepcopy(model).to(torch.bfloat16)
    ids = published.walked_ids
    row = torch.tensor([ids.index(50284)], device=model.device)
    shares = to_float64(narrow(_batch(ids, narrow), query_positions=row)[0, 0]).softmax(dim=-1)
    found = tuple(float(shares[token_id]) for token_id, _ in published.walked)
    expected = tuple(probability for _, probability in published.walked)
    check = _values("published bfloat16", torch.tensor([found]), (expected,))
    return replace(check, tolerance=HALF_TOLERANCE)


def _batch(ids: tuple[int, ...], model: PretrainedModel) -> Tensor:
    return torch.tensor([ids], device=model.device)


def _values(what: str, ours: Tensor, expected: tuple[tuple[float, ...], ...]) -> Check:
    theirs = torch.tensor(expected, dtype=torch.float64)
    rows, columns = theirs.shape
    difference = (to_float64(ours[:rows, :columns]) - theirs).abs()
    most, mean = float(difference.max()), float(difference.mean())
    return Check(what, None, None, None, None, most, mean, most, TOLERANCE)
