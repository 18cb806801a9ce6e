"""What the view of attention finds: maps, links, band or arcs of one layer; each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.band import BandMap, band_map
from mbexplore.analysis.links import Arcs, Link, arcs
from mbexplore.analysis.tile import Tile, links_of_row, tile
from mbexplore.analysis.token_spans import find_token_range
from mbexplore.display.blocks import Table
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import offset_name
from mbexplore.errors import OutputError
from mbexplore.network.config import LayerKind
from mbexplore.recorder import of_layers
from mbexplore.recording import DENSE_LIMIT, Recording
from mbexplore.session import check_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.session import Session
    from mbexplore.views.attention import AttentionView
    from mbexplore.views.model_view import ModelMapsView

Made = TypeVar("Made")

PIXELS = 512
"""Most rows and columns of a map that is kept; renderers take as many of them as they draw."""
MOST_ROWS = 2_000_000
"""Most weights in a table."""


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of one layer.

    Attributes:
        recording: of the text, from which more is derived.
        layer: from 0.
        kind: of the layer.
        theta: RoPE base.
        half_window: reach on each side, None for a global layer.
        heads: which heads.
        is_mean: whether their mean is shown.
        token: the query that is followed, None for all.
        tile: the maps, pooled; of a band, its columns are offsets.
        links: the strongest, of the query or of all, falling.
        band: a local layer by offset.
        arcs: the links that carry most of each row.
    """

    recording: Recording
    layer: int
    kind: LayerKind
    theta: float
    half_window: int | None
    heads: tuple[int, ...]
    is_mean: bool
    token: int | None
    tile: Tile
    links: tuple[Link, ...] = ()
    band: BandMap | None = None
    arcs: Arcs | None = None

    @property
    def queries(self) -> Axis:
        """What rows stand for."""
        return self.tile.queries

    @property
    def keys(self) -> Axis:
        """What columns stand for."""
        return self.tile.keys

    @property
    def place(self) -> int | None:
        """The row of the query that is followed."""
        return None if self.token is None else self.queries.index_of(self.token)

    @property
    def marked(self) -> int | None:
        """The row that stands out: of the query that is followed, or else of the first mask."""
        masks = self.recording.encoding.mask_positions
        return self.place if self.place is not None else first_on(self.queries, masks)

    @property
    def is_whole(self) -> bool:
        """Whether these are the weights of every token."""
        is_map = self.band is None and self.arcs is None
        return is_map and self.queries.is_plain and self.keys.is_plain

    @property
    def _head(self) -> int | None:
        """The one head that is shown; None for several."""
        return self.heads[0] if len(self.heads) == 1 else None

    def dense(self) -> NDArray[np.float32]:
        """Every weight shown, (heads or 1, queries, keys).

        Raises:
            OutputError: they would take too much memory.
        """
        if self.tile.pool == (1, 1):
            return self.tile.weights
        most = max(len(self.queries), len(self.keys))
        size = 4 * len(self.tile.weights) * len(self.queries) * len(self.keys)
        if size > DENSE_LIMIT:
            raise OutputError(
                f"{len(self.tile.weights)} maps of {len(self.queries):,} x {len(self.keys):,} "
                f"{self.keys.unit} would take {size / 2**30:.1f} GiB; take one head or a part of "
                "the text, or save a picture, which is pooled."
            )
        return tile(
            self.recording, self.layer, self._head, self.queries, self.keys, most,
            mean=self.is_mean,
        ).weights  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The facts of the layer, the axes, weights (pooled as "pool" says) and links."""
        found = pick(
            self, "recording.encoding.tokens", "layer", "kind", "theta", "half_window", "heads",
            mean="is_mean", token="token",
        )  # fmt: skip
        found["queries"] = _side(self.queries)
        if self.band is not None:
            return found | pick(self.band, "offsets", "profile", "edge", "pool", "weights")
        found["keys"] = _side(self.keys)
        if self.arcs is not None:
            return found | pick(self.arcs, "mass", "total", "links")
        return found | pick(self, "tile.pool", "tile.weights", "links")

    def arrays(self) -> Arrays:
        """Every weight; a whole local layer's as a band, without the zeros outside the window."""
        tokens = {"tokens": np.array(self.recording.encoding.tokens)}
        queries = {"queries": np.array(self.queries.spans)}
        if self.band is not None:
            whole = band_map(
                self.recording, self.layer, self._head, len(self.queries), self.queries,
                mean=self.is_mean,
            )  # fmt: skip
            arrays = pick(whole, "offsets", "profile", "edge", band="weights")
            return {**tokens, **queries, **arrays}
        if self.half_window is not None and self.is_whole:
            band = self.recording.attention_band(self.layer, self._head).float().cpu()
            reach = band.shape[2] // 2
            band = band.mean(0, keepdim=True) if self.is_mean else band
            return {**tokens, "band": band.numpy(), "offsets": np.arange(-reach, reach + 1)}
        axes = {**tokens, **queries, "keys": np.array(self.keys.spans)}
        if self.arcs is not None:
            links = self.arcs.links
            fields = ("head", "query", "key", "weight")
            return axes | {name: np.array([getattr(x, name) for x in links]) for name in fields}
        return axes | {"weights": self.dense()}

    def table(self) -> Table:
        """A row for every weight, each query and key by the position of its first token.

        A mean of heads has no column of heads.

        Raises:
            OutputError: there would be too many rows.
        """
        named = not self.is_mean
        if self.arcs is not None:
            links = ((self.layer, x) for x in self.arcs.links)
            return link_rows(self.queries, self.keys, links, heads=named)
        heads = self.heads if named else (-1,)
        if self.band is not None:
            columns = ("layer", *["head"] * named, "offset", "mean_weight")
            return Table(columns, tuple(
                (self.layer, *[head] * named, int(offset), float(mean))
                for head, profile in zip(heads, self.band.profile, strict=True)
                for offset, mean in zip(self.band.offsets, profile, strict=True)
            ))  # fmt: skip
        window = self.tile.window() if self.tile.pool == (1, 1) else None
        spans = window or [(0, len(self.keys))] * len(self.queries)
        size = len(heads) * sum(stop - start for start, stop in spans)
        if size > MOST_ROWS:
            raise OutputError(
                f"A table of {size:,} weights has more than {MOST_ROWS:,} rows; take one head or a "
                "part of the text, or save them as npz."
            )
        links = (
            (self.layer, Link(head, query, key, weight))
            for head, weights in zip(heads, self.dense(), strict=True)
            for query, (row, (start, stop)) in enumerate(zip(weights, spans, strict=True))
            for key, weight in enumerate(row[start:stop].tolist(), start)
        )
        return link_rows(self.queries, self.keys, links, heads=named)


def first_on(axis: Axis, positions: Sequence[int]) -> int | None:
    """The place of the first of these tokens on an axis; None where it isn't there."""
    place = int(axis.indices_of(np.array(positions[:1]))[0]) if positions else -1
    return place if place >= 0 else None


def link_rows(
    queries: Axis,
    keys: Axis,
    links: Iterable[tuple[int, Link]],
    *,
    heads: bool = True,
) -> Table:
    """A row for each link and its layer, for files; its head too, unless it is of no one head."""
    head = ["head"] * heads
    columns = ("layer", *head, "query", "query_token", "key", "key_token", "weight")
    first, second = queries.starts.tolist(), keys.starts.tolist()
    return Table(columns, tuple(
        (layer, *[one.head] * heads, first[one.query], queries.labels[one.query],
         second[one.key], keys.labels[one.key], one.weight)
        for layer, one in links
    ))  # fmt: skip


def _side(axis: Axis) -> dict[str, Any]:
    return {"unit": axis.unit, "tokens": axis.labels, "spans": axis.spans}


def find_attention(view: AttentionView, session: Session) -> Attention:
    """What a view shows of a session's text; what it shows for any token is computed once.

    Raises:
        RangeError: the layer, head, token or part is outside, or a band is of a global layer.
    """
    explorer, encoding = session.explorer, session.encoding
    config, layer = explorer.model.config, check_layer(explorer, view.layer)
    explorer.check_layer_and_head(layer, view.head)
    token = session.token(view.token)
    queries, keys = (
        axis_of(view, encoding, bounds or view.tokens) for bounds in (view.queries, view.keys)
    )
    place = None if token is None else queries.index_of(token)
    recording = session.recording(*of_layers("attention", layer))
    heads = tuple(range(config.num_attention_heads)) if view.head is None else (view.head,)
    source, count = (recording, layer, view.head), max(1, view.top)
    chosen: dict[str, Any] = {"mean": view.mean, "progress": session.progress}

    def once(make: Callable[[], Made]) -> Made:
        key = (view.picture, layer, view.head, view.mean, view.top, view.mass)
        return session.once(("attention", *key, queries, keys), make)

    band = found = None
    if view.picture == "band":
        band = once(lambda: band_map(*source, PIXELS, queries, **chosen))
        shown, links = tile_of_band(band), tuple[Link, ...]()
    elif view.picture == "arcs":
        found = once(lambda: arcs(*source, queries, mass=view.mass, **chosen))
        links = tuple(one for one in found.links if place is None or one.query == place)
        empty = np.zeros((1, 1, 1), dtype=np.float32)
        facts = (layer, found.kind, found.half_window, heads, view.mean)
        shown = Tile(*facts, queries, keys, (1, 1), empty)
    else:
        shown = once(lambda: tile(*source, queries, keys, PIXELS, links=count, **chosen))
        links = shown.links
        if place is not None:
            listed = shown.links_of(place, count)
            links = listed if listed is not None else links_of_row(
                *source, queries, keys, place, count, mean=view.mean
            )  # fmt: skip
    return Attention(
        recording, layer, config.layer_kinds[layer], config.theta(layer),
        config.half_window(layer), heads, view.mean, token, shown, links, band, found,
    )  # fmt: skip


def axis_of(view: AttentionView | ModelMapsView, encoding: Encoding, bounds: str | None) -> Axis:
    """What a view's rows or columns are.

    Raises:
        RangeError: the part, "A:B", is outside the text or has nothing to show.
    """
    chosen = find_token_range(encoding, bounds) if bounds else None
    return build_axis(encoding, chosen, words=view.words, hide_special=not view.special)


def tile_of_band(band: BandMap) -> Tile:
    """A band as a map whose columns are offsets."""
    offsets = band.offsets.tolist()
    keys = Axis(band.axis.seq, tuple((x, x + 1) for x in offsets), tuple(map(offset_name, offsets)))
    return Tile(
        band.layer, band.kind, None, band.heads, band.is_mean, band.axis, keys, (band.pool, 1),
        band.weights,
    )  # fmt: skip
