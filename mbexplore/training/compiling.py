"""Whether torch can compile here, found out before any work is lost to it."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from mbexplore.text import shortened


def find_compile_fault(device: torch.device) -> str | None:
    """Why torch can't compile on this machine, most often for want of a C++ compiler; or None."""
    try:
        torch.compile(F.gelu)(torch.ones(8, device=device))
    except Exception as error:  # what the inductor raises has no common base
        torch._dynamo.reset()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return shortened(lines[0].rstrip(".:") if lines else type(error).__name__, 200)
    return None
