"""Estimates of what each head would restore, from gradients: a first choice in a long text.

Attribution patching (Nanda 2023; Syed et al. 2023, arXiv:2310.10348): the gradient of the logit
difference at a head's output times its change between the texts. What it names is then measured.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.why.pair import TextPair
from mbexplore.hooks import hooked
from mbexplore.recording import Recording


def estimate(pair: TextPair) -> NDArray[np.float64]:
    """Shares of the difference that each head at each token would restore, (layers, heads, seq)."""
    layers = range(pair.clean.config.num_hidden_layers)
    both = zip(_gradients(pair, pair.clean), _gradients(pair, pair.corrupted), strict=True)
    found = []
    for layer, (first, second) in zip(layers, both, strict=True):
        change = pair.z(pair.clean, layer) - pair.z(pair.corrupted, layer)
        found.append(((first + second) / 2 * change).sum(dim=-1) / pair.span)  # (heads, seq)
    return torch.stack(found).double().cpu().numpy()


def _gradients(pair: TextPair, recording: Recording) -> list[Tensor]:
    """Gradient of the logit difference at every layer's heads, each (heads, seq, head_dim)."""
    model, kept = pair.readout.model, []

    def keep(value: Tensor) -> None:
        kept.append(value)

    names = [f"layers.{i}.z" for i in range(recording.config.num_hidden_layers)]
    ids = torch.tensor([recording.encoding.ids], device=model.device)
    actions = {"embed": lambda value: value.detach().requires_grad_(), **dict.fromkeys(names, keep)}
    with torch.enable_grad(), hooked(model, actions):
        logits = pair.readout.read(model.encoder(ids))[0]
        difference = logits[pair.target.token_id] - logits[pair.other.token_id]
        gradients = torch.autograd.grad(difference, kept)
    return [one[0] for one in gradients]
