"""What the view of attention finds: maps, links, band or arcs of one layer; each computed once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.band import BandMap, band_map
from mbexplore.analysis.links import Arcs, Link, arcs
from mbexplore.analysis.tile import Tile, links_of_row, tile, tile_of_matrix
from mbexplore.analysis.token_spans import find_token_range
from mbexplore.display.blocks import Table
from mbexplore.display.numbers import offset_name
from mbexplore.errors import OutputError
from mbexplore.network.config import LayerKind
from mbexplore.recorder import of_layers
from mbexplore.recording import DENSE_LIMIT, Recording
from mbexplore.session import check_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.session import Session
    from mbexplore.views.attention import AttentionView

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
    def is_whole(self) -> bool:
        """Whether these are the weights of every token."""
        is_map = self.band is None and self.arcs is None and self.tile.heads[0] >= 0
        return is_map and self.queries.is_plain and self.keys.is_plain

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
        head = self.heads[0] if len(self.heads) == 1 else None
        return tile(
            self.recording, self.layer, head, self.queries, self.keys, most, mean=self.is_mean
        ).weights

    def to_json(self) -> dict[str, Any]:
        """The facts of the layer, the axes, weights (pooled as "pool" says) and links."""
        found: dict[str, Any] = {
            "tokens": self.recording.encoding.tokens,
            "layer": self.layer,
            "kind": self.kind,
            "theta": self.theta,
            "half_window": self.half_window,
            "heads": self.heads,
            "mean": self.is_mean,
            "token": self.token,
            "queries": _side(self.queries),
        }
        if self.band is not None:
            names = ("offsets", "profile", "edge", "pool", "weights")
            return found | {name: getattr(self.band, name) for name in names}
        found["keys"] = _side(self.keys)
        if self.arcs is not None:
            return found | {
                "mass": self.arcs.mass,
                "total": self.arcs.total,
                "links": _links(self.arcs.links),
            }
        tile = self.tile
        return found | {"pool": tile.pool, "weights": tile.weights, "links": _links(self.links)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every weight; a whole local layer's as a band, without the zeros outside the window."""
        tokens = {"tokens": np.array(self.recording.encoding.tokens)}
        queries = {"queries": np.array(self.queries.spans)}
        if self.band is not None:
            names = ("offsets", "profile", "edge")
            whole = band_map(
                self.recording, self.layer, self.heads[0] if len(self.heads) == 1 else None,
                len(self.queries), self.queries, mean=self.is_mean,
            )  # fmt: skip
            arrays = {name: getattr(whole, name) for name in names}
            return {**tokens, **queries, **arrays, "band": whole.weights}
        if self.half_window is not None and self.is_whole:
            head = self.heads[0] if len(self.heads) == 1 else None
            band = self.recording.attention_band(self.layer, head).float().cpu()
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

        Raises:
            OutputError: there would be too many rows.
        """
        if self.arcs is not None:
            return self._table((x.head, x.query, x.key, x.weight) for x in self.arcs.links)
        heads = (-1,) if self.tile.is_mean else self.heads
        if self.band is not None:
            columns = ("layer", "head", "offset", "mean_weight")
            return Table(columns, tuple(
                (self.layer, head, int(offset), float(mean))
                for head, profile in zip(heads, self.band.profile, strict=True)
                for offset, mean in zip(self.band.offsets, profile, strict=True)
            ))  # fmt: skip
        window = self.tile.window() if self.tile.pool == (1, 1) else None
        size = len(heads) * (
            len(self.queries) * len(self.keys)
            if window is None
            else sum(stop - start for start, stop in window)
        )
        if size > MOST_ROWS:
            raise OutputError(
                f"A table of {size:,} weights has more than {MOST_ROWS:,} rows; take one head or a "
                "part of the text, or save them as npz."
            )
        spans = window or [(0, len(self.keys))] * len(self.queries)
        return self._table(
            (head, query, key, weight)
            for head, weights in zip(heads, self.dense(), strict=True)
            for query, (row, (start, stop)) in enumerate(zip(weights, spans, strict=True))
            for key, weight in enumerate(row[start:stop].tolist(), start)
        )

    def _table(self, cells: Any) -> Table:
        columns = ("layer", "head", "query", "query_token", "key", "key_token", "weight")
        queries, keys = self.queries, self.keys
        first, second = queries.starts.tolist(), keys.starts.tolist()
        return Table(columns, tuple(
            (self.layer, head, first[q], queries.labels[q], second[k], keys.labels[k], weight)
            for head, q, k, weight in cells
        ))  # fmt: skip


def _side(axis: Axis) -> dict[str, Any]:
    return {"unit": axis.unit, "tokens": axis.labels, "spans": axis.spans}


def _links(links: tuple[Link, ...]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(link) for link in links]


def find_attention(view: AttentionView, session: Session) -> Attention:
    """What a view shows of a session's text.

    Raises:
        RangeError: the layer, head, token or part is outside, or a band is of a global layer.
    """
    layer = check_layer(session.explorer, view.layer)
    session.explorer.check_layer_and_head(layer, view.head)
    token = session.token(view.token)
    queries, keys = (
        _axis(view, session, bounds or view.tokens) for bounds in (view.queries, view.keys)
    )
    if token is not None:
        queries.index_of(token)
    maps = _Maps(view, session, layer, queries, keys)
    tile, rest = maps.find(token)
    config = session.explorer.model.config
    return Attention(
        maps.recording, layer, config.layer_kinds[layer], config.theta(layer),
        config.half_window(layer), maps.heads, view.mean, token, tile, **rest,
    )  # fmt: skip


def _axis(view: AttentionView, session: Session, bounds: str | None) -> Axis:
    encoding = session.encoding
    chosen = find_token_range(encoding, bounds) if bounds else None
    return build_axis(encoding, chosen, words=view.words, hide_special=not view.special)


class _Maps:
    """The maps that a view asks for; those of one part are computed once, whatever is followed."""

    def __init__(
        self, view: AttentionView, session: Session, layer: int, queries: Axis, keys: Axis
    ) -> None:
        self.view, self.session, self.layer = view, session, layer
        self.queries, self.keys = queries, keys
        every = range(session.explorer.model.config.num_attention_heads)
        self.heads = tuple(every) if view.head is None else (view.head,)
        if view.measure == "weights":
            self.recording = session.recording(*of_layers("attention", layer))
        else:
            from mbexplore.analysis.context_mixing import KEEP

            self.recording = session.recording(*KEEP)

    def find(self, token: int | None) -> tuple[Tile, dict[str, Any]]:
        """A tile, and what else belongs to the picture."""
        view = self.view
        if view.measure != "weights":
            tile = self._once("mixed", self._mixed)
        elif view.picture == "band":
            band = self._once("band", self._band)
            return tile_of_band(band), {"band": band}
        elif view.picture == "arcs":
            return self._arcs(token)
        else:
            tile = self._once("tile", self._tile)
        return tile, {"links": self._links(tile, token)}

    def _once(self, name: str, make: Any) -> Any:
        view = self.view
        key = (name, self.layer, view.head, view.mean, view.measure, self.queries, self.keys)
        return self.session.once((*key, view.top, view.mass), make)

    def _tile(self) -> Tile:
        return tile(
            self.recording, self.layer, self.view.head, self.queries, self.keys, PIXELS,
            mean=self.view.mean, links=max(1, self.view.top), progress=self.session.progress,
        )  # fmt: skip

    def _links(self, tile: Tile, token: int | None) -> tuple[Link, ...]:
        if token is None:
            return tile.links
        place, count = self.queries.index_of(token), max(1, self.view.top)
        found = tile.links_of(place, count)
        if found is not None:
            return found
        return links_of_row(
            self.recording, self.layer, self.view.head, self.queries, self.keys, place, count,
            mean=self.view.mean,
        )  # fmt: skip

    def _mixed(self) -> Tile:
        from mbexplore.analysis.context_mixing import mixing_matrix

        measure, config = self.view.measure, self.recording.config
        matrix = mixing_matrix(self.session.explorer, self.recording, self.layer, measure)  # type: ignore[arg-type]
        window = None if measure == "rollout" else config.half_window(self.layer)
        kind = config.layer_kinds[self.layer]
        count = max(1, self.view.top)
        return tile_of_matrix(matrix, self.layer, kind, window, self.queries, self.keys, count)

    def _band(self) -> BandMap:
        return band_map(
            self.recording, self.layer, self.view.head, PIXELS, self.queries, mean=self.view.mean,
            progress=self.session.progress,
        )  # fmt: skip

    def _arcs(self, token: int | None) -> tuple[Tile, dict[str, Any]]:
        def make() -> Arcs:
            return arcs(
                self.recording, self.layer, self.view.head, None, self.queries,
                mean=self.view.mean, mass=self.view.mass, progress=self.session.progress,
            )  # fmt: skip

        found = self._once("arcs", make)
        place = None if token is None else self.queries.index_of(token)
        links = found.links
        if place is not None:
            links = tuple(link for link in links if link.query == place)
        empty = np.zeros((1, 1, 1), dtype=np.float32)
        tile = Tile(
            self.layer, found.kind, found.half_window, self.heads, self.view.mean, self.queries,
            self.keys, (1, 1), empty,
        )  # fmt: skip
        return tile, {"arcs": found, "links": links}


def tile_of_band(band: BandMap) -> Tile:
    """A band as a map whose columns are offsets."""
    offsets = band.offsets.tolist()
    labels = tuple(map(offset_name, offsets))
    spans = tuple((x, x + 1) for x in offsets)
    keys = Axis(band.axis.seq, spans, labels)
    return Tile(
        band.layer, band.kind, None, band.heads, band.is_mean, band.axis, keys, (band.pool, 1),
        band.weights,
    )  # fmt: skip
