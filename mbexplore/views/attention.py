"""Attention in every form: the maps of a layer or of all, a layer's band, and its arcs.

Each view reads a recording that kept "attention"; a form is computed when it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.analysis import links as analysis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.links import MASS, Arcs, links_of_query, strongest_links
from mbexplore.analysis.maps import PIXELS, LayerMap, Link, layer_map, nearest_other_kind
from mbexplore.analysis.words import Axis, build_axis
from mbexplore.config import ModernBertConfig
from mbexplore.errors import OutputError
from mbexplore.explorer import Explorer
from mbexplore.recording import DENSE_LIMIT, Progress, Recording, check_local, of_layers
from mbexplore.views.attention_page import arcs_page, attention_page
from mbexplore.views.names import attention_name
from mbexplore.views.view import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LINK = ("layer", "head", "query", "query_token", "key", "key_token", "weight")


def view_map(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    axis: Axis | None = None,
    mean: bool = False,
    links: int = 20,
    query: int | None = None,
    progress: Progress | None = None,
) -> View:
    """The maps of one layer, and its strongest links.

    Args:
        explorer: that made the recording.
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        axis: tokens or words, all or a part; None for all tokens.
        mean: whether to average over the heads.
        links: how many of the strongest.
        query: a token, whose links alone are told.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    explorer.check_layer_and_head(layer, head)
    config, axis = recording.config, axis or build_axis(recording.encoding)
    if query is None:
        found = strongest_links(recording, layer, head, links, axis, mean=mean, progress=progress)
    else:
        place = axis.place_of(query)
        found = links_of_query(recording, layer, place, head, links, axis, mean=mean)

    def maps(pixels: int) -> list[LayerMap]:
        """Of the layer, and for contrast of the nearest one of the other kind."""
        other = nearest_other_kind(config, layer)
        layers = [layer] if other is None else [layer, other]
        return [layer_map(recording, each, head, pixels, axis, mean=mean) for each in layers]

    def draw() -> Figure:
        from mbexplore.plots.attention import picture_pixels, plot_layer_maps

        count = 1 if mean or head is not None else config.num_attention_heads
        return plot_layer_maps(maps(picture_pixels(count)), explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **_about(explorer, axis, head, mean, "map"),
            **_layer(config, layer),
            "links": [dataclasses.asdict(link) for link in found],
        }

    command = _command(
        explorer, recording, axis, layer=layer, head=head, mean=mean, query=query, top=links
    )
    return View(
        attention_name("map", layer, head),
        command,
        payload,
        draw,
        lambda: _dense(recording, layer, head, axis, mean),
        lambda: [_LINK, *_link_rows(layer, axis, found)],
        lambda: attention_page(maps(PIXELS), explorer.info.name, command),
    )


def view_model(explorer: Explorer, recording: Recording, maps: Sequence[LayerMap]) -> View:
    """The maps of every layer, as `model_maps` makes them: the model view."""
    first = maps[0]
    axis, mean = first.axis, first.is_mean
    head = first.heads[0] if len(first.heads) == 1 else None

    def draw() -> Figure:
        from mbexplore.plots.model_view import plot_model_view

        return plot_model_view(maps, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **_about(explorer, axis, head, mean, "map"),
            "layers": [
                {
                    **_layer(recording.config, each.layer),
                    "strongest": [dataclasses.asdict(link) for link in each.strongest],
                }
                for each in maps
            ],
        }

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        return {
            "tokens": np.array(axis.labels),
            "spans": np.array(axis.spans),
            "pool": np.array(first.pool),
            "kinds": np.array([each.kind for each in maps]),
            "weights": np.stack([each.weights for each in maps]),
        }

    def rows() -> Iterator[Sequence[object]]:
        yield _LINK
        for each in maps:
            yield from _link_rows(each.layer, axis, each.strongest)

    command = _command(explorer, recording, axis, layer="all", head=head, mean=mean)
    return View(
        attention_name("map", None, head),
        command,
        payload,
        draw,
        arrays,
        rows,
        lambda: attention_page(maps, explorer.info.name, command),
    )


def view_band(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    axis: Axis | None = None,
    mean: bool = False,
) -> View:
    """A local layer straightened into query by offset; see `view_map`.

    Raises:
        RangeError: the layer is global, something is outside, or the axis counts in words.
    """
    explorer.check_layer_and_head(layer, head)
    axis = axis or build_axis(recording.encoding)
    found = band_map(recording, layer, head, axis=axis, mean=mean)

    def draw() -> Figure:
        from mbexplore.plots.band import plot_band

        return plot_band(found, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **_about(explorer, axis, head, mean, "band"),
            **_layer(recording.config, layer),
            "offsets": found.offsets.tolist(),
            "profile": found.profile.tolist(),
            "edge": found.edge.tolist(),
        }

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        whole = band_map(recording, layer, head, len(axis), axis, mean=mean)
        return {
            "tokens": np.array(axis.labels),
            "queries": axis.starts,
            "offsets": found.offsets,
            "band": whole.weights,
            "profile": found.profile,
            "edge": found.edge,
        }

    def rows() -> Iterator[list[object]]:
        yield ["layer", "head", "offset", "mean_weight"]
        heads = [-1] if mean else found.heads
        for each, profile in zip(heads, found.profile.tolist(), strict=True):
            for offset, weight in zip(found.offsets.tolist(), profile, strict=True):
                yield [layer, each, offset, weight]

    command = _command(explorer, recording, axis, layer=layer, head=head, mean=mean, view="band")
    return View(
        attention_name("band", layer, head),
        command,
        payload,
        draw,
        arrays,
        rows,
        lambda: attention_page([found], explorer.info.name, command),
    )


def view_arcs(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    query: int | None = None,
    axis: Axis | None = None,
    mean: bool = False,
    mass: float = MASS,
    progress: Progress | None = None,
) -> View:
    """The links that carry most of the weight of every row, or of one token's; see `view_map`.

    Args:
        explorer: that made the recording.
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        query: the token that looks, or None for all.
        axis: tokens or words, all or a part; None for all tokens.
        mean: whether to average over the heads.
        mass: the share of each row that its links reach together.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer, head or query is outside, or `mass` is no share.
    """
    explorer.check_layer_and_head(layer, head)
    axis = axis or build_axis(recording.encoding)
    place = None if query is None else axis.place_of(query)
    found = analysis.arcs(
        recording, layer, head, place, axis, mean=mean, mass=mass, progress=progress
    )

    def draw() -> Figure:
        from mbexplore.plots.arcs import plot_arcs

        return plot_arcs(found, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **_about(explorer, axis, head, mean, "arcs"),
            **_layer(recording.config, layer),
            "query": place,
            "mass": mass,
            "total": found.total,
            "links": [dataclasses.asdict(link) for link in found.links],
        }

    command = _command(
        explorer, recording, axis, layer=layer, head=head, mean=mean, query=query, view="arcs",
        mass=None if mass == MASS else mass,
    )  # fmt: skip
    return View(
        attention_name("arcs", layer, head),
        command,
        payload,
        draw,
        lambda: _arc_arrays(found),
        lambda: [_LINK, *_link_rows(layer, axis, found.links)],
        lambda: arcs_page(found, explorer.info.name, command),
    )


def _about(
    explorer: Explorer, axis: Axis, head: int | None, mean: bool, view: str
) -> dict[str, Any]:
    """What the payload of every view says first."""
    heads = explorer.model.config.num_attention_heads
    return {
        "model": dataclasses.asdict(explorer.info),
        "view": view,
        "unit": axis.unit,
        "tokens": list(axis.labels),
        "spans": [list(span) for span in axis.spans],
        "heads": list(range(heads)) if head is None else [head],
        "mean": mean,
    }


def _layer(config: ModernBertConfig, layer: int) -> dict[str, Any]:
    return {
        "layer": layer,
        "kind": config.layer_kinds[layer],
        "theta": config.theta(layer),
        "half_window": config.half_window(layer),
    }


def _command(explorer: Explorer, recording: Recording, axis: Axis, **wishes: object) -> list[str]:
    encoding = recording.encoding
    zoom = None if axis.bounds is None else f"{axis.bounds[0]}:{axis.bounds[1]}"
    return build_command(
        "attention", explorer.info, [encoding.text], **wishes, tokens=zoom, words=axis.words,
        hide_special=axis.hide_special, truncate=encoding.is_cut,
    )  # fmt: skip


def _link_rows(layer: int, axis: Axis, found: tuple[Link, ...]) -> Iterator[tuple[object, ...]]:
    for link in found:
        (query, _), (key, _) = axis.spans[link.query], axis.spans[link.key]
        names = axis.labels[link.query], axis.labels[link.key]
        yield layer, link.head, query, names[0], key, names[1], link.weight


def taps(config: ModernBertConfig, form: str, layer: int | None) -> tuple[str, ...]:
    """What a recording must keep for a view: no more layers than are looked at.

    Args:
        config: of the model.
        form: "map", "part", "band" or "arcs".
        layer: from 0, None for all.
    """
    if layer is None:
        return ("attention",)
    other = nearest_other_kind(config, layer) if form == "map" else None  # drawn for contrast
    return of_layers("attention", layer, *(() if other is None else (other,)))


def check_form(
    config: ModernBertConfig, form: str, layer: int, axis: Axis, query: int | None, mass: float
) -> None:
    """Refuses what a view of one layer can't show, before the model runs.

    Args:
        config: of the model.
        form: "map", "band" or "arcs".
        layer: from 0.
        axis: what is shown of the text.
        query: the token that looks, None for all.
        mass: see `view_arcs`.

    Raises:
        RangeError: a band of a global layer, a query that is hidden, or a mass that is no share.
    """
    if form == "band":
        check_local(config, layer)
    if form == "arcs":
        analysis.check_mass(mass)
    if query is not None:
        axis.place_of(query)


def check_dense(
    config: ModernBertConfig, layer: int, head: int | None, axis: Axis, mean: bool
) -> None:
    """Refuses the whole maps of a layer where they would be too large a file.

    Raises:
        OutputError: says how many GiB, and what to ask for instead.
    """
    heads = 1 if mean or head is not None else config.num_attention_heads
    of_one = 4 * len(axis) ** 2
    if _is_banded(config, layer, axis) or heads * of_one <= DENSE_LIMIT:
        return
    one = "" if of_one > DENSE_LIMIT or heads == 1 else (
        f"one head ({of_one / 2**30:.1f} GiB with --head 0), "
    )  # fmt: skip
    raise OutputError(
        f"Layer {layer}'s {heads} maps of {len(axis):,} x {len(axis):,} {axis.unit} would take "
        f"{heads * of_one / 2**30:.1f} GiB as .npz; ask for {one}a part of the text (--tokens "
        "0:1024), or a .png, which is pooled."
    )


def _is_banded(config: ModernBertConfig, layer: int, axis: Axis) -> bool:
    """Whether the layer's maps are saved straightened, without the zeros outside the window."""
    return axis.is_plain and config.half_window(layer) is not None


def _dense(
    recording: Recording, layer: int, head: int | None, axis: Axis, mean: bool
) -> dict[str, NDArray[Any]]:
    """Every weight of a layer: as a band where that holds them all, as a map otherwise."""
    import numpy as np

    config, arrays = recording.config, {"tokens": np.array(axis.labels)}
    check_dense(config, layer, head, axis, mean)
    if _is_banded(config, layer, axis):
        band = recording.attention_band(layer, head).cpu().numpy().astype(np.float32)
        reach = band.shape[2] // 2
        band = band.mean(0, keepdims=True) if mean else band
        return {**arrays, "band": band, "offsets": np.arange(-reach, reach + 1)}
    maps = layer_map(recording, layer, head, len(axis), axis, mean=mean)
    return {**arrays, "spans": np.array(axis.spans), "weights": maps.weights}


def _arc_arrays(found: Arcs) -> dict[str, NDArray[Any]]:
    import numpy as np

    links = {
        field: np.array([getattr(link, field) for link in found.links])
        for field in ("head", "query", "key", "weight")
    }
    rows = {} if found.rows is None else {"rows": found.rows}
    return {"tokens": np.array(found.axis.labels), **links, **rows}
