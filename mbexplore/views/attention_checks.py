"""What a view of attention needs, and what it can't show: known before the model runs."""

from __future__ import annotations

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.links import check_mass
from mbexplore.analysis.maps import nearest_other_kind
from mbexplore.errors import OutputError
from mbexplore.network.config import ModernBertConfig
from mbexplore.recorder import of_layers
from mbexplore.recording import DENSE_LIMIT, check_local


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
    """Refuses what a view of one layer can't show.

    Args:
        config: of the model.
        form: "map", "part", "band" or "arcs".
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
        check_mass(mass)
    if query is not None:
        axis.index_of(query)


def check_dense(
    config: ModernBertConfig, layer: int, head: int | None, axis: Axis, mean: bool
) -> None:
    """Refuses the whole maps of a layer where they would be too large a file.

    Raises:
        OutputError: says how many GiB, and what to ask for instead.
    """
    heads = 1 if mean or head is not None else config.num_attention_heads
    of_one = 4 * len(axis) ** 2
    if is_banded(config, layer, axis) or heads * of_one <= DENSE_LIMIT:
        return
    one = "" if of_one > DENSE_LIMIT or heads == 1 else (
        f"one head ({of_one / 2**30:.1f} GiB with --head 0), "
    )  # fmt: skip
    raise OutputError(
        f"Layer {layer}'s {heads} maps of {len(axis):,} x {len(axis):,} {axis.unit} would take "
        f"{heads * of_one / 2**30:.1f} GiB as .npz; ask for {one}a part of the text (--tokens "
        "0:1024), or a .png, which is pooled."
    )


def check_part(maps: int, queries: Axis, keys: Axis) -> None:
    """Refuses a part of so many maps where it would be too large a file.

    Raises:
        OutputError: says how many GiB, and what to ask for instead.
    """
    size = 4 * maps * len(queries) * len(keys)
    if size > DENSE_LIMIT:
        raise OutputError(
            f"{maps} parts of {len(queries):,} x {len(keys):,} {queries.unit} would take "
            f"{size / 2**30:.1f} GiB as .npz; ask for fewer --queries or --keys, or a .png, which "
            "is pooled."
        )


def is_banded(config: ModernBertConfig, layer: int, axis: Axis) -> bool:
    """Whether the layer's maps are saved straightened, without the zeros outside the window."""
    return axis.is_plain and config.half_window(layer) is not None
