"""RoPE: the wavelength of each rotary pair, and what each pair contributes to a score.

Su et al. 2021 (arXiv:2104.09864); see `mbexplore.network.rope` for the pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.links import Link, links_of_query
from mbexplore.errors import RangeError
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.rope import inverse_frequencies, rope_tables
from mbexplore.network.scaling import RopeScaling
from mbexplore.recording import Recording, check_index, to_float64

LIMITS = (
    "A rotary pair's contribution is to one score before the softmax: the weight depends on all "
    "other scores of the row as well."
)
KERNEL_LENGTH = 8192


@dataclass(frozen=True, eq=False)
class RopeSpectrum:
    """The rotary pairs of one theta and scaling.

    Attributes:
        theta: RoPE base.
        scaling: of its frequencies; None for the plain ones.
        kinds: of the layers that use it.
        layers: from 0.
        width: the longest distance such a layer looks across, in tokens: from one edge of the
            window to the other, or from one end of the longest text to the other.
        length: tokens of the longest text.
        frequencies: (pairs,) float32, radians a token, falling.
        wavelengths: (pairs,) float64, wavelength in tokens, 2 pi / w.
        kernel: (distances,) the mean over pairs of cos(distance * w): the score of two equal
            vectors with all pairs of one norm, against that at distance 0.
        cos: (positions, pairs) of the angle table, at `positions`.
        sin: the same of sines.
        positions: (positions,) from 0 across the width.
    """

    theta: float
    scaling: RopeScaling | None
    kinds: tuple[LayerKind, ...]
    layers: tuple[int, ...]
    width: int
    length: int
    frequencies: npt.NDArray[np.float32]
    wavelengths: npt.NDArray[np.float64]
    kernel: npt.NDArray[np.float64]
    cos: npt.NDArray[np.float32]
    sin: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]

    @property
    def slower_than_width(self) -> list[int]:
        """Pairs whose wavelength exceeds the width."""
        return [int(m) for m in np.flatnonzero(self.wavelengths > self.width)]

    @property
    def slower_than_length(self) -> list[int]:
        """Pairs whose wavelength exceeds the longest text."""
        return [int(m) for m in np.flatnonzero(self.wavelengths > self.length - 1)]


@dataclass(frozen=True, eq=False)
class PairNorms:
    """How much of the queries and keys of a layer lies in each pair.

    Attributes:
        layer: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        wavelengths: (pairs,) in tokens.
        q: (heads, pairs) mean over the text's tokens of the pair's norm in the query.
        k: the same of the key.
    """

    layer: int
    kind: LayerKind
    theta: float
    wavelengths: npt.NDArray[np.float64]
    q: npt.NDArray[np.float32]
    k: npt.NDArray[np.float32]


@dataclass(frozen=True)
class PairContribution:
    """What one pair adds to a score: `q_norm * k_norm * cos((i - j) w + phase) / sqrt(head_dim)`.

    Attributes:
        pair: from 0, the fastest first.
        frequency: radians a token.
        q_norm: of the query's two dimensions.
        k_norm: of the key's.
        phase: angle of the query less that of the key before they are turned, radians in
            (-pi, pi].
        contribution: what it adds to the scaled score.
    """

    pair: int
    frequency: float
    q_norm: float
    k_norm: float
    phase: float
    contribution: float


@dataclass(frozen=True)
class ScoreContributions:
    """One score of one head, taken apart by pair.

    Attributes:
        layer: from 0.
        head: from 0.
        query: position.
        key: position.
        score: q . k / sqrt(head_dim), before softmax; the contributions add up to it.
        weight: after softmax.
        contributions: one entry a pair.
    """

    layer: int
    head: int
    query: int
    key: int
    score: float
    weight: float
    contributions: tuple[PairContribution, ...]


def rope_spectra(config: ModernBertConfig, samples: int = 257) -> tuple[RopeSpectrum, ...]:
    """One entry for each distinct theta and scaling, in the order of the first layer that uses it.

    Args:
        config: of the model.
        samples: the most positions at which the angle tables are given.
    """
    layers = range(config.num_hidden_layers)
    ropes = dict.fromkeys((config.theta(i), config.scaling(i)) for i in layers)
    return tuple(_spectrum(config, *rope, samples) for rope in ropes)


def _spectrum(
    config: ModernBertConfig, theta: float, scaling: RopeScaling | None, samples: int
) -> RopeSpectrum:
    rope = theta, scaling
    every = range(config.num_hidden_layers)
    layers = [i for i in every if (config.theta(i), config.scaling(i)) == rope]
    length = config.max_position_embeddings
    reaches = [config.half_window(i) for i in layers]
    width = max(length - 1 if r is None else min(2 * r, length - 1) for r in reaches)
    frequencies = inverse_frequencies(theta, config.head_dim, scaling)  # (pairs,)
    distances = torch.arange(min(length, KERNEL_LENGTH), dtype=torch.float64)
    kernel = torch.outer(distances, frequencies.double()).cos().mean(dim=1)
    device = torch.device("cpu")
    cos, sin = rope_tables(theta, config.head_dim, width + 1, torch.float32, device, scaling)
    step = max(1, math.ceil((width + 1) / samples))
    return RopeSpectrum(
        theta=theta,
        scaling=scaling,
        kinds=tuple(dict.fromkeys(config.layer_kinds[i] for i in layers)),
        layers=tuple(layers),
        width=width,
        length=length,
        frequencies=frequencies.numpy(),
        wavelengths=wavelengths(theta, config.head_dim, scaling),
        kernel=kernel.numpy(),
        cos=cos[::step].numpy(),
        sin=sin[::step].numpy(),
        positions=np.arange(0, width + 1, step),
    )


def wavelengths(
    theta: float, head_dim: int, scaling: RopeScaling | None = None
) -> npt.NDArray[np.float64]:
    """Wavelength of each rotary pair in tokens, (pairs,), rising."""
    frequencies = inverse_frequencies(theta, head_dim, scaling).double()
    found: npt.NDArray[np.float64] = (2 * math.pi / frequencies).numpy()
    return found


def mean_rotations(
    spectrum: RopeSpectrum, cells: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cosine and sine across the width in at most so many cells, each the mean over its distances.

    Where a pair turns within a cell the mean nears 0; single samples would show slow waves that
    are not there.

    Returns:
        (cells, pairs) each.
    """
    distances = np.arange(spectrum.width + 1)
    parts = np.array_split(distances, min(cells, len(distances)))
    angles = [np.outer(part, spectrum.frequencies) for part in parts]
    cos = np.stack([np.cos(each).mean(axis=0) for each in angles])
    return cos, np.stack([np.sin(each).mean(axis=0) for each in angles])


def pair_norms(recording: Recording, layer: int) -> PairNorms:
    """Mean norms of a layer's rotated queries and keys in each pair.

    Args:
        recording: with "attention" kept.
        layer: from 0.

    Raises:
        RangeError: the layer is outside the model.
    """
    q, k, config = recording.q(layer), recording.k(layer), recording.config
    theta = config.theta(layer)
    return PairNorms(
        layer,
        config.layer_kinds[layer],
        theta,
        wavelengths(theta, config.head_dim, config.scaling(layer)),
        _as_pairs(q).abs().mean(dim=1).float().cpu().numpy(),
        _as_pairs(k).abs().mean(dim=1).float().cpu().numpy(),
    )


def score_contributions(
    recording: Recording, layer: int, head: int, query: int, key: int
) -> ScoreContributions:
    """Takes one score apart into what each pair adds.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: from 0.
        query: position of the query.
        key: position of the key; inside the window of a local layer.

    Raises:
        RangeError: one of them is outside, or the key is outside the query's window.
    """
    config = recording.config
    q_all, k_all = recording.q(layer), recording.k(layer)
    check_index("head", head, config.num_attention_heads)
    check_index("token", query, len(recording))
    check_index("token", key, len(recording))
    check_visible(config, layer, query, key)
    q, k = _as_pairs(q_all[head, query]), _as_pairs(k_all[head, key])  # (pairs,) each
    frequencies = inverse_frequencies(config.theta(layer), config.head_dim, config.scaling(layer))
    turned = (query - key) * frequencies.double()
    phase = torch.angle(torch.polar(torch.ones_like(turned), q.angle() - k.angle() - turned))
    contributions = (q * k.conj()).real * config.head_dim**-0.5
    rows = zip(frequencies.tolist(), q.abs().tolist(), k.abs().tolist(), phase.tolist(),
               contributions.tolist(), strict=True)  # fmt: skip
    weight = float(recording.attention(layer, head, query, key))
    return ScoreContributions(
        layer,
        head,
        query,
        key,
        float(contributions.sum()),
        weight,
        tuple(PairContribution(m, *row) for m, row in enumerate(rows)),
    )


@dataclass(frozen=True, eq=False)
class RopeScore:
    """A score of one head, and the norms of all heads of its layer.

    Attributes:
        tokens: of the text.
        score: by pair.
        norms: of queries and keys in each pair, by head.
        keys: that take the most weight of the query.
    """

    tokens: tuple[str, ...]
    score: ScoreContributions
    norms: PairNorms
    keys: tuple[Link, ...]


def rope_score(
    recording: Recording, layer: int, head: int, query: int, key: int | None, count: int
) -> RopeScore:
    """One score by pair, with the query's other keys and the norms of its layer.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: from 0.
        query: position of the query.
        key: position of the key; None for the one with the most weight.
        count: keys listed.

    Raises:
        RangeError: a layer, head or position is outside.
    """
    keys = links_of_query(recording, layer, query, head, count)
    score = score_contributions(recording, layer, head, query, keys[0].key if key is None else key)
    return RopeScore(recording.encoding.tokens, score, pair_norms(recording, layer), keys)


def check_visible(config: ModernBertConfig, layer: int, query: int, key: int) -> None:
    """Refuses a key that lies outside the window of a query.

    Raises:
        RangeError: it does; the sentence gives the window.
    """
    half_window = config.half_window(layer)
    if half_window is not None and abs(query - key) > half_window:
        raise RangeError(
            f"Token {query} can't see token {key} in layer {layer}, which sees {half_window} "
            "tokens each side; choose a nearer key or a global layer."
        )


def _as_pairs(x: Tensor) -> Tensor:
    """(..., head_dim) to (..., pairs) complex128: a pair is the number it turns as."""
    first, second = to_float64(x).chunk(2, dim=-1)
    return torch.complex(first, second)
