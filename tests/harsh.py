"""Weights as no initialisation gives them, and as trained models have them."""

import torch

KINDS = ("mild", "matrices x 3", "matrices x 1.6", "outlier channels", "jittered norms")


@torch.no_grad()
def make_harsh(model, kind, seed=3):
    """Weights as no initialisation gives them: norm weights far apart, outliers, large matrices."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name and name.endswith("weight")
        if is_norm and kind == "outlier channels":
            parameter[torch.randint(len(parameter), (2,), generator=generator)] *= 50
        elif is_norm and kind == "jittered norms":
            parameter.mul_(torch.empty_like(parameter).uniform_(0.2, 5, generator=generator))
        elif not is_norm and parameter.dim() == 2 and "embeddings" not in name:
            parameter.mul_({"matrices x 3": 3, "matrices x 1.6": 1.6}.get(kind, 1))
