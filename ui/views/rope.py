"""RoPE: how fast the pairs turn, against window and length, and which pairs made a score."""

from __future__ import annotations

import math

import numpy as np

from mbexplore.analysis.links import links_of_query
from mbexplore.analysis.maps import Link
from mbexplore.analysis.rope import (
    RopeSpectrum,
    ScoreContributions,
    pair_norms,
    rope_spectra,
    score_contributions,
)
from mbexplore.network.config import LayerKind
from mbexplore.views.rope import view_rope

from ..parts import cell, heat, line, lines, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import held_or_first, per_cent, signed

STRONGEST = 10
"""Rows of a table of pairs, and of keys."""
SAMPLES = 65
"""The most positions at which the angle tables are drawn."""
POINTS = 300
"""Distances at which a kernel is drawn."""


def show(desk: Desk, layer: int = 0, head: int = 0, token: int = -1, key: int = -1) -> Shown:
    """The spectra of both kinds of layers, and the rotary pairs behind one score.

    Args:
        desk: the text and the model.
        layer: of the head whose score is taken apart.
        head: likewise.
        token: the query; the first mask by default.
        key: what it looks at; its strongest link by default, and where it can't see the key.
    """
    desk.explorer.check_layer_and_head(layer, head)
    query = held_or_first(desk, token)
    links = links_of_query(desk.recording, layer, query, head, STRONGEST)
    looked_at = key if key in _sight(desk, layer, query) else links[0].key
    found = score_contributions(desk.recording, layer, head, query, looked_at)
    config = desk.explorer.model.config
    kind = config.layer_kinds[layer]
    spectra = desk.once("spectra", lambda: rope_spectra(config))
    norms = desk.once(("pair norms", layer), lambda: pair_norms(desk.recording, layer))
    parts = [
        _share_map(found),
        side_by_side(_pair_table(found, kind), _key_table(desk, links, kind)),
        side_by_side(_wavelengths(spectra), _kernels(spectra)),
        *_tables(spectra),
    ]
    view = view_rope(desk.explorer, spectra, norms, found, desk.encoding)
    return Shown(parts, view, _line(desk, found))


def _sight(desk: Desk, layer: int, query: int) -> range:
    """The keys that a query can see in a layer."""
    half_window = desk.explorer.model.config.half_window(layer)
    reach = len(desk.encoding) if half_window is None else half_window
    return range(max(0, query - reach), min(query + reach + 1, len(desk.encoding)))


def _line(desk: Desk, found: ScoreContributions) -> str:
    query, key = (label(desk.encoding.tokens[i]) for i in (found.query, found.key))
    away = abs(found.query - found.key)
    return (
        f"Head {found.layer}.{found.head}: {query} ({found.query}) looks at {key} ({found.key}), "
        f"{away} {'token' if away == 1 else 'tokens'} away, with score {signed(found.score)} and "
        f"weight {per_cent(found.weight)}."
    )


def _share_map(found: ScoreContributions) -> Part:
    """What every pair adds, the fastest at the left."""
    return heat(
        [[one.contribution for one in found.contributions]],
        rows=["adds"],
        columns=[str(one.pair) for one in found.contributions],
        title="What each rotary pair adds to the score, the fastest at the left",
        axis="pair",
        hue="signed",
    )


def _pair_table(found: ScoreContributions, kind: LayerKind) -> Part:
    order = sorted(found.contributions, key=lambda one: -abs(one.contribution))[:STRONGEST]
    most = max(abs(one.contribution) for one in order) or 1.0
    rows: list[list[Part | str]] = [
        [
            str(one.pair),
            f"{2 * math.pi / one.frequency:,.0f}",
            cell(signed(one.contribution), bar=one.contribution / most, hue="signed"),
            f"{one.q_norm:.2f}",
            f"{one.k_norm:.2f}",
            signed(math.degrees(one.phase), 0) + "\N{DEGREE SIGN}",
        ]
        for one in order
    ]
    return table(
        ["pair", "tokens a turn", "adds", "|q|", "|k|", "phase"], rows,
        title=f"The pairs that made it, of {len(found.contributions)} in this {kind} layer",
    )  # fmt: skip


def _key_table(desk: Desk, links: tuple[Link, ...], kind: LayerKind) -> Part:
    """What the query looks at; a click takes that score apart."""
    most = links[0].weight or 1.0
    rows: list[list[Part | str]] = [
        [
            cell(label(desk.encoding.tokens[link.key]), key=link.key),
            str(link.key),
            cell(per_cent(link.weight), bar=link.weight / most, hue=kind),
        ]
        for link in links
    ]
    return table(["key", "place", "weight"], rows, title="What it looks at", left=("key",))


def _wavelengths(spectra: tuple[RopeSpectrum, ...]) -> Part:
    series = [
        line(f"\N{GREEK SMALL LETTER THETA} {each.theta:,.0f}, {' and '.join(each.kinds)}",
             each.wavelengths.tolist(), hue=each.kinds[0], dots=True)
        for each in spectra
    ]  # fmt: skip
    widths = {f"{each.kinds[0]} width {each.width:,}": float(each.width) for each in spectra}
    return lines(
        series, title="Tokens in which each pair turns once", x="pair", y="tokens", log_y=True,
        levels=widths,
    )  # fmt: skip


def _kernels(spectra: tuple[RopeSpectrum, ...]) -> Part:
    """The score of two equal vectors over their distance, as far as the layers look."""
    series = []
    for each in spectra:
        far = min(len(each.kernel) - 1, each.width)
        picked = np.unique(np.geomspace(1, far, POINTS).astype(int))
        series.append(line(f"{' and '.join(each.kinds)} layers", each.kernel[picked].tolist(),
                           picked.tolist(), hue=each.kinds[0]))  # fmt: skip
    return lines(
        series, title="Score of two equal vectors, against that at distance 0", x="distance",
        y="score", log_x=True,
    )  # fmt: skip


def _tables(spectra: tuple[RopeSpectrum, ...]) -> list[Part]:
    """Cosine and sine of every pair across the width."""
    steps = [-(-len(each.positions) // SAMPLES) for each in spectra]
    return [
        side_by_side(
            *(
                heat(
                    values[::step].T,
                    rows=[f"pair {m}" for m in range(values.shape[1])],
                    columns=[f"{position:,}" for position in each.positions[::step].tolist()],
                    title=f"{name}, {' and '.join(each.kinds)} layers",
                    axis="position",
                    hue="signed",
                    low=-1.0,
                    high=1.0,
                )
                for values, name in ((each.cos, "Cosine"), (each.sin, "Sine"))
            )
        )
        for each, step in zip(spectra, steps, strict=True)
    ]


ROPE = PageView(
    name="rope",
    title="RoPE",
    show=show,
    about="How fast the rotary pairs turn, and which of them made a score.",
)
