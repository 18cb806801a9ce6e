"""Linear probes: whether a label can be read off a layer by a linear classifier.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes"
(arXiv:1610.01644). Hewitt and Liang 2019, "Designing and Interpreting Probes with Control Tasks"
(arXiv:1909.03368): the same probe on shuffled labels tells what it learns by itself; what it has
beyond that is its selectivity.

The probe is a multinomial logistic regression on standardised features with an L2 penalty. Every
text is predicted by a probe that was fitted without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mbexplore.analysis.intervals import wilson
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.recording import Recording
from mbexplore.text import quoted, shortened

Pooling = Literal["mean", "cls", "mask"]
Tap = Literal["resid_post", "resid_mid", "attn_out", "mlp_out", "mlp_post", "z", "q", "k", "v"]
HEADS_FIRST = ("z", "q", "k", "v")
PENALTY = 1.0


@dataclass(frozen=True)
class ProbeRow:
    """A probe of one layer.

    Attributes:
        layer: from 0; -1 for the embeddings.
        accuracy: share of the texts whose label is predicted.
        low: lower end of its 95% interval (Wilson).
        high: upper end.
        control: accuracy on shuffled labels.
        control_low: lower end of its interval.
        control_high: upper end.
    """

    layer: int
    accuracy: float
    low: float
    high: float
    control: float
    control_low: float
    control_high: float

    @property
    def selectivity(self) -> float:
        """Accuracy less that on shuffled labels."""
        return self.accuracy - self.control


@dataclass(frozen=True)
class Probe:
    """Probes of every layer.

    Attributes:
        tap: what is read.
        pooling: of the tokens.
        folds: of the cross-validation.
        labels: the classes, the most frequent first.
        counts: texts of each.
        rows: one entry a layer, from the embeddings where the tap has them.
    """

    tap: str
    pooling: str
    folds: int
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    rows: tuple[ProbeRow, ...]

    @property
    def majority(self) -> float:
        """Accuracy of always saying the most frequent label."""
        return self.counts[0] / sum(self.counts)

    @property
    def best(self) -> ProbeRow:
        """The layer with the highest accuracy, the first of equals."""
        return max(self.rows, key=lambda row: row.accuracy)


def probe(
    explorer: Explorer,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    tap: Tap = "resid_post",
    pooling: Pooling = "mean",
    folds: int = 5,
    penalty: float = PENALTY,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probe:
    """Fits a probe to every layer, and another to shuffled labels.

    Args:
        explorer: any model.
        texts: two or more.
        labels: one a text.
        tap: of each layer.
        pooling: "mean" over all tokens but special ones, "cls" for the first, "mask" for the first
            mask.
        folds: of the cross-validation, each with its share of every label.
        penalty: of the squared weights, halved; larger for simpler probes.
        seed: of folds and shuffled labels.
        progress: called with the texts and layers done and all there are.

    Raises:
        TextError: a label has fewer texts than there are folds, or a text no mask.
        RangeError: there are fewer than 2 folds.
    """
    counted = Counter(labels).most_common()
    _check(counted, folds)
    names = tuple(name for name, _ in counted)
    total = len(texts) + explorer.model.config.num_hidden_layers + 1
    features = _features(explorer, texts, tap, pooling, progress, total)
    random = torch.Generator().manual_seed(seed)
    truth = torch.tensor([names.index(label) for label in labels])
    shuffled = truth[torch.randperm(len(truth), generator=random)]
    rows = []
    for number, x in enumerate(features.unbind(1)):  # (texts, width)
        own, control = (
            cross_validate(x, y, folds, penalty=penalty, seed=seed) for y in (truth, shuffled)
        )
        layer = number - (tap == "resid_post")
        bounds = wilson(own, len(truth)), wilson(control, len(truth))
        shares = own / len(truth), control / len(truth)
        rows.append(ProbeRow(layer, shares[0], *bounds[0], shares[1], *bounds[1]))
        if progress is not None:
            progress(len(texts) + number + 1, total)
    counts = tuple(count for _, count in counted)
    return Probe(tap, pooling, folds, names, counts, tuple(rows))


def cross_validate(x: Tensor, y: Tensor, folds: int, *, penalty: float, seed: int = 0) -> int:
    """How many rows are predicted by a probe that was fitted to the other folds.

    Args:
        x: features (rows, width).
        y: class of each row.
        folds: each with its share of every class.
        penalty: see `probe`.
        seed: of the folds.
    """
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=random)
    order = order[y[order].argsort(stable=True)]  # by class, shuffled within
    fold = torch.empty_like(y)
    fold[order] = torch.arange(len(y)) % folds
    correct = 0
    for number in range(folds):
        held = fold == number
        mean, spread = x[~held].mean(dim=0), x[~held].std(dim=0).clamp_min(1e-6)
        z = (x - mean) / spread
        weight, bias = fit(z[~held], y[~held], int(y.max()) + 1, penalty)
        correct += int(((z[held] @ weight + bias).argmax(dim=1) == y[held]).sum())
    return correct


def fit(x: Tensor, y: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression: the sum of cross-entropies and the penalty is least.

    Args:
        x: (rows, width).
        y: class of each row.
        classes: how many there are.
        penalty: times half the squared weights; the bias is free.

    Returns:
        Weight (width, classes) and bias (classes).
    """
    x = x.double()
    weight = torch.zeros(x.shape[1], classes, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(x @ weight + bias, y, reduction="sum")
        value = value + 0.5 * penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach().to(torch.float64), bias.detach()


def _check(counted: Iterable[tuple[str, int]], folds: int) -> None:
    counts = dict(counted)
    if folds < 2:
        raise RangeError(f"{folds} folds leave nothing to predict; give 2 or more.")
    if len(counts) < 2:
        there = ", ".join(map(quoted, counts)) or "none"
        raise TextError(f"A probe tells labels apart, and there is {there}; give 2 or more.")
    name, count = min(counts.items(), key=lambda one: one[1])
    if count < folds:
        raise TextError(
            f"The label {quoted(name)} has {count} texts, fewer than the {folds} folds; give more "
            "texts, or fewer folds."
        )


def _features(
    explorer: Explorer,
    texts: Sequence[str],
    tap: str,
    pooling: str,
    progress: Progress | None,
    total: int,
) -> Tensor:
    """(texts, layers or states, width) in float64."""
    keep = "hidden_states" if tap == "resid_post" else tap
    found = []
    for number, recording in enumerate(explorer.record_many(texts, keep=(keep,)), 1):
        places = _places(recording.encoding, pooling)
        found.append(torch.stack([one[places].mean(dim=0) for one in _values(recording, tap)]))
        if progress is not None:
            progress(number, total)
    return torch.stack(found).double().cpu()


def _values(recording: Recording, tap: str) -> list[Tensor]:
    """What a tap has of every token (seq, width), layer by layer."""
    layers = range(recording.config.num_hidden_layers)
    if tap == "resid_post":
        return [recording.hidden_states(state) for state in range(len(layers) + 1)]
    values = [recording.values[f"layers.{layer}.{tap}"] for layer in layers]
    if tap in HEADS_FIRST:  # (heads, seq, head_dim)
        return [value.transpose(0, 1).flatten(1) for value in values]
    return values


def _places(encoding: Encoding, pooling: str) -> list[int]:
    if pooling == "cls":
        return [0]
    if pooling == "mask":
        if not encoding.mask_positions:
            raise TextError(
                f"The text {shortened(encoding.text, 60)!r} has no [MASK] to read; put one in, or "
                "pool by mean or cls."
            )
        return [encoding.mask_positions[0]]
    return [i for i, word in enumerate(encoding.words) if word is not None] or [0]
