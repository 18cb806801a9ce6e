"""Attribution: how much each token of the text adds to the logit of the answer.

Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks" (arXiv:1703.01365), for
integrated gradients; Shrikumar et al. 2016, "Not Just a Black Box" (arXiv:1605.01713), for gradient
x input. The input is a token's embedding: after the embedding norm (hidden state 0), which is where
the residual stream starts, or before it, as most papers take it. The two share the logit out
differently: the norm is then part of the function explained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mbexplore import limits
from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError, RangeError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress, hooked
from mbexplore.recording import to_float64

LIMITS = limits.ATTRIBUTE
STEPS = 64
MOST_ERROR = 0.01
"""The completeness error up to which the shares can be relied on."""
BATCH_TOKENS = 1024
"""Tokens in one batch, all its points of the path together."""

Baseline = Literal["mask", "pad"]
Input = Literal["normed", "raw"]
"""Embeddings after their norm (the residual stream's start), or before it."""


@dataclass(frozen=True)
class Attribution:
    """How the answer's logit is shared out among the tokens.

    Attributes:
        tokens: of the text.
        target: the answer.
        contrast: the answer it is set against, or None.
        baseline: "mask" or "pad".
        embeddings: where the path runs: "normed" or "raw" embeddings.
        steps: points on the path from the baseline to the text.
        integrated: of each token, in logits; special tokens and masks stand in the baseline too,
            and get exactly zero.
        gradient_input: gradient x input of each token, in logits.
        value: the answer's logit (less that of `contrast`), on the text.
        baseline_value: likewise, on the baseline.
        completeness_error: of the sum of `integrated` against `value - baseline_value`, as a
            share of that difference.
    """

    tokens: tuple[str, ...]
    target: Target
    contrast: Target | None
    baseline: Baseline
    embeddings: Input
    steps: int
    integrated: tuple[float, ...]
    gradient_input: tuple[float, ...]
    value: float
    baseline_value: float
    completeness_error: float


def attribute(
    explorer: Explorer,
    text: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    contrast: str | None = None,
    baseline: Baseline = "mask",
    embeddings: Input = "normed",
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Attribution:
    """Shares the answer's logit out among the tokens of the text.

    Args:
        explorer: with any head; see `readout.build_readout`.
        text: the text.
        position: which token is asked about; see `readout.build_readout`.
        answer: the answer explained; None for the model's own.
        contrast: why the answer and not this one.
        baseline: what stands in the place of every plain token: the mask's embedding or padding's.
        embeddings: "normed" for hidden state 0, "raw" for the rows of the embedding matrix.
        steps: points on the path, placed as Gauss and Legendre's rule asks.
        progress: called with the points done and all there are; what it raises ends the work.

    Raises:
        TextError: no position is given and the text has no mask.
        RangeError: the contrast is the answer itself, or there are no steps.
        ModelError: the model has no such baseline token.
    """
    if steps < 1:
        raise RangeError(f"The path has {steps} steps; give 1 or more.")
    encoding = explorer.encode(text) if isinstance(text, str) else text
    readout = build_readout(explorer, encoding, position, answer, number=True)
    target = readout.target(
        readout.logits(torch.tensor([encoding.ids], device=explorer.model.device))[0]
    )
    against = None if contrast is None else readout.find_contrast(contrast, target)
    return attribute_difference(
        explorer, encoding, readout, target, against,
        baseline=baseline, embeddings=embeddings, steps=steps, progress=progress,
    )  # fmt: skip


def attribute_difference(
    explorer: Explorer,
    encoding: Encoding,
    readout: Readout,
    target: Target,
    contrast: Target | None = None,
    *,
    baseline: Baseline | None = None,
    embeddings: Input = "normed",
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Attribution:
    """`attribute` of an answer, or of its logit less another's, that is known already.

    Args:
        explorer: the model.
        encoding: the text.
        readout: what is read off the model.
        target: the answer.
        contrast: another one, whose logit is subtracted.
        baseline: see `attribute`; None for the mask, or padding where the model has no mask.
        embeddings: see `attribute`.
        steps: see `attribute`.
        progress: see `attribute`.

    Raises:
        ModelError: the model has no such baseline token.
    """
    model = explorer.model
    baseline = baseline or ("pad" if explorer.tokenizer.special_ids.mask is None else "mask")
    ids = torch.tensor([encoding.ids, baseline_ids(explorer, encoding, baseline)])
    ids = ids.to(model.device)
    with torch.no_grad():
        table = model.encoder.embeddings
        inputs = table(ids) if embeddings == "normed" else table.tok_embeddings(ids)
        end, start = inputs  # each (seq, hidden)
    norm = None if embeddings == "normed" else model.encoder.embeddings.norm
    function = _Function(readout, ids[:1], target, contrast, norm, progress)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    points = torch.from_numpy((nodes + 1) / 2).to(end.dtype).to(end.device)
    shares = torch.from_numpy(weights / 2).to(end.dtype).to(end.device)
    mean = function.mean_gradient(start, end, points, shares)
    here = torch.ones(1).to(end)
    gradient = replace(function, progress=None).mean_gradient(start, end, here, here)
    integrated = to_float64(((end - start) * mean).sum(dim=-1))
    value, baseline_value = function.value(end), function.value(start)
    error = abs(float(integrated.sum()) - (value - baseline_value))
    return Attribution(
        tokens=encoding.tokens,
        target=target,
        contrast=contrast,
        baseline=baseline,
        embeddings=embeddings,
        steps=steps,
        integrated=tuple(integrated.tolist()),
        gradient_input=tuple((end * gradient).sum(dim=-1).tolist()),
        value=value,
        baseline_value=baseline_value,
        completeness_error=error / max(abs(value - baseline_value), 1e-12),
    )


@dataclass(frozen=True, eq=False)
class _Function:
    """The function explained: embeddings to the logit, or to the difference of two."""

    readout: Readout
    ids: Tensor  # (1, seq); any ids of the text's length, the embeddings are replaced
    target: Target
    contrast: Target | None
    norm: nn.Module | None  # of raw embeddings
    progress: Progress | None

    def mean_gradient(self, start: Tensor, end: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean of the gradient at `start + point * (end - start)`, (seq, hidden)."""
        size = max(1, BATCH_TOKENS // len(end))
        total = torch.zeros_like(end)
        for first in range(0, len(points), size):
            some, share = points[first : first + size], weights[first : first + size]
            x = start + some[:, None, None] * (end - start)  # (batch, seq, hidden)
            x.requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self._logits(x).sum(), x)
            total += (share[:, None, None] * gradient).sum(dim=0)
            if self.progress is not None:
                self.progress(first + len(some), len(points))
        return total

    def value(self, x: Tensor) -> float:
        """The logit at embeddings (seq, hidden)."""
        with torch.no_grad():
            return float(self._logits(x[None])[0])

    def _logits(self, x: Tensor) -> Tensor:
        ids = self.ids.expand(len(x), -1)
        x = x if self.norm is None else self.norm(x)
        with hooked(self.readout.model, {"embed": lambda value: x}):
            logits = self.readout.read(self.readout.model.encoder(ids))
        own = logits[:, self.target.token_id]
        return own if self.contrast is None else own - logits[:, self.contrast.token_id]


def baseline_ids(
    explorer: Explorer, encoding: Encoding, baseline: Baseline | None = None
) -> list[int]:
    """The text with every plain token replaced; special tokens, the masks among them, stay.

    Args:
        explorer: the model.
        encoding: the text.
        baseline: what stands there instead; None for the mask, or padding where there is no mask.

    Raises:
        ModelError: the model has no such token.
    """
    ids = explorer.tokenizer.special_ids
    baseline = baseline or ("pad" if ids.mask is None else "mask")
    pad = explorer.model.config.pad_token_id if ids.pad is None else ids.pad
    stand_in = ids.mask if baseline == "mask" else pad
    if stand_in is None:
        raise ModelError(
            f"{explorer.info.name} has no {baseline} token to serve as the baseline; choose "
            "another baseline."
        )
    special = (ids.cls, ids.sep, ids.mask)
    return [token if token in special else stand_in for token in encoding.ids]
