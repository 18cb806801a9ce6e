"""A text without some parts of the model: what is computed then, and the answer after each layer.

One forward pass with the ablation of `ablate`, whose layers above the ablated part go by what is
left; the lens reads it as it reads the model as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mbexplore.analysis.ablate import (
    BlockedTokens,
    Part,
    Replacement,
    ablation_hooks,
    check_part,
)
from mbexplore.analysis.lens import KEEP, Lens, lens
from mbexplore.explorer import DEFAULT_TOP_K, Explorer
from mbexplore.hooks import Progress, hooked, watched
from mbexplore.recording import Recording

FAR_BELOW = -3e4
"""A score from which no weight is left, in any dtype."""


@dataclass(frozen=True, eq=False)
class Without:
    """A pass without some parts, beside the one with all of them.

    Attributes:
        parts: what was ablated, in words.
        recording: of the pass without them.
        before: the answer after each layer, with every part.
        after: the same answer without the parts; None for both where the text asks for none.
    """

    parts: tuple[str, ...]
    recording: Recording
    before: Lens | None
    after: Lens | None


def run_without(
    explorer: Explorer,
    clean: Recording,
    parts: Sequence[Part],
    *,
    replacement: Replacement = "zero",
    keep: Collection[str] = ("attention",),
    top_k: int = DEFAULT_TOP_K,
    progress: Progress | None = None,
) -> Without:
    """Runs a text once more without the parts, all of them ablated together.

    Args:
        explorer: the model.
        clean: of the text with every part, "hidden_states" kept.
        parts: what to ablate.
        replacement: in place of what is ablated.
        keep: what to keep of the pass, beside the hidden states.
        top_k: answers named after each layer.
        progress: called with the layers done and all there are; what it raises ends the work.

    Raises:
        RangeError: a part lies outside the model or the text.
    """
    encoding, masks = clean.encoding, clean.encoding.mask_positions
    for part in parts:
        check_part(part, explorer.model, len(encoding))
    report = progress or (lambda done, total: None)
    actions = ablation_hooks(explorer.model.config, parts, replacement)
    with watched(explorer.model, report), hooked(explorer.model, actions):
        recording = explorer.record(encoding, keep=tuple({*keep, *KEEP}))
    blocked = [i for part in parts if isinstance(part, BlockedTokens) for i in part.positions]
    recording = hide_keys(recording, blocked) if blocked else recording
    names = tuple(map(str, parts))
    if not masks or clean.logits is None:
        return Without(names, recording, None, None)
    before = lens(explorer, clean, masks[0], top_k=top_k)
    answer = before.target.spelling
    after = lens(explorer, recording, masks[0], answer=answer, top_k=top_k)
    return Without(names, recording, before, after)


def hide_keys(recording: Recording, blocked: Sequence[int]) -> Recording:
    """A recording whose maps leave out keys that no other token attended to.

    Maps are derived from queries and keys, which say nothing of what was blocked. Every blocked
    token gets a dimension of its own in both, in which its score is far below all others except at
    its own query.

    Args:
        recording: with "attention" kept.
        blocked: positions of the keys.
    """
    values = dict(recording.values)
    for name, value in recording.values.items():
        if name.endswith(("rot_q", "rot_k")):
            values[name] = _widened(value, blocked, is_query=name.endswith("rot_q"))
    return replace(recording, values=values)


def _widened(value: Tensor, blocked: Sequence[int], *, is_query: bool) -> Tensor:
    """Queries or keys (heads, seq, head_dim) with a dimension more for each blocked key."""
    heads, seq, head_dim = value.shape
    columns = torch.arange(len(blocked), device=value.device)
    own = torch.zeros(seq, len(blocked), dtype=torch.bool, device=value.device)
    own[list(blocked), columns] = True
    more = (~own).to(value.dtype) if is_query else own.to(value.dtype) * FAR_BELOW
    if is_query:  # scores are divided by the root of the number of dimensions, which grows
        value = value * (1 + len(blocked) / head_dim) ** 0.5
    return torch.cat((value, more.expand(heads, -1, -1)), dim=-1)
