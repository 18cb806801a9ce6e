"""What a head other than the MLM one answers: labels, labels by token, spans of a text, choices.

All of them answer one question or several (of a text, of every token) with candidates, each with
a logit and, unless it is a plain number, a probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.analysis.readout import NO_ANSWER
from mbexplore.analysis.target import upcast
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.checks import check_blank, check_told_apart
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.explorer import Explorer, check_finite
from mbexplore.network import heads

MOST_ANSWER_TOKENS = 30
"""Longest answer looked for in a text, as in the question answering scripts of transformers."""
DEFAULT_SPANS = 5


@dataclass(frozen=True)
class Candidate:
    """One thing a head may answer.

    Attributes:
        answer: a label, a choice, or a part of the text.
        probability: None where the head gives a plain number.
        logit: of a span, the sum of those of its two ends.
        id: of the label or choice; None for a span.
        tokens: first and last token of a span; None for a label, a choice and "(no answer)".
    """

    answer: str
    probability: float | None
    logit: float
    id: int | None = None
    tokens: tuple[int, int] | None = None


@dataclass(frozen=True)
class HeadOutput:
    """The answers to one question, by falling logit.

    Attributes:
        position: the token asked about; None where it is the whole text.
        candidates: the best first.
    """

    position: int | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, eq=False)
class Classification:
    """What a classifier says of a text.

    Attributes:
        task: "labels texts" and so on, as the head's `does`.
        encodings: the text, alone or with its context; one a choice where there are some.
        choices: the texts to choose from.
        outputs: one, or one a token.
        logits: (label), (seq, label), (seq, 2) or (choice).
    """

    task: str
    encodings: tuple[Encoding, ...]
    choices: tuple[str, ...]
    outputs: tuple[HeadOutput, ...]
    logits: Tensor

    @property
    def shares(self) -> Tensor:
        """Softmax of the logits over labels or choices."""
        return self.logits.softmax(dim=-1)


@dataclass(frozen=True)
class ClassComparison:
    """Hugging Face's answer to the same text, and how far ours is from it.

    Attributes:
        version: of transformers.
        outputs: its answers.
        max_abs_logit_difference: over all logits.
        same_order: whether both name the same answers in the same order.
    """

    version: str
    outputs: tuple[HeadOutput, ...]
    max_abs_logit_difference: float
    same_order: bool


def is_classifier(explorer: Explorer) -> bool:
    """Whether the model has one of the heads that `classify` knows."""
    return isinstance(explorer.model, heads.ClassifierModel)


def encode_question(
    explorer: Explorer,
    text: str,
    context: str | None = None,
    choices: Sequence[str] = (),
    *,
    truncate: bool = False,
) -> tuple[Encoding, ...]:
    """Tokens of what a classifier is asked.

    Args:
        explorer: a model that classifies.
        text: the text, or the question.
        context: a second text: where the answer is to be found, or what the first is set against.
        choices: the second texts to choose from.
        truncate: whether to cut what is longer than the model takes.

    Raises:
        ModelError: the model has no such head.
        TextError: the head needs a context or choices that are not there, or has no use for them.
    """
    model = _classifier(explorer)
    is_choice = isinstance(model, heads.ModernBertForMultipleChoice)
    if is_choice and len(choices) < 2:
        raise TextError(
            f"{explorer.info.name} {model.does} and needs a second text for each choice; give two "
            "choices or more."
        )
    if is_choice and context is not None:
        raise TextError(
            f"{explorer.info.name} {model.does} and takes no context; put it first in the text."
        )
    if choices and not is_choice:
        raise TextError(
            f"{explorer.info.name} {model.does}, so it takes no choices; leave them out."
        )
    if context is None and isinstance(model, heads.ModernBertForQuestionAnswering):
        raise TextError(
            f"{explorer.info.name} {model.does} and needs a second text, the one to search; give "
            "it as the context, beside the question."
        )
    pairs = choices or (context,)
    return tuple(explorer.encode(text, pair=pair, truncate=truncate) for pair in pairs)


def classify(
    explorer: Explorer,
    encodings: Sequence[Encoding],
    choices: Sequence[str] = (),
    *,
    top_k: int | None = None,
) -> Classification:
    """What a classifier says.

    Args:
        explorer: a model that classifies.
        encodings: what `encode_question` made.
        choices: the texts to choose from, as given to it.
        top_k: answers named to a question; by default every label or choice, and five spans.

    Raises:
        ModelError: the model has no such head, or its numbers are not finite.
        RangeError: top-k is below 1.
    """
    model = _classifier(explorer)
    if top_k is not None and top_k < 1:
        raise RangeError(f"top-k is {top_k}; choose 1 or more.")
    ids, mask = _inputs(explorer, encodings)
    with torch.no_grad():
        logits = upcast(model(ids, mask)[0])
    check_finite(model, logits)
    check_blank(model)
    if not isinstance(model, heads.ModernBertForMultipleChoice):  # two choices may be one text
        check_told_apart(
            logits.mT if isinstance(model, heads.ModernBertForQuestionAnswering) else logits
        )
    outputs = _rule(model, encodings[0], choices, logits, top_k)
    return Classification(model.does, tuple(encodings), tuple(choices), outputs, logits)


def compare_classes(explorer: Explorer, found: Classification) -> ClassComparison:
    """The same text through transformers on the same weights."""
    ids, mask = _inputs(explorer, found.encodings)
    theirs = upcast(explorer.reference.classify(ids, mask)[0])
    top_k = len(found.outputs[0].candidates)
    outputs = _rule(_classifier(explorer), found.encodings[0], found.choices, theirs, top_k)
    return ClassComparison(
        version=explorer.reference.version,
        outputs=outputs,
        max_abs_logit_difference=float((found.logits - theirs).abs().max()),
        same_order=all(map(_same_order, found.outputs, outputs)),
    )


def _classifier(explorer: Explorer) -> heads.ClassifierModel:
    if not isinstance(explorer.model, heads.ClassifierModel):
        raise ModelError(
            f"{explorer.info.name} has no head for labels, answers or choices; name a model that "
            "was fine-tuned for them."
        )
    return explorer.model


def _inputs(explorer: Explorer, encodings: Sequence[Encoding]) -> tuple[Tensor, Tensor]:
    """Ids and mask, each (1, seq), or (1, choice, seq) where there are several."""
    ids, mask = explorer.pad([encoding.ids for encoding in encodings])
    if isinstance(explorer.model, heads.ModernBertForMultipleChoice):
        return ids[None], mask[None]
    return ids, mask


def _rule(
    model: heads.ClassifierModel,
    encoding: Encoding,
    choices: Sequence[str],
    logits: Tensor,
    top_k: int | None,
) -> tuple[HeadOutput, ...]:
    if isinstance(model, heads.ModernBertForQuestionAnswering):
        return (HeadOutput(None, tuple(_spans(encoding, logits, top_k or DEFAULT_SPANS))),)
    if isinstance(model, heads.ModernBertForMultipleChoice):
        return (HeadOutput(None, _labels(choices, logits, None, top_k)),)
    names, problem = model.config.labels, model.problem
    if isinstance(model, heads.ModernBertForTokenClassification):
        return tuple(
            HeadOutput(i, _labels(names, row, None, top_k)) for i, row in enumerate(logits)
        )
    return (HeadOutput(None, _labels(names, logits, problem, top_k)),)


def _labels(
    names: Sequence[str], logits: Tensor, problem: str | None, top_k: int | None
) -> tuple[Candidate, ...]:
    """Labels or choices by their logits (label)."""
    shares = logits.sigmoid() if problem == heads.MULTI_LABEL else logits.softmax(dim=-1)
    return tuple(
        Candidate(
            names[i], None if problem == heads.REGRESSION else float(shares[i]), float(logits[i]), i
        )
        for i in logits.argsort(descending=True)[:top_k].tolist()
    )


def _spans(encoding: Encoding, logits: Tensor, top_k: int) -> Iterator[Candidate]:
    """The likeliest parts of the second text by the logits (seq, 2) of their ends.

    Probabilities are those of the two ends multiplied, each a softmax over the second text and
    the first token, which stands for no answer (Devlin et al. 2018, arXiv:1810.04805, 4.3).
    """
    places, ends, shares, allowed = _span_ends(encoding, logits)
    score = ends[:, 0, None] + ends[None, :, 1]
    score = score.masked_fill(~allowed, -torch.inf)
    best = score.flatten().topk(min(top_k, int(allowed.sum()))).indices
    for start, end in zip(
        (best // len(places)).tolist(), (best % len(places)).tolist(), strict=True
    ):
        probability = float(shares[start, 0] * shares[end, 1])
        logit = float(score[start, end])
        if not start:
            yield Candidate(NO_ANSWER, probability, logit)
            continue
        tokens = places[start], places[end]
        low, high = find_span(encoding, tokens)
        yield Candidate(encoding.text[low:high], probability, logit, tokens=tokens)


def _span_ends(encoding: Encoding, logits: Tensor) -> tuple[list[int], Tensor, Tensor, Tensor]:
    """Where a span may begin and end: positions (place), logits and shares (place, 2), both ends.

    The last is (start, end): whether there is such a span.
    """
    places = [0, *encoding.pair_positions]
    ends = logits[places]
    length = torch.arange(len(places), device=logits.device)
    length = length[None, :] - length[:, None]  # (start, end)
    allowed = (length >= 0) & (length < MOST_ANSWER_TOKENS)
    allowed[0, 1:] = False
    return places, ends, ends.softmax(dim=0), allowed


def span_probabilities(found: Classification) -> Tensor:
    """Probability that each token is part of the answer (seq), over all spans of a context.

    The sum of the probabilities of the spans that cover it; 0 outside of the context.
    """
    encoding = found.encodings[0]
    places, _, shares, allowed = _span_ends(encoding, found.logits)
    spans = (shares[:, 0, None] * shares[None, :, 1]).masked_fill(~allowed, 0.0)
    spans[0, 0] = 0.0  # no answer
    begun = spans.sum(dim=1).cumsum(dim=0)  # spans that begin here or before
    ended = spans.sum(dim=0).cumsum(dim=0)
    covered = torch.zeros(len(encoding), dtype=spans.dtype, device=spans.device)
    covered[places] = begun - ended + spans.sum(dim=0)
    return covered.clamp(0.0, 1.0)


def find_span(encoding: Encoding, tokens: tuple[int, int]) -> tuple[int, int]:
    """Where in the text a span of tokens is, without the space that a token may begin with."""
    low, high = encoding.offsets[tokens[0]][0], encoding.offsets[tokens[1]][1]
    part = encoding.text[low:high]
    return low + len(part) - len(part.lstrip()), high - len(part) + len(part.rstrip())


def _same_order(ours: HeadOutput, theirs: HeadOutput) -> bool:
    pairs = zip(ours.candidates, theirs.candidates, strict=True)
    return all((a.id, a.tokens) == (b.id, b.tokens) for a, b in pairs)
