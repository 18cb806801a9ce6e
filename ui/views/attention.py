"""Attention: the held head as a map, a band or arcs; the page draws every head beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from mbexplore.analysis import context_mixing as mix
from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.links import arcs
from mbexplore.analysis.maps import Link, nearest_other_kind
from mbexplore.analysis.tile import Tile, tile, tile_links
from mbexplore.analysis.token_spans import find_token_range
from mbexplore.views.attention import view_map
from mbexplore.views.attention_arcs import view_arcs
from mbexplore.views.attention_band import view_band
from mbexplore.views.attention_part import view_part
from mbexplore.views.mix import MixView
from mbexplore.views.old import View

from ..parts import cell, note, shades, side_by_side, stacked, table
from ..protocol import PageView, Part, Shown
from ..registered import session_of
from ..sessions import Desk
from ..text import label
from .common import per_cent, whole_number

PIXELS = 384
"""The most rows and columns of a map that the browser gets."""
EXACT = 128
"""A map of at most so many rows and columns is sent as numbers, a larger one as shades."""
MOST_ARC_PLACES = 240
"""Tokens in a column of arcs; of a longer text, those around the held one."""
LINKS = 12

Picture = Literal["map", "band", "arcs"]
Way = Literal["weights", "norm-based", "rollout"]
MIXED: dict[Way, mix.Method] = {"norm-based": "norms", "rollout": "rollout"}
ABOUT = {
    "weights": "how much each token looks at each other",
    "norm-based": "length of what each token adds to the attention output, all heads together",
    "rollout": "attention rolled out through all layers up to this one",
}


def show(
    desk: Desk,
    layer: int = 0,
    head: int = 0,
    token: int = -1,
    way: Way = "weights",
    picture: Picture = "map",
    words: bool = False,
    special: bool = True,
    mean: bool = False,
    beside: bool = False,
    mass: int = 70,
    rows: str = "",
    columns: str = "",
) -> Shown:
    """The held head of the held layer.

    Args:
        desk: the text and the model.
        layer: from 0.
        head: from 0.
        token: whose links are told; -1 for the strongest of all.
        way: the weights themselves, or what they mix.
        picture: what is drawn: the map, the straightened band of a local layer, or arcs.
        words: whether the pieces of a word are one.
        special: whether [CLS] and [SEP] are shown.
        mean: the mean of all heads in place of the held one.
        beside: the nearest layer of the other kind beside it.
        mass: per cent of each row that its arcs carry.
        rows: tokens "A:B" that the map is cut to, as queries.
        columns: likewise, as keys.
    """
    desk.explorer.check_layer_and_head(layer, head)
    looked = Look(desk, None if mean else head, token, way, words, special, mass, rows, columns)
    layers = [layer]
    other = nearest_other_kind(desk.recording.config, layer)
    if beside and other is not None:
        layers.append(other)
    panes = [stacked(*looked.pane(each, picture)) for each in layers]
    wishes = {"words": words, "special": special, "mean": mean}
    explore: Part = {"kind": "explore", "wishes": wishes, "panes": [side_by_side(*panes)]}
    return Shown([explore], None if looked.is_too_long else looked.view(layer, picture))


class Look:
    """What was asked of every layer that is shown."""

    def __init__(
        self,
        desk: Desk,
        head: int | None,
        token: int,
        way: Way,
        words: bool,
        special: bool,
        mass: int,
        rows: str,
        columns: str,
    ) -> None:
        self.desk, self.head, self.token, self.way, self.mass = desk, head, token, way, mass
        self.zoomed = bool(rows or columns)
        self.words, self.special = words, special
        self.queries, self.keys = self._axis(rows), self._axis(columns)

    def _axis(self, bounds: str) -> Axis:
        encoding = self.desk.encoding
        chosen = find_token_range(encoding, bounds) if bounds else None
        return build_axis(encoding, chosen, words=self.words, hide_special=not self.special)

    @property
    def is_square(self) -> bool:
        """Whether queries and keys are the same tokens."""
        return self.queries.spans == self.keys.spans

    @property
    def is_too_long(self) -> bool:
        """Whether what is asked for is made of shorter texts alone."""
        return self.way != "weights" and len(self.desk.encoding) > mix.MOST_TOKENS

    @property
    def hull(self) -> Axis:
        """What both sides of the part shown lie in."""
        if self.is_square:
            return self.queries
        start = min(self.queries.starts[0], self.keys.starts[0])
        stop = max(self.queries.stops[-1], self.keys.stops[-1])
        return self._axis(f"{start}:{stop}")

    def view(self, layer: int, picture: Picture) -> View:
        """What is saved."""
        explorer, recording = self.desk.explorer, self.desk.recording
        if self.way != "weights":
            return MixView(layer=layer).of(session_of(self.desk))  # type: ignore[return-value]
        mean = self.head is None
        local = recording.config.half_window(layer) is not None
        if picture == "band" and local and not self.words:
            return view_band(explorer, recording, layer, self.head, axis=self.hull, mean=mean)
        query = self.token if self._has(self.hull, self.token) else None
        if picture == "arcs":
            return view_arcs(
                explorer, recording, layer, self.head, query=query, axis=self._near(), mean=mean,
                mass=self.mass / 100, progress=self.desk.progress.move,
            )  # fmt: skip
        if self.is_square:
            return view_map(
                explorer, recording, layer, self.head, query=query, axis=self.hull, mean=mean,
                progress=self.desk.progress.move,
            )  # fmt: skip
        return view_part(
            explorer, recording, layer, self.head, queries=self.queries, keys=self.keys, mean=mean,
            query=self.token if self._has(self.queries, self.token) else None,
        )  # fmt: skip

    def pane(self, layer: int, picture: Picture) -> list[Part]:
        """The picture of one layer, and its strongest links."""
        if self.is_too_long:
            return [note(
                f"{self.way.capitalize()} values are worked out for all pairs of tokens at once, "
                f"in texts of up to {mix.MOST_TOKENS} tokens, and this one has "
                f"{len(self.desk.encoding):,}; weights are drawn at any length."
            )]  # fmt: skip
        if self.way != "weights":
            whole = self._mixed(layer)
            held = self._row_of_held(whole.queries, 1)
            return [self._map(layer, whole), self._table(layer, _strongest(whole, held))]
        if picture == "arcs":
            return [self._arcs(layer), self._table(layer, self._links(layer))]
        if picture == "map":
            links = self._links(layer, self.queries, self.keys)
            return [self._map(layer, self._tile(layer)), self._table(layer, links)]
        if self.desk.recording.config.half_window(layer) is None:
            return [note(f"Layer {layer} is global: it sees every token and has no band.")]
        if self.words:
            return [note("A band counts in tokens; switch words off to see it.")]
        return [self._band(layer), self._table(layer, self._links(layer))]

    def _tile(self, layer: int) -> Tile:
        return tile(self.desk.recording, layer, self.head, self.queries, self.keys, PIXELS)

    def _mixed(self, layer: int) -> Tile:
        """The way asked for on the axes shown."""
        explorer, recording, way = self.desk.explorer, self.desk.recording, MIXED[self.way]
        whole = self.desk.once(
            ("mixed", layer, way), lambda: mix.mixing_matrix(explorer, recording, layer, way)
        )
        matrix = torch.from_numpy(whole)[None]
        queries, keys = self.queries, self.keys
        merged = keys.sum_spans(matrix, 2, 0, 0, len(keys))
        shown = queries.sum_spans(merged, 1, 0, 0, len(queries))[0].numpy()
        sizes = (queries.stops - queries.starts)[:, None]
        reach = self.desk.recording.config.half_window(layer) if self.way != "rollout" else None
        return Tile(queries, keys, (1, 1), (shown / sizes).astype(np.float32), reach)

    def _title(self, layer: int) -> str:
        if self.way != "weights":
            return f"Layer {layer} \N{MIDDLE DOT} {self.way}: {ABOUT[self.way]}"
        who = "mean of the heads" if self.head is None else f"head {self.head}"
        window = self.desk.recording.config.half_window(layer)
        reach = "sees every token" if window is None else f"sees {window} tokens each side"
        return f"Layer {layer} {who} \N{MIDDLE DOT} {reach}"

    def _map(self, layer: int, found: Tile) -> Part:
        height, width = found.pool
        closer = ""
        if (height, width) != (1, 1):
            closer = (
                f"A pixel is the largest of {height} \N{MULTIPLICATION SIGN} {width}; drag over a "
                "part to see it closer."
            )
        elif max(found.weights.shape) > EXACT:
            closer = f"Drag over a part of at most {EXACT} tokens for the exact numbers."
        return {
            "kind": "map",
            "title": self._title(layer),
            "hue": self.desk.recording.config.layer_kinds[layer],
            **_numbers(found.weights),
            "rowPlaces": _places(found.queries, height),
            "columnPlaces": _places(found.keys, width),
            "pool": [height, width],
            "window": found.window(),
            "zoom": True,
            "zoomed": self.zoomed,
            "held": self._row_of_held(found.queries, height),
            "note": closer,
        }

    def _band(self, layer: int) -> Part:
        mean = self.head is None
        found = band_map(self.desk.recording, layer, self.head, PIXELS, self.queries, mean=mean)
        [edge] = found.edge.tolist()
        ends = f"{per_cent(edge)} of the weight lies at the window's two ends"
        if len(self.desk.encoding) <= found.half_window:
            ends = f"no two are {found.half_window} apart, as the window's ends are"
        return {
            "kind": "map",
            "title": f"{self._title(layer)} \N{MIDDLE DOT} straightened",
            "hue": "local",
            **_numbers(found.weights[0]),
            "rowPlaces": _places(found.axis, found.pool),
            "columnPlaces": [[whole_number(o), o] for o in found.offsets.tolist()],
            "pool": [found.pool, 1],
            "window": None,
            "zoom": False,
            "zoomed": self.zoomed,
            "held": self._row_of_held(found.axis, found.pool),
            "note": f"Columns are how far the key stands from the query; {ends}.",
        }  # fmt: skip

    def _near(self) -> Axis:
        """The axis of arcs: a part of a long text, around the held token."""
        axis = self.hull
        if len(axis) <= MOST_ARC_PLACES:
            return axis
        middle = axis.index_of(self.token) if self._has(axis, self.token) else 0
        first = max(0, min(middle - MOST_ARC_PLACES // 2, len(axis) - MOST_ARC_PLACES))
        last = first + MOST_ARC_PLACES - 1
        return self._axis(f"{axis.starts[first]}:{axis.stops[last]}")

    def _arcs(self, layer: int) -> Part:
        axis = self._near()
        found = arcs(
            self.desk.recording, layer, self.head, None, axis, mean=self.head is None,
            mass=self.mass / 100, progress=self.desk.progress.move,
        )  # fmt: skip
        shown = len(found.links)
        some = "" if shown == found.total else f", the strongest {shown:,} of {found.total:,}"
        part = "" if len(axis) == len(self.hull) else (
            f" Of this long text it is the part from token {axis.starts[0]:,} to "
            f"{axis.stops[-1] - 1:,}; hold another token to see what is around it."
        )  # fmt: skip
        return {
            "kind": "arcs",
            "title": self._title(layer),
            "hue": found.kind,
            "places": _places(axis, 1),
            "links": [[link.query, link.key, round(link.weight, 4)] for link in found.links],
            "held": axis.index_of(self.token) if self._has(axis, self.token) else None,
            "note": f"Links that carry {self.mass}% of every row{some}; from the left column "
            f"(who looks) to the right (at whom).{part}",
        }  # fmt: skip

    def _links(self, layer: int, *sides: Axis) -> Sequence[tuple[str, int, str, int, float]]:
        """The strongest links between the sides, or of the held token alone if it is a query."""
        queries, keys = sides or (self.hull, self.hull)
        place = queries.index_of(self.token) if self._has(queries, self.token) else None
        found = tile_links(self.desk.recording, layer, self.head, queries, keys, LINKS, place)
        return [_told(queries, keys, link) for link in found]

    def _table(self, layer: int, links: Sequence[tuple[str, int, str, int, float]]) -> Part:
        kind = self.desk.recording.config.layer_kinds[layer]
        rows = [
            [
                cell(f"{query} {i}", token=i),
                cell(f"{key} {j}"),
                cell(f"{weight:.4f}", bar=min(weight, 1.0), hue=kind),
            ]
            for query, i, key, j, weight in links
        ]
        return table(["who looks", "at whom", "weight"], rows, title="Strongest links",
                     left=("who looks", "at whom"))  # fmt: skip

    def _row_of_held(self, axis: Axis, pool: int) -> int | None:
        return axis.index_of(self.token) // pool if self._has(axis, self.token) else None

    @staticmethod
    def _has(axis: Axis, token: int) -> bool:
        return 0 <= token < axis.seq and int(axis.indices_of(np.array([token]))[0]) >= 0


def _told(queries: Axis, keys: Axis, link: Link) -> tuple[str, int, str, int, float]:
    query, key = link.query, link.key
    names = label(queries.labels[query]), label(keys.labels[key])
    return names[0], queries.spans[query][0], names[1], keys.spans[key][0], link.weight


def _strongest(found: Tile, held: int | None) -> list[tuple[str, int, str, int, float]]:
    """The largest of a whole map, or of its held row alone."""
    first = 0 if held is None else held
    rows = found.weights if held is None else found.weights[held : held + 1]
    order = np.argsort(-rows, axis=None, kind="stable")[:LINKS]
    wide = rows.shape[1]
    places = [(first + int(place) // wide, int(place) % wide) for place in order]
    return [
        (
            label(found.queries.labels[i]), found.queries.spans[i][0],
            label(found.keys.labels[j]), found.keys.spans[j][0], float(found.weights[i, j]),
        )
        for i, j in places
    ]  # fmt: skip


def _places(axis: Axis, pool: int) -> list[list[Any]]:
    """The first place of each pixel: its label, and its token."""
    return [[label(axis.labels[i]), int(axis.spans[i][0])] for i in range(0, len(axis), pool)]


def _numbers(weights: npt.NDArray[np.float32]) -> dict[str, Any]:
    """A map for the browser: exact where it is small, otherwise in 256 shades of its root."""
    rows, columns = weights.shape
    scale = max(float(weights.max()), 1e-9)
    exact = max(rows, columns) <= EXACT
    data = b64encode(weights.astype("<f4").tobytes()).decode() if exact else shades(weights, scale)
    return {"shape": [rows, columns], "scale": scale, "exact": exact, "data": data}


ATTENTION = PageView(
    name="attention",
    title="Attention",
    show=show,
    about="Who looks at whom: every head at a glance, and the held one closely.",
    labels={
        "way": "values",
        "picture": "draw",
        "words": "words",
        "special": "special tokens",
        "mean": "mean of heads",
        "beside": "local beside global",
        "mass": "arcs carry, %",
    },
    only={
        "head": {"way": ("weights",), "mean": (False,)},
        "picture": {"way": ("weights",)},
        "mass": {"way": ("weights",), "picture": ("arcs",)},
    },
    none="all",
)
