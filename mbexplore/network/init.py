"""ModernBERT's own initialisation: truncated normals, smaller on what adds to the residual stream.

Follows `ModernBertPreTrainedModel._init_weights` of transformers. Goes by the parameters' names.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from mbexplore.network.config import ModernBertConfig


@torch.no_grad()
def init_weights(module: nn.Module, config: ModernBertConfig, name: str = "") -> None:
    """Fills the parameters of a module with what training starts from.

    Args:
        module: the encoder, or a part of a head.
        config: says how wide the normals are.
        name: of the module in the model.
    """
    out_std = config.initializer_range / math.sqrt(2.0 * config.num_hidden_layers)
    # A truncated normal by its inverse distribution function.
    bound = math.erf(config.initializer_cutoff_factor / math.sqrt(2.0))
    for full, parameter in module.named_parameters(name):
        if parameter.is_meta:  # its values follow
            continue
        if full.endswith("bias"):
            parameter.zero_()
        elif "norm" in full:
            parameter.fill_(1.0)
        else:
            is_out = full.endswith(("Wo.weight", "dense.weight", "decoder.weight"))
            std = out_std if is_out else config.initializer_range
            if full == "classifier.weight":
                std = config.hidden_size**-0.5
            parameter.uniform_(-bound, bound).erfinv_().mul_(std * math.sqrt(2.0))
