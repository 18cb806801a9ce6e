"""The links of a layer's attention that carry most, as arcs, in every form.

The view reads a recording that kept "attention"; a form is computed when it is asked for.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mbexplore.analysis import links as analysis
from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.links import MASS, Arcs
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.recording import Recording
from mbexplore.views.attention_facts import (
    LINK_COLUMNS,
    about,
    attention_command,
    layer_facts,
    link_rows,
)
from mbexplore.views.attention_page import arcs_page
from mbexplore.views.names import attention_name
from mbexplore.views.old import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


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
    place = None if query is None else axis.index_of(query)
    found = analysis.arcs(
        recording, layer, head, place, axis, mean=mean, mass=mass, progress=progress
    )

    def draw() -> Figure:
        from mbexplore.plots.arcs import plot_arcs

        return plot_arcs(found, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **about(explorer, axis, head, mean, "arcs"),
            **layer_facts(recording.config, layer),
            "query": place,
            "mass": mass,
            "total": found.total,
            "links": [dataclasses.asdict(link) for link in found.links],
        }

    command = attention_command(
        explorer, recording, axis, layer=layer, head=head, mean=mean, query=query, view="arcs",
        mass=None if mass == MASS else mass,
    )  # fmt: skip
    return View(
        attention_name("arcs", layer, head),
        command,
        payload,
        draw,
        lambda: _arc_arrays(found),
        lambda: [LINK_COLUMNS, *link_rows(layer, axis, found.links)],
        lambda: arcs_page(found, explorer.info.name, command),
    )


def _arc_arrays(found: Arcs) -> dict[str, NDArray[Any]]:
    import numpy as np

    links = {
        field: np.array([getattr(link, field) for link in found.links])
        for field in ("head", "query", "key", "weight")
    }
    rows = {} if found.rows is None else {"rows": found.rows}
    return {"tokens": np.array(found.axis.labels), **links, **rows}
