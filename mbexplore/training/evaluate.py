"""Measures a masked language model: accuracy on held-out text, and a suite of cloze questions.

The held-out masks are a pure function of the text, the tokenizer and the seed: every model and
every baseline is asked the same questions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.training.corpus import Document
from mbexplore.training.packing import Ints, stream_rows, tokenize_corpora
from mbexplore.training.tokenizer import special_ids


@dataclass(frozen=True, eq=False)
class HeldoutRow:
    """One piece of held-out text with some tokens hidden; positions of one pass."""

    input_ids: Ints  # (seq,), with [CLS], [SEP] and [MASK]
    positions: Ints  # (masked,)
    labels: Ints  # (masked,)


@dataclass(frozen=True)
class Accuracy:
    """How often the right token was first, or among the first five."""

    top1: float
    top5: float
    loss: float
    count: int


@dataclass(frozen=True)
class Cloze:
    """One question with a single `[MASK]` and the answers that count as right."""

    category: str
    prompt: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class ClozeResult:
    """A question and the five tokens the model finds likeliest, spaces stripped."""

    cloze: Cloze
    answers: tuple[str, ...]

    @property
    def first(self) -> bool:
        """Whether the first answer is right."""
        return self.answers[0] in self.cloze.answers

    @property
    def among_five(self) -> bool:
        """Whether one of the five is right."""
        return any(answer in self.cloze.answers for answer in self.answers)


def heldout_rows(
    tokenizer: Tokenizer,
    documents: list[Document],
    *,
    length: int = 128,
    rate: float = 0.15,
    passes: int = 2,
    seed: int = 0,
) -> list[HeldoutRow]:
    """Cuts documents into rows and hides tokens; line breaks are never asked for.

    Args:
        tokenizer: of the model.
        documents: the held-out text.
        length: of a row, with [CLS] and [SEP].
        rate: part of the tokens hidden in each pass.
        passes: times the text is gone through; no token is asked for twice.
        seed: of the choice.
    """
    special = special_ids(tokenizer)
    cls_id, sep_id, mask_id = special["[CLS]"], special["[SEP]"], special["[MASK]"]
    closed = [*special.values(), *tokenizer.encode("\n", add_special_tokens=False).ids]
    texts = tokenize_corpora(tokenizer, [(documents, 1.0)])
    random = np.random.default_rng(seed)
    rows = []
    for piece in stream_rows(texts, length):
        ids = np.concatenate([[cls_id], piece, [sep_id]]).astype(np.int64)
        chance = random.random(len(ids))
        chance[np.isin(ids, closed)] = 2.0
        for number in range(passes):
            positions = np.flatnonzero((chance >= number * rate) & (chance < (number + 1) * rate))
            if len(positions):
                hidden = ids.copy()
                hidden[positions] = mask_id
                rows.append(HeldoutRow(hidden, positions, ids[positions]))
    return rows


@torch.no_grad()
def measure_heldout(
    model: ModernBertForMaskedLM, rows: Sequence[HeldoutRow], batch_size: int = 64
) -> Accuracy:
    """The model's accuracy on held-out rows, in the model's own precision."""
    model.eval()
    first = five = count = 0
    loss = 0.0
    ordered = sorted(rows, key=lambda row: len(row.input_ids))
    for start in range(0, len(ordered), batch_size):
        some = ordered[start : start + batch_size]
        ids, mask = _padded([row.input_ids for row in some], model)
        longest = ids.shape[1]
        places = np.concatenate([i * longest + row.positions for i, row in enumerate(some)])
        labels = torch.from_numpy(np.concatenate([row.labels for row in some])).to(model.device)
        hidden = model.model(ids, mask).flatten(0, 1)
        logits = model.logits(hidden[torch.from_numpy(places).to(model.device)]).float()
        best = logits.topk(5).indices == labels[:, None]
        first += int(best[:, 0].sum())
        five += int(best.sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        count += len(labels)
    return Accuracy(first / count, five / count, loss / count, count)


def load_cloze(path: Path) -> list[Cloze]:
    """Reads questions from JSON lines with `category`, `prompt` and `answers`."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Cloze(e["category"], e["prompt"], tuple(e["answers"])) for e in entries]


@torch.no_grad()
def answer_cloze(
    model: ModernBertForMaskedLM, tokenizer: Tokenizer, suite: Sequence[Cloze], batch_size: int = 64
) -> list[ClozeResult]:
    """Asks the model every question."""
    model.eval()
    mask_id = special_ids(tokenizer)["[MASK]"]
    results = []
    for start in range(0, len(suite), batch_size):
        some = suite[start : start + batch_size]
        rows = [tokenizer.encode(cloze.prompt).ids for cloze in some]
        places = [row.index(mask_id) for row in rows]
        ids, mask = _padded([np.array(row) for row in rows], model)
        hidden = model.model(ids, mask)  # (batch, seq, hidden)
        logits = model.logits(hidden[torch.arange(len(rows)), places])
        best = logits[:, : tokenizer.get_vocab_size()].topk(5).indices.tolist()
        for cloze, tokens in zip(some, best, strict=True):
            answers = tuple(tokenizer.decode([token]).strip() for token in tokens)
            results.append(ClozeResult(cloze, answers))
    return results


def _padded(rows: Sequence[Ints], model: ModernBertForMaskedLM) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, (batch, longest), on the model's device."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), model.config.pad_token_id or 0)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids.to(model.device), mask.to(model.device)


def cloze_table(results: Sequence[ClozeResult]) -> dict[str, tuple[float, float, int]]:
    """Top-1 and top-5 accuracy and number of questions for each category, and over `all`."""
    groups: dict[str, list[ClozeResult]] = {}
    for result in results:
        groups.setdefault(result.cloze.category, []).append(result)
    groups["all"] = list(results)
    return {
        name: (
            sum(result.first for result in group) / len(group),
            sum(result.among_five for result in group) / len(group),
            len(group),
        )
        for name, group in groups.items()
    }
