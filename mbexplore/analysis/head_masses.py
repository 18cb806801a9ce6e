"""Where the weight of a head's rows goes, and which rows could send it there."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.recording import to_float64

MASSES = ("self", "previous", "next", "cls", "sep", "punctuation", "mask", "edge", "far")
"""Where weight goes; they may overlap. "edge" is both ends of a local layer's window, "far" what
no local layer could see: more than half a window away."""

COUNTED = (*MASSES, "separator")
"""What is summed: `MASSES`, and [CLS] and [SEP] together."""

KINDS = ("cls", "sep", "punctuation", "mask", "separator")


def token_kinds(encoding: Encoding) -> Tensor:
    """(seq, KINDS) of 0 and 1."""
    ids = torch.tensor(encoding.ids)
    is_mask = torch.zeros(len(ids), dtype=torch.bool)
    is_mask[list(encoding.mask_positions)] = True
    no = torch.zeros_like(is_mask)
    is_cls = no if encoding.cls_id is None else ids == encoding.cls_id
    is_sep = no if encoding.sep_id is None else ids == encoding.sep_id
    marks = torch.tensor([is_punctuation(token) for token in encoding.tokens])
    return torch.stack((is_cls, is_sep, marks, is_mask, is_cls | is_sep), dim=1).float()


@lru_cache(maxsize=2**17)
def is_punctuation(token: str) -> bool:
    """Whether a token is nothing but punctuation, spaces aside."""
    marks = token.strip()
    return bool(marks) and all(unicodedata.category(mark).startswith("P") for mark in marks)


def eligible_rows(kinds: Tensor, half_window: int | None, far: int) -> dict[str, Tensor]:
    """For each of `COUNTED`, the rows whose query can see such a key, (seq,) of bool.

    The first token has no previous one, a local layer's row may see no [MASK], and so on: averages
    leave such rows out.

    Args:
        kinds: see `token_kinds`.
        half_window: of the layer; None for a global one.
        far: the distance beyond which a key is far.
    """
    seq = len(kinds)
    positions = torch.arange(seq)
    reach = seq if half_window is None else half_window
    low, high = (positions - reach).clamp(min=0), (positions + reach + 1).clamp(max=seq)
    until = torch.cat((torch.zeros(1, len(kinds.T)), kinds.cumsum(dim=0)))  # (seq + 1, KINDS)
    sees = (until[high] - until[low] > 0).T  # (KINDS, seq)
    farthest = torch.maximum(positions, seq - 1 - positions).clamp(max=reach)
    is_edge = (positions >= reach) | (positions + reach < seq)
    rows = {
        "self": torch.ones(seq, dtype=torch.bool),
        "previous": (positions > 0) & (reach > 0),
        "next": (positions < seq - 1) & (reach > 0),
        "edge": is_edge if half_window else torch.zeros(seq, dtype=torch.bool),
        "far": farthest > far,
        **dict(zip(KINDS, sees, strict=True)),
    }
    return {name: rows[name] for name in COUNTED}


def block_masses(
    weights: Tensor, queries: Tensor, low: int, kinds: Tensor, half_window: int | None, far: int
) -> Tensor:
    """Weight that a block of rows sends to each of `COUNTED`, (heads, COUNTED) float64 on the CPU.

    Args:
        weights: (heads, query, key), over the keys from `low` on.
        queries: positions of the rows, (query,).
        low: position of the first key.
        kinds: of the keys; see `token_kinds`.
        half_window: of the layer; None for a global one.
        far: the distance beyond which a key is far.
    """
    keys = torch.arange(low, low + weights.shape[2], device=weights.device)
    is_far = ((queries[:, None] - keys).abs() > far).to(weights.dtype)
    named = to_float64(weights @ kinds.to(weights)).sum(dim=1)  # (heads, KINDS)
    own, previous, following, edge = _at_offsets(weights, queries - low, half_window)
    columns = dict(zip(KINDS, named.T, strict=True)) | {
        "self": own,
        "previous": previous,
        "next": following,
        "edge": edge,
        "far": weighted(weights, is_far),
    }
    return torch.stack([columns[name] for name in COUNTED], dim=1)


def weighted(weights: Tensor, of: Tensor) -> Tensor:
    """(heads, query, key) weights times (query, key), summed: (heads,) float64 on the CPU."""
    return to_float64(torch.einsum("hqk,qk->hq", weights, of)).sum(dim=1)


def _at_offsets(weights: Tensor, columns: Tensor, half_window: int | None) -> list[Tensor]:
    """Summed weight on a query's own token, the previous, the next and the edges, (heads,) each.

    Args:
        weights: (heads, query, key).
        columns: of each query's own position, (query,).
        half_window: None for a global layer, which has no edge.
    """

    def at(offset: int) -> Tensor:
        picked = columns + offset
        inside = (picked >= 0) & (picked < weights.shape[2])
        picked = picked.clamp(0, weights.shape[2] - 1)[None, :, None]
        found = weights.gather(2, picked.expand(len(weights), -1, 1))[..., 0]  # (heads, query)
        return to_float64(found * inside).sum(dim=1)

    edge = at(-half_window) + at(half_window) if half_window else torch.zeros_like(at(0))
    return [at(0), at(-1), at(1), edge]
