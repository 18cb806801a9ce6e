"""Numerical trust: ours against transformers (eager), value by value through the whole model.

Both sides open the same folder and run the same tokens. What they computed is compared in the
order of the forward pass, so the first value over its tolerance names where they part. Knows no
skin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.errors import UsageError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.network.attention import attention_weights
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.heads import ClassifierModel
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.recording import to_float64

TOLERANCE = {
    torch.float64: 1e-5,  # transformers turns q and k in float32 whatever the model's dtype
    torch.float32: 1e-5,
    torch.bfloat16: 0.25,
    torch.float16: 0.03,
}
"""Largest difference of a value that passes, for values of root mean square 1 or less; larger
ones may differ in proportion. Attention weights must agree five times closer: where scores are
large a sharp head rounds to just over 1e-6."""

Batch = list[tuple[int, ...]]


@dataclass(frozen=True)
class Check:
    """One value on both sides.

    Attributes:
        what: "hidden state", "attention map", "final norm", "head", "logits", or a published one.
        layer: of the layer that computed it; None before and after the layers.
        kind: of that layer.
        theta: of that layer.
        half_window: of that layer; None for a global one.
        max_abs: largest absolute difference over the real tokens.
        mean_abs: mean absolute difference.
        tolerance: what `max_abs` may be.
    """

    what: str
    layer: int | None
    kind: LayerKind | None
    theta: float | None
    half_window: int | None
    max_abs: float
    mean_abs: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; a NaN is not."""
        return self.max_abs <= self.tolerance


@dataclass(frozen=True)
class Verification:
    """All checks of one text or batch, in the order of the forward pass."""

    checks: tuple[Check, ...]
    tokens: tuple[int, ...]
    version: str

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def first_mismatch(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if not check.passed), None)


def verify(
    explorer: Explorer,
    batch: Batch,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compares every value of one forward pass over a batch.

    Args:
        explorer: the model, in the dtype to be verified.
        batch: token ids of each text; texts of unequal length are padded on the right.
        progress: told after each of three steps: theirs is open, theirs ran, ours ran.

    Raises:
        UsageError: a padded batch in float64, where transformers' eager attention gives NaN.
    """
    if explorer.model.dtype == torch.float64 and len({len(ids) for ids in batch}) > 1:
        raise UsageError(
            "transformers gives NaN for a padded batch in float64, so there is nothing to compare "
            "with; verify a padded batch in float32."
        )
    model, config = explorer.model, explorer.model.config
    ids, mask = explorer.pad(batch)
    reference = explorer.load_reference("eager")
    progress(1, 3)
    theirs = reference.trace(ids, mask)
    progress(2, 3)
    ours = _trace(explorer, ids, mask)
    progress(3, 3)
    lengths = [len(one) for one in batch]
    checks = [
        _check(place, config, ours[place], theirs[place], lengths, TOLERANCE[model.dtype])
        for place in _places(config)
        if place in ours
    ]
    return Verification(tuple(checks), tuple(lengths), reference.version)


def build_batch(
    ids: Sequence[int], config: ModernBertConfig, *, long: bool = False, padded: bool = False
) -> Batch:
    """The batch to verify on: the text itself, made long, or beside its half so that one is padded.

    Args:
        ids: of the text, special tokens included.
        config: says how long a window is.
        long: see `long_batch`.
        padded: see `padded_batch`.
    """
    [text] = long_batch(ids, config) if long else [tuple(ids)]
    return padded_batch(text) if padded else [text]


def long_batch(ids: Sequence[int], config: ModernBertConfig) -> Batch:
    """One text of several windows, made by repeating a text's tokens; a short one shows no window.

    At least six windows long, or as long as the model takes; a text that is so long stays as it is.
    """
    length = min(config.max_position_embeddings, 6 * config.local_attention)
    if len(ids) >= length:
        return [tuple(ids)]
    inner = tuple(ids[1:-1])
    repeated = inner * (1 + length // max(1, len(inner)))
    return [(ids[0], *repeated[: length - 2], ids[-1])]


def padded_batch(ids: Sequence[int]) -> Batch:
    """The text beside its first half, so that one row is padded, be it of a single token."""
    inner = ids[1:-1]
    return [tuple(ids), (ids[0], *inner[: len(inner) // 2], ids[-1])]


def _places(config: ModernBertConfig) -> Iterator[str]:
    yield "embed"
    for layer in range(config.num_hidden_layers):
        yield f"layers.{layer}.attention"
        yield f"layers.{layer}.resid_post"
    yield from ("final_norm", "head", "logits")


def _trace(explorer: Explorer, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Ours at every place, by name: hidden states (batch, seq, hidden), maps a text each."""
    model, config, values = explorer.model, explorer.model.config, {}

    def keep(name: str, value: Tensor) -> None:
        values[name] = value

    wanted = ["embed"]
    for layer in range(config.num_hidden_layers):
        wanted += [f"layers.{layer}.{tap}" for tap in ("rot_q", "rot_k", "resid_post")]
    actions = {name: (lambda value, name=name: keep(name, value)) for name in wanted}
    with torch.no_grad(), hooked(model, actions):
        values["final_norm"] = model.encoder(ids, mask)
        if isinstance(model, ModernBertForMaskedLM):
            values["head"] = model.head(values["final_norm"])
            values["logits"] = model.decoder(values["head"])
        elif isinstance(model, ClassifierModel):
            values["head"] = model.head(model.read(values["final_norm"], mask))
            values["logits"] = model.classifier(values["head"])
        for layer in range(config.num_hidden_layers):
            q, k = values.pop(f"layers.{layer}.rot_q"), values.pop(f"layers.{layer}.rot_k")
            values[f"layers.{layer}.attention"] = _maps(q, k, mask, config.half_window(layer))
    return values


def _maps(q: Tensor, k: Tensor, mask: Tensor, half_window: int | None) -> Tensor:
    """Attention maps of a padded batch (batch, heads, seq, seq), zero where there is padding."""
    maps = q.new_zeros(*q.shape[:3], q.shape[2], dtype=torch.promote_types(q.dtype, torch.float32))
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        maps[row, :, :length, :length] = attention_weights(
            q[row, :, :length], k[row, :, :length], half_window=half_window
        )
    return maps


def _check(
    place: str,
    config: ModernBertConfig,
    ours: Tensor,
    theirs: Tensor,
    lengths: list[int],
    tolerance: float,
) -> Check:
    is_map = place.endswith("attention")
    pairs = [
        (_real(ours[row], length, is_map), _real(theirs[row], length, is_map))
        for row, length in enumerate(lengths)
    ]
    differences = torch.cat([(a - b).abs().flatten() for a, b in pairs])
    sizes = [_score_spread(b) / 50 if is_map else _rms(b) for _, b in pairs]
    layer = int(place.split(".")[1]) if place.startswith("layers.") else None
    name = place.rpartition(".")[2]
    return Check(
        {
            "attention": "attention map",
            "resid_post": "hidden state",
            "embed": "hidden state",
            "final_norm": "final norm",
        }.get(name, name),
        layer,
        None if layer is None else config.layer_kinds[layer],
        None if layer is None else config.theta(layer),
        None if layer is None else config.half_window(layer),
        float(differences.max()),
        float(differences.mean()),
        tolerance * max(0.1 if is_map else 1.0, *sizes),
    )


def _rms(value: Tensor) -> float:
    return float(value.square().mean().sqrt())


def _score_spread(weights: Tensor) -> float:
    """How far the scores of a row of a map lie apart, at most: a score's rounding grows with it.

    Scores that a row's softmax made into nothing don't count.
    """
    seen = weights > 0
    least = torch.where(seen, weights, torch.inf).amin(dim=-1)
    return float((weights.amax(dim=-1) / least).log().max())


def _real(value: Tensor, length: int, is_map: bool) -> Tensor:
    """What belongs to real tokens: pad rows and columns have no defined value."""
    if value.dim() == 1:  # of a whole text
        return to_float64(value)
    real = value[:, :length, :length] if is_map else value[:length]
    return to_float64(real)
