"""The head that an answer needs most at its own token, found fast enough to open a view with.

A head counts where the answer is read: its output there is set to zero, and the change of the
answer's logit is its effect. Of a long text or a large model not every head is measured: the
gradient of the logit times the output estimates all effects in one pass (attribution patching
towards zero: Nanda 2023; Syed et al. 2023, arXiv:2310.10348), and the largest are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress, hooked
from mbexplore.network.tap import Action

LEAST_MEASURED = 8
"""Heads that are measured however long the text is."""
BUDGET = 8192
"""Tokens of all the copies of a text in which a head is missing."""
BATCH_TOKENS = 2048
"""Tokens of the copies that run together."""
LONGEST = 512
"""Tokens of the longest text it is asked about: gradients take every layer's values at once."""


@dataclass(frozen=True)
class HeadFocus:
    """The head whose output at the answer's token changes the answer's logit most.

    Attributes:
        layer: from 0.
        head: from 0.
        target: the answer; where it is about the whole text, so is the effect.
        change: of its logit without the head's output there, measured.
        measured: heads that were measured, those with the largest estimates.
        heads: of the model.
    """

    layer: int
    head: int
    target: Target
    change: float
    measured: int
    heads: int


def find_head(
    explorer: Explorer,
    encoding: Encoding,
    position: int | None = None,
    *,
    progress: Progress | None = None,
) -> HeadFocus:
    """The head that the model's answer needs most, for better or worse.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        encoding: the text.
        position: which token is asked about; see `readout.build_readout`.
        progress: called with the heads measured and all that will be; what it raises ends the work.

    Raises:
        MbexploreError: see `readout.build_readout`.
    """
    model, config = explorer.model, explorer.model.config
    readout = build_readout(explorer, encoding, position)
    ids = torch.tensor([encoding.ids], device=model.device)
    clean = readout.logits(ids)[0]
    target = readout.target(clean)
    every = list(product(range(config.num_hidden_layers), range(config.num_attention_heads)))
    most = max(LEAST_MEASURED, BUDGET // len(encoding))
    heads = every
    if most < len(every):
        size = np.abs(estimate_effects(readout, ids, target))
        heads = sorted(every, key=lambda head: -size[head])[:most]
    changes: list[float] = []
    together = max(1, BATCH_TOKENS // len(encoding))
    for first in range(0, len(heads), together):
        some = heads[first : first + together]
        with hooked(model, _without_each(some, target.position)):
            logits = readout.logits(ids.expand(len(some), -1))[:, target.token_id]
        changes += (logits - clean[target.token_id]).tolist()
        if progress is not None:
            progress(len(changes), len(heads))
    best = int(np.argmax(np.abs(changes)))
    return HeadFocus(*heads[best], target, changes[best], len(heads), len(every))


def _without_each(heads: Sequence[tuple[int, int]], position: int | None) -> dict[str, Action]:
    """Actions that take one head's output out of each row of a batch, at one token or at all."""

    def action(rows: list[int], which: list[int]) -> Action:
        def edit(value: Tensor) -> Tensor:
            value = value.clone()  # (batch, heads, seq, head_dim)
            value[rows, which, slice(None) if position is None else position] = 0.0
            return value

        return edit

    actions = {}
    for layer in {layer for layer, _ in heads}:
        rows = [row for row, (one, _) in enumerate(heads) if one == layer]
        actions[f"layers.{layer}.z"] = action(rows, [heads[row][1] for row in rows])
    return actions


def estimate_effects(readout: Readout, ids: Tensor, target: Target) -> NDArray[np.float64]:
    """Change of the target's logit without each head there, to first order, (layers, heads)."""
    model, kept = readout.model, list[Tensor]()
    taps = [f"layers.{layer}.z" for layer in range(model.config.num_hidden_layers)]
    actions: dict[str, Action] = {
        "embed": lambda value: value.detach().requires_grad_(),
        **dict.fromkeys(taps, lambda value: kept.append(value)),
    }
    with torch.enable_grad(), hooked(model, actions):
        logit = readout.read(model.encoder(ids))[0, target.token_id]
        gradients = torch.autograd.grad(logit, kept)
    place = slice(None) if target.position is None else [target.position]
    products = [
        -(gradient * z)[0, :, place].sum(dim=(1, 2))
        for gradient, z in zip(gradients, kept, strict=True)
    ]
    found: NDArray[np.float64] = torch.stack(products).detach().double().cpu().numpy()
    return found
